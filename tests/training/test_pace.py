"""The number of steps that fit into the time of a training."""

import pytest

from nasbench.training.pace import Pace


def judged(pace, seconds_per_step, n_steps, start_s=0.0):
    """The step at which the pace is judged, and the planned number of steps."""
    elapsed_s = start_s
    for step in range(1, n_steps + 1):
        elapsed_s += seconds_per_step(step)
        planned = pace.judge(step, elapsed_s, n_steps)
        if planned is not None:
            return step, planned
    return n_steps, None


def test_training_that_fits_is_not_shortened():
    pace = Pace(0, 0.0, 80.0, 100.0, rows_per_step=8, n_rows=24)
    assert judged(pace, lambda _: 1.0, 80) == (8, 80)
    assert pace.seconds_per_step == 1.0
    assert pace.end_s == 80.0


def test_training_that_does_not_fit_is_shortened_to_95_percent_of_its_time():
    pace = Pace(0, 0.0, 80.0, 100.0, rows_per_step=8, n_rows=24)
    # After 8 steps 72 s are left. 95 % of them hold 68 steps.
    assert judged(pace, lambda _: 1.0, 1000) == (8, 8 + 68)


def test_slow_first_steps_do_not_count():
    # 10 s and 20 s are a tenth and a fifth of the time: the first step of 9 s ends before the second half of the watch.
    pace = Pace(0, 0.0, 200.0, 200.0, rows_per_step=8, n_rows=0)
    step, planned = judged(pace, lambda step: 11.0 if step == 1 else 1.0, 150)
    assert (step, planned) == (10, 150)
    assert pace.seconds_per_step == 1.0


def test_single_slow_step_is_judged_at_once():
    pace = Pace(0, 0.0, 80.0, 100.0, rows_per_step=8, n_rows=0)
    assert judged(pace, lambda _: 20.0, 1000) == (1, 1 + 2)
    assert pace.seconds_per_step == 20.0


def test_time_for_an_evaluation_is_kept():
    # 480 rows take the forward passes of 60 steps, that is a third of 60 s.
    pace = Pace(0, 0.0, 100.0, 100.0, rows_per_step=8, n_rows=480)
    assert judged(pace, lambda _: 1.0, 1000) == (10, 10 + 66)
    assert pace.end_s == pytest.approx(80.0)
    assert pace.evaluation_fits


def test_at_most_half_of_the_time_is_kept_for_an_evaluation():
    pace = Pace(0, 0.0, 100.0, 100.0, rows_per_step=8, n_rows=10**6)
    assert judged(pace, lambda _: 1.0, 1000) == (10, 10 + 38)
    assert pace.end_s == 50.0
    assert not pace.evaluation_fits


def test_resumed_training_is_judged_by_its_own_steps():
    pace = Pace(500, 40.0, 80.0, 100.0, rows_per_step=8, n_rows=0)
    assert pace.judge(501, 41.0, 1000) is None
    # 0.25 s a step from here on: a tenth of the remaining 40 s has passed at 44 s.
    assert pace.judge(509, 43.0, 1000) is None
    planned = pace.judge(513, 44.0, 1000)
    assert pace.seconds_per_step == 0.25
    assert planned == 513 + int(0.95 * 36 / 0.25)


def test_training_without_time_ends_at_once():
    pace = Pace(0, 0.0, 10.0, 10.0, rows_per_step=8, n_rows=0)
    assert judged(pace, lambda _: 30.0, 1000) == (1, 1)


def test_at_least_a_tenth_of_the_time_is_kept_for_an_evaluation():
    pace = Pace(0, 0.0, 100.0, 100.0, rows_per_step=8, n_rows=1)
    assert judged(pace, lambda _: 1.0, 95) == (10, 10 + 76)
    assert pace.end_s == pytest.approx(90.0)
