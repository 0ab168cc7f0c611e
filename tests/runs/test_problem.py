"""What a method can do with a problem, and what the harness makes of it."""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
import torch

from nasbench.data.batching import collate
from nasbench.data.splits import load_task_data
from nasbench.errors import BudgetExhausted, MethodError
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.space import Large, make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.records.checkpoints import Checkpoints
from nasbench.records.record import RunFolder
from nasbench.search.pareto import pareto_mask
from nasbench.testing.models import TINY_BERT
from nasbench.testing.networks import tiny_network
from nasbench.testing.subject import SEED, MethodSubject, SteppingClock
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION
from nasbench.training import metrics
from nasbench.training.evaluation import Evaluator
from nasbench.training.strategies import TrainingStrategy


def method(run, spaces=("small", "medium", "layer", "large")):
    """A method whose ``run`` is a function."""
    return type("Toy", (Method,), {"name": "toy", "summary": "toy", "spaces": spaces, "run": lambda _, p: run(p)})


@pytest.fixture
def run(tmp_path):
    """Runs a function as a method; returns the outcome."""

    numbers = itertools.count()

    def carry_out(function, results=None, clock=None, observer=None, task=TINY_PAIR, **changes):
        subject = MethodSubject(method(function), tmp_path, task=task, n_evaluations=None)
        results = results or tmp_path / f"results-{next(numbers)}"
        return subject.run(results, observer, clock, **{"budget_s": 1e6, **changes})

    return carry_out


def _samples(problem, n):
    """The ends, the middle and random configurations, each network once."""
    rng, space = np.random.default_rng(1), problem.space
    configs = [space.largest, space.smallest, space.midpoint, *(space.sample(rng) for _ in range(5 * n))]
    distinct = {space.to_subnetwork(config).key: config for config in configs}
    return list(distinct.values())[:n]


@pytest.mark.parametrize("task", [TINY_PAIR, TINY_REGRESSION, TINY_CHOICE], ids=lambda task: task.name)
@pytest.mark.parametrize("extracted", [False, True])
def test_recorded_errors_are_those_of_the_masked_network(run, task, extracted):
    masks = []

    def evaluate_some(problem):
        network = problem.pretrained()
        for config in _samples(problem, 6):
            subnetwork = problem.space.to_subnetwork(config)
            masks.append(subnetwork)
            one = network.extract(subnetwork, f"n-{subnetwork.key}") if extracted else network
            problem.evaluate(one, config)

    outcome = run(evaluate_some, task=task)
    stock, tokenizer, *_ = load_pretrained(TINY_BERT, task, SEED)
    data = load_task_data(task, tokenizer, SEED)
    network = SuperNetwork(stock)
    network.n_choices = data.train.n_choices
    if task.kind == "regression":
        network.adapter.center_output(float(data.train.labels.mean()))

    def error(split, subnetwork):
        batch = collate(split, np.arange(len(split)), tokenizer.pad_token_id)
        with torch.no_grad():
            logits = network.masked(batch, subnetwork).numpy()
        names = (task.metric, *task.other_metrics)
        return metrics.compute(names, task.kind, logits, split.labels)

    assert outcome.record.status == "complete"
    assert [e.index for e in outcome.evaluations] == list(range(6))
    for evaluation, subnetwork in zip(outcome.evaluations, masks, strict=True):
        assert evaluation.key == subnetwork.key
        assert evaluation.metrics == pytest.approx(error(data.validation, subnetwork), abs=1e-5)
        assert evaluation.error == pytest.approx(1 - evaluation.metrics[task.metric])
        assert evaluation.n_params == subnetwork.n_params(network.dims)
        assert evaluation.params == evaluation.n_params / network.dims.n_params
        assert evaluation.head_counts == subnetwork.head_counts.tolist()
        assert evaluation.unit_counts == subnetwork.unit_counts.tolist()
        if evaluation.test_error is not None:
            assert evaluation.test_metrics == pytest.approx(error(data.test, subnetwork), abs=1e-5)
            assert evaluation.test_error == pytest.approx(1 - evaluation.test_metrics[task.metric])


