"""Hypervolume of many runs over time (section 4.1 of the paper, figure 4)."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from nasbench.arrays import FloatArray, IntArray
from nasbench.declarations.task import REFERENCE_POINT
from nasbench.search.pareto import hypervolume


def over_time(
    values: npt.ArrayLike,
    times: npt.ArrayLike,
    runs: npt.ArrayLike,
    n_runs: int,
    grid: npt.ArrayLike,
    reference: npt.ArrayLike = REFERENCE_POINT,
) -> FloatArray:
    """Hypervolume of each run's evaluations up to each point of time.

    Args:
        values: ``(n, d)``, all minimised. Points outside the reference and rows with a NaN add nothing.
        times: ``(n,)``, the end of each evaluation, in the unit of ``grid``.
        runs: ``(n,)`` integers in ``[0, n_runs)``, in any order.
        n_runs: number of runs; a run without points has hypervolume 0.
        grid: ``(n_times,)`` ascending; an evaluation counts from the first grid point that is not before its end.
        reference: ``(d,)``.

    Returns:
        ``(n_runs, n_times)``.

    Raises:
        ValueError: if the lengths differ, or the grid does not ascend.
    """
    bound = np.asarray(reference, dtype=np.float64)
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(bound))
    ended, owner, steps = np.asarray(times, dtype=np.float64), np.asarray(runs), np.asarray(grid, dtype=np.float64)
    if not len(points) == len(ended) == len(owner):
        raise ValueError(f"values {points.shape}, times {ended.shape} and runs {owner.shape} differ in length")
    if steps.ndim != 1 or (np.diff(steps) < 0).any():
        raise ValueError("grid must be one-dimensional and ascending")
    # The comparisons are false for NaN.
    inside = (points < bound).all(axis=1) & (ended <= (steps[-1] if len(steps) else -np.inf))
    points, owner = points[inside], owner[inside].astype(np.int64)
    arrival = np.searchsorted(steps, ended[inside], side="left")
    order = np.lexsort((arrival, owner))
    points, owner, arrival = points[order], owner[order], arrival[order]
    starts = np.flatnonzero(np.diff(owner))
    if len(bound) == 2:
        gains = [gain for run in np.split(points, starts + 1) for gain in _gains(run, bound)]
    else:
        of_runs = zip(np.split(points, starts + 1), np.split(arrival, starts + 1), strict=True)
        gains = [gain for run, steps_of in of_runs for gain in _gains_in_many(run, steps_of, bound)]
    by_step = np.bincount(owner * len(steps) + arrival, gains, minlength=n_runs * len(steps))
    return np.cumsum(by_step.reshape(n_runs, len(steps)), axis=1, dtype=np.float64)


def _gains(points: FloatArray, bound: FloatArray) -> list[float]:
    """The area that each point adds to the hypervolume of the points before it, 0 for a dominated point.

    The front is a staircase: its points by ascending x and so by descending y, between two sentinels that extend its
    first and last step to the reference.

    Args:
        points: ``(n, 2)`` of one run, inside the bound, in the order of arrival.
        bound: ``(2,)``, the reference point.
    """
    xs, ys, gains = [-np.inf, float(bound[0])], [float(bound[1]), -np.inf], []
    for x, y in points.tolist():
        first = last = bisect_right(xs, x)
        left, ceiling, gain = x, ys[first - 1], 0.0
        while ceiling > y:
            gain += (xs[last] - left) * (ceiling - y)
            left, ceiling, last = xs[last], ys[last], last + 1
        if gain:
            xs[first : last - 1], ys[first : last - 1] = [x], [y]
        gains.append(gain)
    return gains


def _gains_in_many(points: FloatArray, arrival: IntArray, bound: FloatArray) -> list[float]:
    """As :func:`_gains` for more than two objectives: the last point of each time step gets the gain of the step.

    Args:
        points: ``(n, d)`` of one run, inside the bound, in the order of arrival.
        arrival: ``(n,)``, the time step of each point, ascending.
        bound: ``(d,)``, the reference point.
    """
    gains, before = [0.0] * len(points), 0.0
    for last in np.flatnonzero(np.diff(arrival, append=np.inf)).tolist():
        reached = hypervolume(points[: last + 1], bound)
        gains[last], before = reached - before, reached
    return gains
