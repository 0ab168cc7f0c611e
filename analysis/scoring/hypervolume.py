"""Hypervolume of many runs over time at once, and regret (section 4.1 of the paper, figures 4, 11 and 12).

With points sorted by their first objective x, the dominated area at time t is a sum of columns: from each x to the next
one, as high as the best (lowest) second objective y among the points up to that x that had arrived by t. That best is a
running minimum along x: one ``np.minimum.accumulate`` over times x points, the points of all runs side by side. Running
minima are kept apart between runs by taking them over integers, the ranks of y, lowered by more than their range from
each run to the next: exact, unlike an offset on the values.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nasbench.arrays import BoolArray, FloatArray, IntArray
from nasbench.declarations.task import REFERENCE_POINT

_N_LIMITS = 4
_MAX_CELLS = 200_000
"""Of the points x time steps array held at once: 1.6 MB, which stays in a core's cache."""


def over_time(
    values: npt.ArrayLike,
    times: npt.ArrayLike,
    runs: npt.ArrayLike,
    n_runs: int,
    grid: npt.ArrayLike,
    reference: npt.ArrayLike = REFERENCE_POINT,
) -> FloatArray:
    """Hypervolume of what each run had evaluated by each point of time.

    Args:
        values: ``(n, 2)``, both minimised. Points outside the reference and rows with a NaN add nothing.
        times: ``(n,)``, when each evaluation ended, in the unit of ``grid``.
        runs: ``(n,)`` integers in ``[0, n_runs)``, in any order.
        n_runs: runs without a point have hypervolume 0.
        grid: ``(n_times,)`` ascending; an evaluation counts from the first grid point that is not before it.
        reference: ``(2,)``.

    Returns:
        ``(n_runs, n_times)``.
    """
    points = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    ended, owner, steps = np.asarray(times, dtype=np.float64), np.asarray(runs), np.asarray(grid, dtype=np.float64)
    bound = np.asarray(reference, dtype=np.float64)
    if not len(points) == len(ended) == len(owner):
        raise ValueError(f"values {points.shape}, times {ended.shape} and runs {owner.shape} differ in length")
    if steps.ndim != 1 or (np.diff(steps) < 0).any():
        raise ValueError("grid must be one-dimensional and ascending")
    hypervolume = np.zeros((n_runs, len(steps)))
    # The comparisons leave out rows with a NaN as well.
    inside = (points < bound).all(axis=1) & (ended <= (steps[-1] if len(steps) else -np.inf))
    if not inside.any():
        return hypervolume
    points, owner = points[inside], owner[inside].astype(np.int64)
    arrival = np.searchsorted(steps, ended[inside], side="left")
    order = np.lexsort((arrival, owner))
    points, owner, arrival = points[order], owner[order], arrival[order]
    kept = _undominated_on_arrival(points, owner)
    points, owner, arrival = points[kept], owner[kept], arrival[kept]
    order = np.lexsort((points[:, 0], owner))
    points, owner, arrival = points[order], owner[order], arrival[order]
    for chunk in _chunks(owner, len(steps)):
        present, areas = _areas(points[chunk], owner[chunk], arrival[chunk], len(steps), bound)
        hypervolume[present] = areas
    return hypervolume


def final(
    values: npt.ArrayLike, runs: npt.ArrayLike, n_runs: int, reference: npt.ArrayLike = REFERENCE_POINT
) -> FloatArray:
    """Hypervolume of everything each run evaluated, ``(n_runs,)``; arguments as in :func:`over_time`."""
    owner = np.asarray(runs)
    return over_time(values, np.zeros(len(owner)), owner, n_runs, np.zeros(1), reference)[:, 0]


def regret(hypervolumes: npt.ArrayLike, scenarios: npt.ArrayLike) -> FloatArray:
    """Best hypervolume observed in the same scenario, by any run at any time, minus the own.

    Args:
        hypervolumes: ``(n_runs, n_times)``, NaN where unknown.
        scenarios: ``(n_runs,)`` names or numbers.

    Returns:
        ``(n_runs, n_times)``, not negative.
    """
    own = np.asarray(hypervolumes, dtype=np.float64)
    _, codes = np.unique(np.asarray(scenarios), return_inverse=True)
    best = np.full(codes.max(initial=-1) + 1, -np.inf)
    if own.size:
        np.fmax.at(best, codes, np.fmax.reduce(own, axis=1))
    return best[codes][:, None] - own


def _undominated_on_arrival(points: FloatArray, owner: IntArray) -> BoolArray:
    """A superset of the points that no earlier point of their run dominates; usually little more than these.

    Of the earlier points up to some limit in one objective, the one that is best in the other dominates most of what is
    dominated at all. It is found for a few limits in each objective, and compared as it is: only points seen to be
    dominated are dropped, so the hypervolume is exact whatever the limits are.

    Args:
        points: ``(n, 2)``, sorted by run, then by arrival.
        owner: ``(n,)`` ascending.
    """
    # A row an objective, each contiguous: reductions over an axis of length 2 take several times as long.
    kept, run, columns = np.arange(len(points)), owner.astype(np.float64), np.ascontiguousarray(points.T)
    levels = np.arange(1, _N_LIMITS + 1) / (_N_LIMITS + 1)
    limits = np.quantile(points, levels, axis=0)
    for objective, limit in [(k, limit) for k in (0, 1) for limit in limits[:, k]]:
        bounded, other = columns[objective], columns[1 - objective]
        top = other.max()
        # Falls from run to run by more than the range: the running minimum starts anew in each.
        scores = np.where(bounded <= limit, other, top) - run * (top - other.min() + 1.0)
        is_best = scores == np.minimum.accumulate(scores)
        best = np.maximum.accumulate(np.where(is_best, np.arange(len(kept)), 0))
        no_worse = (bounded[best] <= bounded) & (other[best] <= other)
        stays = ~(no_worse & ((bounded[best] < bounded) | (other[best] < other)))
        kept, run, columns = kept[stays], run[stays], columns[:, stays]
    mask = np.zeros(len(points), dtype=np.bool_)
    mask[kept] = True
    return mask


def _chunks(owner: IntArray, n_times: int) -> list[slice]:
    """Slices of whole runs, each of at most about ``_MAX_CELLS`` points x time steps."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    group = starts * n_times // _MAX_CELLS
    firsts = starts[np.flatnonzero(np.diff(group, prepend=-1))]
    return [slice(int(a), int(b)) for a, b in zip(firsts, [*firsts[1:], len(owner)], strict=True)]


def _areas(
    points: FloatArray, owner: IntArray, arrival: IntArray, n_times: int, bound: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Hypervolumes of runs side by side.

    Args:
        points: ``(n, 2)`` inside the bound, sorted by run, then by the first objective.
        owner, arrival: ``(n,)``, run and time step of each.

    Returns:
        The runs present, ``(n_present,)``, and ``(n_present, n_times)``.
    """
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    position = np.cumsum(np.diff(owner, prepend=owner[0]) != 0)
    levels, rank = np.unique(points[:, 1], return_inverse=True)
    nothing = len(levels)  # the rank of what has not arrived: it reaches the bound, so its column has no height
    offset = position * (nothing + 1)
    best = np.where(arrival <= np.arange(n_times)[:, None], rank - offset, nothing - offset)
    np.minimum.accumulate(best, axis=1, out=best)
    best += offset
    heights = bound[1] - np.append(levels, bound[1])
    next_x = np.append(points[1:, 0], bound[0])
    next_x[starts[1:] - 1] = bound[0]
    areas = heights[best] * (next_x - points[:, 0])
    return owner[starts], np.add.reduceat(areas, starts, axis=1).T
