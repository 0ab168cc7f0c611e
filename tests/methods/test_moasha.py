"""MO-ASHA: rungs, decisions worked out by hand, and the stopped ones among a thousand trials."""

import numpy as np
import pytest

from nasbench.methods.moasha import Moasha, MoashaOptions
from nasbench.search.pareto import nondominated_ranks
from nasbench.search.searcher import Decision
from nasbench.testing.analytic import PROBLEMS

SPACE = PROBLEMS["smooth"].space
CONTINUE, STOP, FINISHED = Decision.CONTINUE, Decision.STOP, Decision.FINISHED


def _searcher(**options):
    return Moasha(SPACE, np.random.default_rng(0), MoashaOptions(**options))


def _decisions(searcher, reports, epoch=1):
    return [searcher.report(i, epoch, np.array(values, dtype=float)) for i, values in enumerate(reports)]


@pytest.mark.parametrize(
    ("options", "rungs"),
    [
        ({}, (1, 3, 5)),
        ({"eta": 2}, (1, 2, 4, 5)),
        ({"r_max": 243}, (1, 3, 9, 27, 81, 243)),
        ({"eta": 10, "r_max": 1000}, (1, 10, 100, 1000)),
        ({"r_min": 2, "r_max": 2}, (2,)),
    ],
)
def test_rungs_follow_from_the_options(options, rungs):
    assert _searcher(**options).rungs == rungs


def test_decisions_equal_those_worked_out_by_hand():
    # On a chain (one point per front), a trial passes if fewer than n / 3 of the n trials so far are better.
    reports = [(5, 5), (6, 6), (4, 4), (4.5, 4.5), (4.2, 4.2), (3, 3)]
    # n = 1: first of 1; n = 2: 1 better of 2; n = 3: best; n = 4: 1 < 4/3; n = 5: 1 < 5/3; n = 6: best.
    assert _decisions(_searcher(), reports) == [CONTINUE, STOP, CONTINUE, CONTINUE, CONTINUE, CONTINUE]
    assert _decisions(_searcher(), [(1, 1), (2, 2), (3, 3), (4, 4)]) == [CONTINUE, STOP, STOP, STOP]


def test_on_one_front_the_largest_crowding_distances_pass():
    searcher = _searcher()
    _decisions(searcher, [(0, 10), (10, 0), (1, 9), (2, 8)])
    # Five trials on the front, 5/3 pass: both ends have larger crowding distances than the points between.
    assert searcher.report(4, 1, np.array([5.0, 5.0])) is STOP
    # The crowding distance of a new end is infinite, but the other end came first; 1 < 6/3.
    assert searcher.report(5, 1, np.array([-1.0, 11.0])) is CONTINUE


def test_equal_trials_are_ordered_by_arrival():
    assert _decisions(_searcher(), [(1, 1), (1, 1), (1, 1)]) == [CONTINUE, STOP, STOP]


def test_each_rung_has_its_own_ranking():
    searcher = _searcher()
    _decisions(searcher, [(1, 1), (2, 2)], epoch=1)
    assert searcher.report(1, 3, np.array([2.0, 2.0])) is CONTINUE  # the first on its rung
    assert searcher.report(2, 3, np.array([3.0, 3.0])) is STOP


def test_a_trial_at_the_last_rung_finishes_even_if_it_is_bad():
    searcher = _searcher()
    assert _decisions(searcher, [(1, 1), (9, 9)], epoch=5) == [FINISHED, FINISHED]


def test_last_rung_is_the_declared_number_of_epochs_unless_it_is_set():
    searcher = _searcher()
    assert searcher.rungs == (1, 3, 5)
    searcher.declared_epochs = 3
    assert searcher.rungs == (1, 3)
    assert searcher.report(0, 3, np.zeros(2)) is Decision.FINISHED
    searcher = _searcher(r_max=9)
    searcher.declared_epochs = 3
    assert searcher.rungs == (1, 3, 9)


def test_a_report_between_rungs_is_rejected():
    with pytest.raises(ValueError, match=r"after 2 epochs; the rungs are \(1, 3, 5\)"):
        _searcher().report(0, 2, np.array([1.0, 1.0]))


def _simulated(seed, n=1000):
    """Values ``(n, 2)``: about half of the trials near a perfect trade-off, the others clearly worse."""
    rng = np.random.default_rng(seed)
    params = rng.random(n)
    worse = rng.random(n) < 0.55
    return np.stack([1 - params + worse * rng.uniform(0.1, 0.5, n), params], axis=1)


def test_trials_on_the_front_continue_and_stopped_trials_are_dominated():
    """Among a thousand trials with eta 2, as long as the front fits into the half that continues."""
    for seed in range(2):
        reports = _simulated(seed)
        decisions = np.array([decision is STOP for decision in _decisions(_searcher(eta=2), reports)])
        dominated = np.empty(len(reports), dtype=bool)
        checked = 0
        for i in range(len(reports)):
            ranks = nondominated_ranks(reports[: i + 1])
            dominated[i] = ranks[-1] > 0
            if ranks[-1] == 0 and (ranks == 0).sum() < (i + 1) / 2:
                checked += 1
                assert not decisions[i]
        assert checked > 300
        assert np.corrcoef(decisions, dominated)[0, 1] > 0.8


def test_the_worse_half_by_rank_is_stopped():
    reports = np.random.default_rng(0).random((1000, 2))
    stopped = np.array([decision is STOP for decision in _decisions(_searcher(eta=2), reports)])
    final = nondominated_ranks(reports)
    late = np.arange(1000) > 100
    assert stopped[late].mean() == pytest.approx(0.5, abs=0.06)
    assert np.corrcoef(stopped[late], final[late] > np.median(final))[0, 1] > 0.8


def test_trials_end_at_stop_or_finished():
    searcher = _searcher()
    rng = np.random.default_rng(1)
    ends = {STOP: [], FINISHED: []}
    for trial in range(200):
        config = searcher.ask()
        SPACE.check(config)
        values = rng.random(2)
        for epoch in searcher.rungs:
            decision = searcher.report(trial, epoch, values)
            if decision is not CONTINUE:
                ends[decision].append(epoch)
                break
    assert set(ends[FINISHED]) == {5}
    assert set(ends[STOP]) == {1, 3}
    assert 5 < len(ends[FINISHED]) < 60


@pytest.mark.parametrize("options", [{"eta": 1}, {"r_min": 0}, {"r_min": 6, "r_max": 5}])
def test_options_out_of_range_are_rejected(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MoashaOptions(**options)