@pytest.mark.parametrize("task", [TINY_REGRESSION, TINY_CHOICE], ids=lambda task: task.name)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_networks_without_heads_score_no_rounding_noise(run, task, precision):
    def evaluate_some(problem):
        network = problem.pretrained()
        for config in ([0, 48, 3], [4, 48, 0], [0, 7, 2]):
            problem.evaluate(network, config)
        problem.evaluate_depths(network, [0, 20, 3])
        problem.evaluate_depths(network, [3, 20, 1])

    outcome = run(evaluate_some, task=task, precision=precision)
    *without, with_heads = outcome.evaluations
    assert len(without) == 6
    # Every example looks alike: no correlation, and always the first choice.
    chance = 1.0 if task is TINY_REGRESSION else without[0].error
    assert [e.error for e in without] == [chance] * 6
    assert with_heads.error != chance


def test_tests_are_for_members_of_the_front_and_hidden_from_the_method(run):
    returned = []

    def evaluate_some(problem):
        network = problem.pretrained()
        returned.extend(problem.evaluate(network, config) for config in _samples(problem, 25))
        assert not any("test" in name for name in vars(problem) if not name.startswith("_"))

    recorded = run(evaluate_some).evaluations
    assert len(recorded) == 25
    values = np.array([(e.error, e.params) for e in recorded])
    for i, evaluation in enumerate(recorded):
        is_member = bool(pareto_mask(values[: i + 1])[i])
        assert (evaluation.test_error is not None) == is_member
        assert (evaluation.test_metrics is not None) == is_member
        assert (evaluation.weights is not None) == is_member
        assert returned[i] == dataclasses.replace(evaluation, test_error=None, test_metrics=None)
    assert 3 <= sum(e.test_error is not None for e in recorded) < 25


