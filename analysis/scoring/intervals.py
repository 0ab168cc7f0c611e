"""Confidence intervals of means over scenarios, in two readings.

- *On these tasks*: the scenarios are fixed and only the seeds are random. The interval answers: how much would the
  mean move if the same tasks were run again with other seeds?
- *On tasks like these*: the tasks are a sample too. The interval answers: what is to be expected on another task?
  Values of one task are dependent, however many seeds and models it has, so a task counts as one value.

The second interval is the wider one. A general claim about two methods needs it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from nasbench.arrays import FloatArray

COVERAGE = 0.95
MIN_VALUES = 3
"""Fewer values give no interval on these tasks."""
MIN_TASKS = 3
"""Fewer tasks give no interval on tasks like these, and a claim about such tasks stays undecided."""


class Interval(NamedTuple):
    """A mean with its 95 % interval; NaN where there is none."""

    mean: float
    low: float
    high: float


def interval_on_these_tasks(values: npt.ArrayLike, scenarios: npt.ArrayLike, *, tasks_alike: bool = False) -> Interval:
    """Mean over scenarios of the means over seeds, with the interval that new seeds would give.

    The interval is ``mean +- t sqrt(V)`` with ``V = sum over scenarios of w^2 s^2 / n``. ``w`` is the weight of a
    scenario (1 / number of scenarios), ``s`` the standard deviation of its ``n`` seeds, and ``t`` Student's quantile.
    Scenarios differ in spread, so the degrees of freedom are those of Welch and Satterthwaite (Welch 1947, Biometrika
    34:28-35).

    A bootstrap interval cannot reach beyond the values that it resamples. With two scenarios, two seeds and normal
    values, expanded percentiles contained the true mean in 67 of 100 cases, this interval in 97. With ten seeds or
    more, or with skewed values, both do equally well.

    A scenario with a single seed has no spread of its own and borrows the pooled variance of the others. Without any
    scenario of two seeds there is no interval.

    Args:
        values: ``(n,)``, no NaN.
        scenarios: ``(n,)``, the scenario of each value.
        tasks_alike: give each task, instead of each scenario, the same weight, so that the mean is that of
            :func:`interval_on_tasks_like_these`. The task of a scenario is the text before the first ``/``.

    Returns:
        All are NaN without values; the bounds are NaN for fewer than :data:`MIN_VALUES` values, or where every scenario
        has one seed.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0:
        return Interval(np.nan, np.nan, np.nan)
    names, scenario, size = np.unique(np.asarray(scenarios), return_inverse=True, return_counts=True)
    means, freedom = np.bincount(scenario, data) / size, size - 1
    mean, weight = float(means.mean()), np.full(len(size), 1.0 / len(size))
    if tasks_alike:
        _, task, n = np.unique(tasks_of(names), return_inverse=True, return_counts=True)
        mean, weight = float(task_means(data, scenarios).mean()), 1.0 / (len(n) * n[task])
    if len(data) < MIN_VALUES or not freedom.any():
        return Interval(mean, np.nan, np.nan)
    squares = np.bincount(scenario, (data - means[scenario]) ** 2)
    # Each scenario's part of V. A scenario with a single seed takes the pooled variance of the others.
    part = weight**2 / size
    part += part[freedom == 0].sum() * freedom / freedom.sum()
    part *= squares / np.maximum(freedom, 1)
    variance = float(part.sum())
    if variance == 0.0:
        return Interval(mean, mean, mean)
    degrees = variance**2 / float((part**2 / np.maximum(freedom, 1)).sum())
    return _student(mean, variance, degrees)


def interval_on_tasks_like_these(values: npt.ArrayLike, scenarios: npt.ArrayLike) -> Interval:
    """Mean over tasks, with Student's interval over the tasks.

    Args:
        values: ``(n,)``, no NaN.
        scenarios: ``(n,)``, the scenario of each value; its task is the text before the first ``/``.

    Returns:
        All are NaN without values; the bounds are NaN for fewer than :data:`MIN_TASKS` tasks.
    """
    means = task_means(values, scenarios)
    n = len(means)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = float(means.mean())
    if n < MIN_TASKS:
        return Interval(mean, np.nan, np.nan)
    return _student(mean, float(means.var(ddof=1)) / n, n - 1)


def tasks_of(scenarios: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """The task of each scenario, ``(n,)``: the text before the first ``/``."""
    return np.array([str(name).partition("/")[0] for name in np.asarray(scenarios)], dtype=str)


def task_means(values: npt.ArrayLike, scenarios: npt.ArrayLike) -> FloatArray:
    """The mean of each task, ``(n_tasks,)``: over its scenarios, of the means over their seeds.

    Args:
        values: ``(n,)``, no NaN.
        scenarios: ``(n,)``, the scenario of each value.
    """
    data = np.asarray(values, dtype=np.float64)
    names, scenario, size = np.unique(np.asarray(scenarios, dtype=str), return_inverse=True, return_counts=True)
    by_scenario = np.bincount(scenario, data, minlength=len(names)) / size
    _, task, n = np.unique(tasks_of(names), return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(task, by_scenario, minlength=len(n)) / n, dtype=np.float64)


def _student(mean: float, variance: float, degrees: float) -> Interval:
    half = float(stats.t.ppf(0.5 + COVERAGE / 2, degrees)) * float(np.sqrt(variance))
    return Interval(mean, mean - half, mean + half)
