"""The validation front of a run's evaluations, and its full network."""

import pytest

from nasbench.records.front import front_of, full_network, is_no_better_than_constant
from nasbench.records.record import Evaluation, Identity, RunRecord


def evaluation(index: int, error: float | None, n_params: int) -> Evaluation:
    return Evaluation(index, {}, str(index), [], [], error, n_params / 100, n_params, elapsed_s=1.0)


@pytest.fixture
def record():
    identity = Identity("rte", "bert", "small", "rfp", None, {}, 0, "cpu", 60.0)
    return RunRecord(identity, "1", "paper", "accuracy", 100, {})


def test_front_is_sorted_by_size_without_dominated_and_failed_networks():
    evaluations = [
        evaluation(0, 0.1, 100),
        evaluation(1, 0.5, 10),
        evaluation(2, 0.5, 60),  # dominated by 1
        evaluation(3, None, 5),
        evaluation(4, 0.3, 50),
    ]
    assert [e.index for e in front_of(evaluations)] == [1, 4, 0]


def test_front_keeps_the_first_of_equal_networks():
    assert [e.index for e in front_of([evaluation(0, 0.5, 10), evaluation(1, 0.5, 10)])] == [0]


def test_front_of_nothing_or_of_failures_is_empty():
    assert front_of([]) == []
    assert front_of([evaluation(0, None, 10)]) == []


def test_full_network_is_the_first_that_was_measured(record):
    evaluations = [evaluation(0, 0.3, 50), evaluation(1, None, 100), evaluation(2, 0.2, 100), evaluation(3, 0.1, 100)]
    assert full_network(record, evaluations) == evaluations[2]
    assert full_network(record, evaluations[:2]) is None


def test_network_is_compared_with_the_best_constant_answer(record):
    evaluations = [evaluation(0, 0.4, 10), evaluation(1, 0.3, 20), evaluation(2, 0.2999, 30), evaluation(3, None, 40)]
    assert not any(is_no_better_than_constant(record, e) for e in evaluations)  # an older record does not say
    record.constant_error = 0.3
    assert [is_no_better_than_constant(record, e) for e in evaluations] == [True, True, False, False]
