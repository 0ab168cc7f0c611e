"""What a method can do with a problem."""

import json
import re

import numpy as np
import pytest
import torch

from nasbench.networks.space import Large, make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.testing.subject import SEED, SteppingClock
from nasbench.training.strategies import TrainingStrategy


@pytest.mark.parametrize("space", ["small", "large"])
def test_configurations_may_be_lists(run_function, space):
    def evaluate_list(problem):
        problem.evaluate(problem.pretrained(), problem.space.midpoint.tolist())

    outcome = run_function(evaluate_list, space=space)
    assert outcome.record.reason is None
    assert len(outcome.evaluations) == 1


def test_pretrained_networks_are_equal_and_independent(run_function):
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

    assert run_function(compare).record.reason is None


def _outside(problem):
    problem.evaluate(problem.pretrained(), problem.space.largest + 1)


def _wrong_shape(problem):
    problem.evaluate(problem.pretrained(), np.array([1, 2]))


def _floats(problem):
    problem.evaluate(problem.pretrained(), problem.space.largest * 0.5)


def _another_network(problem):
    one = problem.space.to_subnetwork(problem.space.midpoint)
    problem.evaluate(problem.pretrained().extract(one), problem.space.largest)


def _bad_name(problem):
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
    ],
)
def test_network_outside_the_space_fails_the_run_and_is_not_recorded(run_function, function, message):
    outcome = run_function(function)
    assert outcome.record.status == "failed"
    assert "evaluate() got a network or a configuration outside the space" in outcome.record.reason
    assert outcome.evaluations == []
    assert re.search(message, outcome.record.reason)


def test_network_with_an_unusable_name_fails_the_run(run_function):
    outcome = run_function(_bad_name)
    assert outcome.record.status == "failed"
    assert outcome.record.reason.startswith("the network name '../up' has other characters than letters, digits,")
    assert outcome.evaluations == []


def test_depths_of_one_pass_equal_single_evaluations(run_function):
    def one_by_one(problem):
        network = problem.pretrained()
        for depth in range(4):
            problem.evaluate(network, np.array([3, 30, depth]))

    def at_once(problem):
        network = problem.pretrained()
        assert len(problem.evaluate_depths(network, np.array([3, 30, 3]))) == 4
        assert problem.evaluate_depths(network, np.array([3, 30, 2])) == []
        assert [e.config["layers"] for e in problem.evaluate_depths(network, np.array([2, 30, 2]))] == [1, 2]

    single, together = run_function(one_by_one), run_function(at_once)
    for a, b in zip(single.comparable(), together.comparable()[:4], strict=True):
        assert a["config"] == b["config"]
        assert a["error"] == pytest.approx(b["error"], abs=1e-6)
        assert a["test_error"] == (None if b["test_error"] is None else pytest.approx(b["test_error"], abs=1e-6))
        assert a["key"] == b["key"]
    assert [e.n_duplicates for e in together.evaluations] == [0, 0, 0, 0, 1, 0]
    # The time of a pass is that of no single network in it.
    assert {e.latency_ms for e in together.evaluations} == {None}
    assert all(e.latency_ms > 0 for e in single.evaluations)
    assert [e.index for e in together.evaluations] == list(range(6))


def test_evaluate_depths_needs_the_small_space(run_function):
    def elsewhere(problem):
        problem.evaluate_depths(problem.pretrained(), problem.space.largest)

    assert "evaluate_depths() needs space 'small', not 'layer'" in run_function(elsewhere, space="layer").record.reason


def test_training_in_parts_equals_training_at_once(run_function):
    weights = {}

    def train(name, epochs):
        def function(problem):
            network = problem.pretrained("one-name")
            training = problem.training(network, TrainingStrategy("sandwich"))
            for epoch in epochs:
                training.run(epoch)
            weights[name] = {key: value.clone() for key, value in network.model.state_dict().items()}
            problem.evaluate(network, problem.space.largest)

        return function

    for name, epochs in (("at once", [None]), ("in parts", [1, 2])):
        assert run_function(train(name, epochs)).record.reason is None
    a, b = weights["at once"], weights["in parts"]
    for key in a:
        if key != "bert.embeddings.word_embeddings.weight":  # unused rows are decayed in one go or in two
            assert torch.equal(a[key], b[key]), key
        torch.testing.assert_close(a[key], b[key], rtol=1e-6, atol=1e-8)


def test_trainings_differ_by_name_and_seed(run_function):
    weights = []

    def train(name):
        def function(problem):
            network = problem.pretrained(name)
            problem.training(network, TrainingStrategy("random")).run(1)
            weights.append(network.model.bert.pooler.dense.weight.clone())
            problem.evaluate(network, problem.space.largest)

        return function

    for name, seed in (("a", SEED), ("a", SEED), ("b", SEED), ("a", SEED + 1)):
        run_function(train(name), seed=seed)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_second_training_of_one_name_fails_the_run(run_function):
    def twice(problem):
        for _ in range(2):
            network = problem.pretrained()
            problem.training(network).run()
            problem.evaluate(network, problem.space.largest)

    assert "two trainings are called 'network'; give the second network a name" in run_function(twice).record.reason


def test_training_beyond_the_budget_ends_the_run(run_function):
    def train(problem):
        network = problem.pretrained()
        problem.evaluate(network, problem.space.largest)
        problem.training(network.copy("trained")).run()
        raise AssertionError("the training ended in time")

    outcome = run_function(train, clock=SteppingClock(), budget_s=30)
    assert outcome.record.status == "complete"
    assert len(outcome.evaluations) == 1


def test_unknown_phase_fails_the_run(run_function):
    def hide(problem):
        with problem.phase("thinking"):
            pass

    assert "phase is one of training, validation, search, idle, not 'thinking'" in run_function(hide).record.reason


def test_pruning_mask_is_a_configuration_of_large(run_function):
    def prune(problem):
        assert isinstance(problem.space, Large)
        rng = np.random.default_rng(0)
        subnetwork = SubNetwork(rng.random((3, 4)) < 0.5, rng.random((3, 48)) < 0.5)
        problem.evaluate(problem.pretrained(), problem.space.from_subnetwork(subnetwork))

    outcome = run_function(prune, space="large")
    evaluation = outcome.evaluations[0]
    space = make_space("large", Dimensions.from_json(outcome.record.dimensions))
    assert space.to_subnetwork(space.from_json(json.loads(json.dumps(evaluation.config)))).key == evaluation.key


def test_data_are_read_only(run_function):
    def relabel(problem):
        problem.validation.labels[:] = 0

    assert "read-only" in run_function(relabel).record.reason