class PushedClock:
    """A clock that stands still unless it is pushed."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def timed(monkeypatch):
    """A clock on which a validation takes 100 s and a test 1,000 s."""
    clock, logits = PushedClock(), Evaluator._over_batches

    def slow(self, run):
        clock.seconds += 1000.0 if len(self.labels) == 32 else 100.0
        return logits(self, run)

    monkeypatch.setattr(Evaluator, "_over_batches", slow)
    return clock


def test_an_evaluation_that_ends_too_late_is_not_recorded(run, timed):
    reached = []

    def evaluate_some(problem):
        network = problem.pretrained()
        for config in _samples(problem, 6):
            problem.evaluate(network, config)
            reached.append(config)

    for budget_s, n in ((299.0, 2), (300.0, 2), (300.5, 3), (301.0, 3)):
        reached.clear()
        timed.seconds = 0.0
        outcome = run(evaluate_some, clock=timed, budget_s=budget_s)
        assert [e.elapsed_s for e in outcome.evaluations] == [100.0, 200.0, 300.0][:n], budget_s
        assert len(reached) == n
        assert outcome.record.status == "complete"
        assert outcome.record.charged_s["validation"] == 100 * (n + 1)
        assert outcome.evaluations[0].charged_s == {"training": 0, "validation": 100, "search": 0, "idle": 0}
        assert outcome.evaluations[0].latency_ms == pytest.approx(1e5 / 29)


def test_tests_and_loading_cost_nothing(run, timed):
    def evaluate_some(problem):
        network = problem.pretrained()
        timed.seconds += 5
        with problem.phase("search"):
            timed.seconds += 7
            problem.evaluate(network, problem.space.largest)
            timed.seconds += 1

    outcome = run(evaluate_some, clock=timed, budget_s=1000)
    assert outcome.record.charged_s == {"training": 0, "validation": 100, "search": 8, "idle": 5}
    assert outcome.record.uncharged_s["test"] == 1000
    assert outcome.evaluations[0].elapsed_s == 112


def test_time_is_charged_to_known_phases_only(run):
    def hide(problem):
        with problem.phase("thinking"):
            pass

    assert "phase is one of training, validation, search, idle, not 'thinking'" in run(hide).record.reason


def test_a_network_of_nans_is_a_failed_evaluation(run):
    def evaluate_some(problem):
        network, broken = problem.pretrained(), problem.pretrained("broken")
        with torch.no_grad():
            broken.model.classifier.weight[0, 0] = float("nan")
        full, none, middle = _samples(problem, 3)
        problem.evaluate(network, full)
        failed = problem.evaluate(broken, none)
        assert (failed.status, failed.error) == ("failed", None)
        problem.evaluate(network, middle)

    outcome = run(evaluate_some)
    assert outcome.record.status == "complete"
    assert [e.status for e in outcome.evaluations] == ["ok", "failed", "ok"]
    failed = outcome.evaluations[1]
    assert failed.reason == "the network's outputs are not finite"
    assert (failed.error, failed.test_error, failed.weights, failed.metrics) == (None, None, None, {})
    # It is no rival on the front, though nothing is smaller.
    assert outcome.evaluations[2].test_error is not None


def test_out_of_memory_is_a_failed_evaluation(run, monkeypatch):
    logits = Evaluator.logits

    def short_of_memory(self, network, subnetwork=None):
        if network.name == "large":
            raise torch.OutOfMemoryError("out of memory, tried to allocate 2 GiB")
        return logits(self, network, subnetwork)

    def evaluate_some(problem):
        problem.evaluate(problem.pretrained("large"), problem.space.largest)
        problem.evaluate(problem.pretrained("small"), problem.space.smallest)

    monkeypatch.setattr(Evaluator, "logits", short_of_memory)
    outcome = run(evaluate_some)
    assert [e.status for e in outcome.evaluations] == ["failed", "ok"]
    assert "2 GiB" in outcome.evaluations[0].reason


def _outside(problem):
    problem.evaluate(problem.pretrained(), problem.space.largest + 1)


def _wrong_shape(problem):
    problem.evaluate(problem.pretrained(), np.array([1, 2]))


def _floats(problem):
    problem.evaluate(problem.pretrained(), problem.space.largest * 0.5)


def _another_network(problem):
    one = problem.space.to_subnetwork(problem.space.midpoint)
    problem.evaluate(problem.pretrained().extract(one), problem.space.largest)


def _bad_label(problem):
    problem.evaluate(problem.pretrained("../up"), problem.space.largest)


def _bloated(problem):
    network = problem.pretrained()
    network.model.classifier.register_parameter("more", torch.nn.Parameter(torch.zeros(1000)))
    problem.evaluate(network, problem.space.largest)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_bloated, r"a network of [\d,]+ parameters where [\d,]+ are left of the original"),
        (_outside, r"heads = 5 is outside \[0, 4\]"),
        (_wrong_shape, r"has shape \(3,\), not \(2,\)"),
        (_floats, "holds integers, not float64"),
        (_another_network, "can only run the sub-network that was extracted"),
        (_bad_label, r"name '\.\./up' has other characters"),
    ],
)
def test_what_is_not_in_the_space_fails_the_run_and_is_not_recorded(run, function, message):
    outcome = run(function)
    assert outcome.record.status == "failed"
    assert "evaluate() got a network or a configuration outside the space" in outcome.record.reason
    assert outcome.evaluations == []
    assert re.search(message, outcome.record.reason)


@pytest.mark.parametrize("space", ["small", "large"])
def test_configurations_may_be_lists(run, space):
    def evaluate_list(problem):
        problem.evaluate(problem.pretrained(), problem.space.midpoint.tolist())

    outcome = run(evaluate_list, space=space)
    assert outcome.record.reason is None
    assert len(outcome.evaluations) == 1


def test_pretrained_networks_are_equal_and_independent(run):
    def compare(problem):
        first, second = problem.pretrained(), problem.pretrained("second")
        assert second.name == "second"
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(a, b)
            assert a.data_ptr() != b.data_ptr()
        problem.training(first).run(1)
        third = problem.pretrained()
        assert all(torch.equal(a, b) for a, b in zip(second.parameters(), third.parameters(), strict=True))
        assert not torch.equal(first.model.classifier.weight, third.model.classifier.weight)
        problem.evaluate(third, problem.space.largest)

    assert run(compare).record.reason is None


def test_duplicates_are_counted_in_the_next_line(run):
    def report(problem):
        network = problem.pretrained()
        problem.evaluate(network, problem.space.largest)
        for _ in range(3):
            problem.note_duplicate()
        problem.evaluate(network, problem.space.smallest)
        problem.evaluate(network, problem.space.midpoint)

    assert [e.n_duplicates for e in run(report).evaluations] == [0, 3, 0]


def test_a_limit_holds_for_a_method_that_does_not_stop(run):
    def obstinate(problem):
        network = problem.pretrained()
        for config in _samples(problem, 6):
            try:
                problem.evaluate(network, config)
            except BudgetExhausted:
                continue

    outcome = run(obstinate, max_evaluations=3)
    assert len(outcome.evaluations) == 3


def test_a_spent_budget_holds_for_a_method_that_does_not_stop(run, timed):
    def obstinate(problem):
        network = problem.pretrained()
        for config in _samples(problem, 6):
            try:
                problem.evaluate(network, config)
            except BudgetExhausted:
                continue

    assert len(run(obstinate, clock=timed, budget_s=250).evaluations) == 2


def _weights_files(outcome_folder):
    return {path.stem for path in (outcome_folder / "weights").glob("*.safetensors")}


def test_weights_are_kept_for_the_front_and_for_what_is_shared(run, tmp_path):
    def evaluate_some(problem):
        shared = problem.pretrained("shared")
        problem.training(shared, TrainingStrategy("standard")).run()
        for config in _samples(problem, 12):
            subnetwork = problem.space.to_subnetwork(config)
            network = shared.extract(subnetwork, f"own-{subnetwork.key}")
            problem.training(network).run(1)
            problem.evaluate(network, config)
            folder = next((tmp_path / "here").rglob("evaluations.jsonl")).parent
            evaluations = RunFolder(folder).read_evaluations()
            on_front = pareto_mask([(e.error, e.params) for e in evaluations])
            front = {e.weights for e, is_member in zip(evaluations, on_front, strict=True) if is_member}
            assert _weights_files(folder) == front | {"shared"}
            sizes.append(len(front))

    sizes = []
    outcome = run(evaluate_some, results=tmp_path / "here", space="medium")
    assert outcome.record.reason is None
    assert len(outcome.evaluations) == 12
    # Some left the front, so that files did go.
    assert len({e.weights for e in outcome.evaluations} - {None}) > sizes[-1]


def test_all_depths_of_one_pass_are_single_evaluations(run):
    def one_by_one(problem):
        network = problem.pretrained()
        for depth in range(4):
            problem.evaluate(network, np.array([3, 30, depth]))

    def at_once(problem):
        network = problem.pretrained()
        assert len(problem.evaluate_depths(network, np.array([3, 30, 3]))) == 4
        assert problem.evaluate_depths(network, np.array([3, 30, 2])) == []
        assert [e.config["layers"] for e in problem.evaluate_depths(network, np.array([2, 30, 2]))] == [1, 2]

    single, together = run(one_by_one), run(at_once)
    varying = ("elapsed_s", "charged_s", "latency_ms")
    for a, b in zip(single.comparable(varying), together.comparable(varying)[:4], strict=True):
        assert a["config"] == b["config"]
        assert a["error"] == pytest.approx(b["error"], abs=1e-6)
        assert a["test_error"] == (None if b["test_error"] is None else pytest.approx(b["test_error"], abs=1e-6))
        assert a["key"] == b["key"]
    assert [e.n_duplicates for e in together.evaluations] == [0, 0, 0, 0, 1, 0]
    # The time of a pass is that of no single network in it.
    assert {e.latency_ms for e in together.evaluations} == {None}
    assert all(e.latency_ms > 0 for e in single.evaluations)
    assert [e.index for e in together.evaluations] == list(range(6))


def test_depths_need_the_small_space(run):
    def elsewhere(problem):
        problem.evaluate_depths(problem.pretrained(), problem.space.largest)

    assert "evaluate_depths() needs space 'small', not 'layer'" in run(elsewhere, space="layer").record.reason


def test_training_in_parts_is_training_at_once(run):
    weights = {}

    def train(name, epochs):
        def function(problem):
            network = problem.pretrained("one-label")
            training = problem.training(network, TrainingStrategy("sandwich"))
            for epoch in epochs:
                training.run(epoch)
            weights[name] = {key: value.clone() for key, value in network.model.state_dict().items()}
            problem.evaluate(network, problem.space.largest)

        return function

    for name, epochs in (("at once", [None]), ("in parts", [1, 2])):
        assert run(train(name, epochs)).record.reason is None
    a, b = weights["at once"], weights["in parts"]
    for key in a:
        if key != "bert.embeddings.word_embeddings.weight":  # unused rows are decayed in one go or in two
            assert torch.equal(a[key], b[key]), key
        torch.testing.assert_close(a[key], b[key], rtol=1e-6, atol=1e-8)


def test_trainings_differ_by_label_and_seed(run):
    weights = []

    def train(label):
        def function(problem):
            network = problem.pretrained(label)
            problem.training(network, TrainingStrategy("random")).run(1)
            weights.append(network.model.bert.pooler.dense.weight.clone())
            problem.evaluate(network, problem.space.largest)

        return function

    for label, seed in (("a", SEED), ("a", SEED), ("b", SEED), ("a", SEED + 1)):
        run(train(label), seed=seed)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_a_training_beyond_the_budget_stops_the_run(run):
    def train(problem):
        network = problem.pretrained()
        problem.evaluate(network, problem.space.largest)
        problem.training(network.copy("trained")).run()
        raise AssertionError("the training ended in time")

    outcome = run(train, clock=SteppingClock(), budget_s=30)
    assert outcome.record.status == "complete"
    assert len(outcome.evaluations) == 1


def test_a_pruning_mask_is_a_point_of_large(run):
    def prune(problem):
        assert isinstance(problem.space, Large)
        rng = np.random.default_rng(0)
        subnetwork = SubNetwork(rng.random((3, 4)) < 0.5, rng.random((3, 48)) < 0.5)
        problem.evaluate(problem.pretrained(), problem.space.from_subnetwork(subnetwork))

    outcome = run(prune, space="large")
    evaluation = outcome.evaluations[0]
    space = make_space("large", Dimensions(**outcome.record.dimensions))
    assert space.to_subnetwork(space.from_json(json.loads(json.dumps(evaluation.config)))).key == evaluation.key


def test_one_label_is_one_training(run):
    def twice(problem):
        for _ in range(2):
            network = problem.pretrained()
            problem.training(network).run()
            problem.evaluate(network, problem.space.largest)

    assert "two trainings are called 'network'; give the second network a name" in run(twice).record.reason


def test_weights_that_changed_need_another_label(tmp_path):
    network, checkpoints = tiny_network(TINY_BERT, TINY_PAIR).network, Checkpoints(tmp_path)
    for _ in range(2):
        checkpoints.keep_weights(network)
    with torch.no_grad():
        network.model.classifier.bias.add_(1)
    with pytest.raises(MethodError, match="the weights of 'network' have changed since they were saved"):
        checkpoints.keep_weights(network)
    checkpoints.keep_weights(network.renamed("changed"))
    # What a killed attempt saved is taken for what the method has now: it is where it was.
    Checkpoints(tmp_path).keep_weights(network)


def test_data_cannot_be_written_by_mistake(run):
    def relabel(problem):
        problem.validation.labels[:] = 0

    assert "read-only" in run(relabel).record.reason
