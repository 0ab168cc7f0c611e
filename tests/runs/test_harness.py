"""How the harness measures, charges and records evaluations."""

import dataclasses

import numpy as np
import pytest
import torch

from nasbench.data.batching import collate
from nasbench.data.splits import load_task_data
from nasbench.errors import BudgetExhausted
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.supernet import SuperNetwork
from nasbench.records.front import front_of
from nasbench.records.record import RunFolder
from nasbench.search.pareto import pareto_mask
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import SEED
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION
from nasbench.training import metrics
from nasbench.training.evaluation import Evaluator
from nasbench.training.strategies import TrainingStrategy


def _samples(problem, n):
    """The ends, the middle and random configurations, each network once."""
    rng, space = np.random.default_rng(1), problem.space
    configs = [space.largest, space.smallest, space.midpoint, *(space.sample(rng) for _ in range(5 * n))]
    distinct = {space.to_subnetwork(config).key: config for config in configs}
    return list(distinct.values())[:n]


@pytest.mark.parametrize("task", [TINY_PAIR, TINY_REGRESSION, TINY_CHOICE], ids=lambda task: task.name)
@pytest.mark.parametrize("extracted", [False, True])
def test_recorded_errors_equal_those_of_the_masked_network(run_function, task, extracted):
    masks = []

    def evaluate_some(problem):
        network = problem.pretrained()
        for config in _samples(problem, 6):
            subnetwork = problem.space.to_subnetwork(config)
            masks.append(subnetwork)
            one = network.extract(subnetwork, f"n-{subnetwork.key}") if extracted else network
            problem.evaluate(one, config)

    outcome = run_function(evaluate_some, task=task)
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
def test_networks_without_heads_have_chance_error_despite_rounding(run_function, task, precision):
    def evaluate_some(problem):
        network = problem.pretrained()
        for config in ([0, 48, 3], [4, 48, 0], [0, 7, 2]):
            problem.evaluate(network, config)
        problem.evaluate_depths(network, [0, 20, 3])
        problem.evaluate_depths(network, [3, 20, 1])

    outcome = run_function(evaluate_some, task=task, precision=precision)
    *without, with_heads = outcome.evaluations
    assert len(without) == 6
    # Every example looks alike: no correlation, and always the first choice.
    chance = 1.0 if task is TINY_REGRESSION else without[0].error
    assert [e.error for e in without] == [chance] * 6
    assert with_heads.error != chance


def test_only_front_members_get_test_results_and_the_method_sees_none(run_function):
    returned, seen = [], []

    def evaluate_some(problem):
        network = problem.pretrained()
        returned.extend(problem.evaluate(network, config) for config in _samples(problem, 25))
        seen.extend(name for name in dir(problem) if not name.startswith("_"))

    outcome = run_function(evaluate_some)
    assert (outcome.record.status, outcome.record.reason) == ("complete", None)
    assert {"train", "validation"} <= set(seen)
    assert [name for name in seen if "test" in name] == []
    recorded = outcome.evaluations
    assert len(recorded) == 25
    values = np.array([(e.error, e.params) for e in recorded])
    for i, evaluation in enumerate(recorded):
        is_member = bool(pareto_mask(values[: i + 1])[i])
        assert (evaluation.test_error is not None) == is_member
        assert (evaluation.test_metrics is not None) == is_member
        assert (evaluation.weights is not None) == is_member
        assert returned[i] == dataclasses.replace(evaluation, test_error=None, test_metrics=None)
    assert 3 <= sum(e.test_error is not None for e in recorded) < 25


def test_evaluation_that_ends_after_the_budget_is_not_recorded(run_function, timed):
    reached = []

    def evaluate_some(problem):
        network = problem.pretrained()
        for config in _samples(problem, 6):
            problem.evaluate(network, config)
            reached.append(config)

    for budget_s, n in ((299.0, 2), (300.0, 2), (300.5, 3), (301.0, 3)):
        reached.clear()
        timed.seconds = 0.0
        outcome = run_function(evaluate_some, clock=timed, budget_s=budget_s)
        assert [e.elapsed_s for e in outcome.evaluations] == [100.0, 200.0, 300.0][:n], budget_s
        assert len(reached) == n
        assert outcome.record.status == "complete"
        assert outcome.record.charged_s["validation"] == 100 * (n + 1)
        assert outcome.evaluations[0].charged_s == {"training": 0, "validation": 100, "search": 0, "idle": 0}
        assert outcome.evaluations[0].latency_ms == pytest.approx(1e5 / 29)


def test_test_evaluation_and_loading_are_not_charged(run_function, timed):
    def evaluate_some(problem):
        network = problem.pretrained()
        timed.seconds += 5
        with problem.phase("search"):
            timed.seconds += 7
            problem.evaluate(network, problem.space.largest)
            timed.seconds += 1

    outcome = run_function(evaluate_some, clock=timed, budget_s=1000)
    assert outcome.record.charged_s == {"training": 0, "validation": 100, "search": 8, "idle": 5}
    assert outcome.record.uncharged_s["test"] == 1000
    assert outcome.evaluations[0].elapsed_s == 112


