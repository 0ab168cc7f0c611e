"""Repeated runs: equal on the same machine, and a run with better errors than the repetition is found."""

from __future__ import annotations

import dataclasses

import pytest

from nasbench.errors import UserError
from nasbench.records.record import RunFolder
from nasbench.trust.rerunning import TOLERANCE, compare, rerun


def test_the_same_machine_repeats_every_error(made, tmp_path):
    folder = RunFolder(made.folder)
    recorded = folder.read_evaluations()
    repeated = rerun(folder.read_run(), len(recorded), tmp_path)
    assert [(e.key, e.error, e.test_error) for e in repeated] == [(e.key, e.error, e.test_error) for e in recorded]
    found = compare(recorded, repeated)
    assert (found.n_same, found.largest_difference, found.indicator) == (len(recorded), 0.0, 0.0)
    assert (found.test_indicator, found.mean_test_excess) == (0.0, 0.0)
    assert found.is_within(0.0)
    # A second call finds the finished repetition.
    assert rerun(folder.read_run(), len(recorded), tmp_path) == repeated


@pytest.mark.parametrize("by", [0.4, TOLERANCE + 0.01])
def test_better_errors_than_those_of_the_repetition_are_found(made, by):
    repeated = RunFolder(made.folder).read_evaluations()
    better = [dataclasses.replace(e, error=e.error - by) for e in repeated]
    found = compare(better, repeated)
    assert not found.is_within(TOLERANCE)
    assert found.indicator == pytest.approx(by)
    assert [each.outcome for each in found.checks(TOLERANCE)] == ["wrong", "wrong", "ok"]


@pytest.fixture
def front(made):
    """Makes fronts of 20 networks; those of two machines have 3 in common, and others of the same sizes."""
    (one, *_) = RunFolder(made.folder).read_evaluations()
    sizes = [0.3 + 0.03 * i for i in range(20)]

    def make(whose, noise=0.0):
        return [
            dataclasses.replace(
                one, index=i, key=f"{'both' if i < 3 else whose} {i}", params=size,
                error=0.4 - 0.2 * size, test_error=0.42 - 0.2 * size + noise * (-1) ** i,
            )
            for i, size in enumerate(sizes)
        ]  # fmt: skip

    return make


def with_lower_test_errors(front, by, of=slice(None)):
    chosen = {e.index for e in front[of]}
    return [dataclasses.replace(e, test_error=e.test_error - by) if e.index in chosen else e for e in front]


def test_noise_of_another_machine_is_within_the_tolerance(front):
    found = compare(front("first"), front("second", 0.02))
    assert found.n_common == 3
    assert found.is_within(TOLERANCE)
    assert found.test_indicator == pytest.approx(0.02)
    assert abs(found.mean_test_excess) < 0.02


def test_lower_test_errors_of_networks_that_only_the_record_has_are_found(front):
    found = compare(with_lower_test_errors(front("first"), 0.3, slice(3, None)), front("second", 0.02))
    assert (found.n_common, found.largest_difference) == (3, pytest.approx(0.02))
    assert found.indicator == pytest.approx(0.0)
    assert [each.outcome for each in found.checks(TOLERANCE)] == ["ok", "ok", "wrong"]


@pytest.mark.parametrize("of", [slice(None), slice(3, None)])
def test_test_errors_that_are_all_a_little_lower_are_found(front, of):
    """Each is lower by less than the tolerance, which chance explains for one network but not for all."""
    found = compare(with_lower_test_errors(front("first"), TOLERANCE - 0.005, of), front("second"))
    assert found.largest_difference < TOLERANCE
    assert found.test_indicator < TOLERANCE
    assert [each.outcome for each in found.checks(TOLERANCE)] == ["ok", "ok", "wrong"]


def test_higher_test_errors_than_those_of_the_repetition_are_no_fault(front):
    assert compare(with_lower_test_errors(front("first"), -0.045), front("second")).is_within(TOLERANCE)


def test_without_test_errors_a_repetition_says_too_little(front):
    recorded, repeated = front("first"), front("second")
    untested = [dataclasses.replace(e, test_error=None) for e in recorded]
    for found in (compare(untested, repeated), compare(repeated, untested)):
        assert [each.outcome for each in found.checks(TOLERANCE)] == ["ok", "ok", "missing"]
        assert not found.is_within(TOLERANCE)


def test_a_network_is_compared_after_the_same_number_of_epochs(made):
    (one, *_) = RunFolder(made.folder).read_evaluations()
    rungs = [dataclasses.replace(one, index=i, epochs=e, error=x) for i, (e, x) in enumerate([(1, 0.2), (3, 0.4)])]
    found = compare(rungs, rungs)
    assert (found.n_common, found.largest_difference) == (1, 0.0)


def test_the_indicator_is_the_excess_in_error_or_size(made):
    """Worked by hand: recorded (error 0.2, size 0.5), repeated (0.25, 0.4) and (0.1, 0.6): excesses 0.05 and 0.1."""
    (one, two) = RunFolder(made.folder).read_evaluations()[:2]
    recorded = [dataclasses.replace(one, error=0.2, params=0.5)]
    repeated = [
        dataclasses.replace(one, key="a", error=0.25, params=0.4),
        dataclasses.replace(two, key="b", error=0.1, params=0.6),
    ]
    found = compare(recorded, repeated)
    assert found.indicator == pytest.approx(0.05)
    assert found.n_common == 0
    assert not found.is_within(1.0)  # nothing in common says nothing


def test_a_side_without_a_front_is_refused_in_one_line(made):
    good = RunFolder(made.folder).read_evaluations()
    failed = [dataclasses.replace(e, error=None, status="failed") for e in good]
    with pytest.raises(UserError, match="no evaluation of the record has succeeded"):
        compare(failed, good)
    with pytest.raises(UserError, match="no evaluation of the repetition has succeeded"):
        compare(good, failed)


def test_a_run_whose_training_was_shortened_is_not_repeated(made, tmp_path):
    record = dataclasses.replace(RunFolder(made.folder).read_run(), shortened_trainings={"super-network": 7})
    with pytest.raises(UserError, match="the training of super-network was shortened"):
        rerun(record, 3, tmp_path)
    assert list(tmp_path.iterdir()) == []