def test_network_with_nan_outputs_is_a_failed_evaluation(run_function):
    def evaluate_some(problem):
        network, broken = problem.pretrained(), problem.pretrained("broken")
        with torch.no_grad():
            broken.model.classifier.weight[0, 0] = float("nan")
        full, none, middle = _samples(problem, 3)
        problem.evaluate(network, full)
        failed = problem.evaluate(broken, none)
        assert (failed.status, failed.error) == ("failed", None)
        problem.evaluate(network, middle)

    outcome = run_function(evaluate_some)
    assert outcome.record.status == "complete"
    assert [e.status for e in outcome.evaluations] == ["ok", "failed", "ok"]
    failed = outcome.evaluations[1]
    assert failed.reason == "the network's outputs are not finite"
    assert (failed.error, failed.test_error, failed.weights, failed.metrics) == (None, None, None, {})
    # It is no rival on the front, though nothing is smaller.
    assert outcome.evaluations[2].test_error is not None


def test_out_of_memory_is_a_failed_evaluation(run_function, monkeypatch):
    logits = Evaluator.logits

    def short_of_memory(self, network, subnetwork=None):
        if network.name == "large":
            raise torch.OutOfMemoryError("out of memory, tried to allocate 2 GiB")
        return logits(self, network, subnetwork)

    def evaluate_some(problem):
        problem.evaluate(problem.pretrained("large"), problem.space.largest)
        problem.evaluate(problem.pretrained("small"), problem.space.smallest)

    monkeypatch.setattr(Evaluator, "logits", short_of_memory)
    outcome = run_function(evaluate_some)
    assert [e.status for e in outcome.evaluations] == ["failed", "ok"]
    assert "2 GiB" in outcome.evaluations[0].reason


@pytest.mark.parametrize(("device", "n_first"), [("cpu", 1), ("cuda", 2)])
def test_first_pass_on_a_gpu_runs_once_before_off_the_clock(run_function, monkeypatch, device, n_first):
    logits, passes = Evaluator.logits, []

    def counted(self, network, subnetwork=None):
        passes[-1] += 1
        return logits(self, network, subnetwork)

    def evaluate_some(problem):
        problem._harness.validator.device = torch.device(device)  # what is asked; the passes run on the CPU
        problem._harness._context.test.logits = lambda *_: 1 / 0  # counts nothing: the front takes no network
        problem._harness._front.would_hold = lambda *_: False
        network = problem.pretrained()
        for config in (problem.space.largest, problem.space.smallest):
            passes.append(0)
            before = problem._harness._budget.charged_s["validation"]
            problem.evaluate(network, config)
            spent.append(problem._harness._budget.charged_s["validation"] - before)

    spent = []
    monkeypatch.setattr(Evaluator, "logits", counted)
    outcome = run_function(evaluate_some)
    assert passes == [n_first, 1]
    assert spent[0] == spent[1]  # the clock steps with each reading
    assert [e.status for e in outcome.evaluations] == ["ok", "ok"]


def test_duplicates_are_counted_in_the_next_evaluation(run_function):
    def report(problem):
        network = problem.pretrained()
        problem.evaluate(network, problem.space.largest)
        for _ in range(3):
            problem.note_duplicate()
        problem.evaluate(network, problem.space.smallest)
        problem.evaluate(network, problem.space.midpoint)

    assert [e.n_duplicates for e in run_function(report).evaluations] == [0, 3, 0]


def test_limit_holds_if_the_method_continues(run_function):
    def obstinate(problem):
        network = problem.pretrained()
        for config in _samples(problem, 6):
            try:
                problem.evaluate(network, config)
            except BudgetExhausted:
                continue

    outcome = run_function(obstinate, max_evaluations=3)
    assert len(outcome.evaluations) == 3


def test_spent_budget_holds_if_the_method_continues(run_function, timed):
    def obstinate(problem):
        network = problem.pretrained()
        for config in _samples(problem, 6):
            try:
                problem.evaluate(network, config)
            except BudgetExhausted:
                continue

    assert len(run_function(obstinate, clock=timed, budget_s=250).evaluations) == 2


def _weights_files(outcome_folder):
    return {path.stem for path in (outcome_folder / "weights").glob("*.safetensors")}


def test_weights_are_kept_of_front_members_and_super_networks(run_function, tmp_path):
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
    outcome = run_function(evaluate_some, results=tmp_path / "here", space="medium")
    assert outcome.record.reason is None
    assert len(outcome.evaluations) == 12
    # Some left the front, so that files did go.
    assert len({e.weights for e in outcome.evaluations} - {None}) > sizes[-1]
    # Only resuming needs the super-network, which was not evaluated.
    assert _weights_files(next((tmp_path / "here").rglob("run.json")).parent) == {
        e.weights for e in front_of(outcome.evaluations)
    }


def test_run_ends_after_as_many_evaluations_as_a_record_may_hold(run_function, monkeypatch):
    def evaluate_without_end(problem):
        network = problem.pretrained()
        while True:
            problem.evaluate(network, problem.space.sample(problem.rng))

    monkeypatch.setattr("nasbench.runs.harness.MOST_EVALUATIONS", 4)
    outcome = run_function(evaluate_without_end)
    assert outcome.record.status == "complete"
    assert len(outcome.evaluations) == 4
    assert outcome.record.notes == ["ended after 4 evaluations, the most that a run records"]
