"""Dominance, Pareto fronts and hypervolume of two minimised objectives.

The engine, the searchers and the analysis share this code. Hypervolume and ranks come from moocore.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import moocore
import numpy as np
import numpy.typing as npt

from nasbench.arrays import BoolArray, FloatArray, IntArray


def weakly_dominates(first: npt.ArrayLike, second: npt.ArrayLike) -> BoolArray:
    """Whether points are at least as good as others in both values.

    Args:
        first: ``(..., 2)``, both minimised.
        second: ``(..., 2)``; broadcasts against ``first``.

    Returns:
        ``(...)``; False where a value is NaN.
    """
    return np.asarray((np.asarray(first) <= np.asarray(second)).all(axis=-1))


def dominates(first: npt.ArrayLike, second: npt.ArrayLike) -> BoolArray:
    """Whether points are at least as good as others in both values and better in one.

    Arguments and result are those of :func:`weakly_dominates`.
    """
    return weakly_dominates(first, second) & ~weakly_dominates(second, first)


def pareto_mask(values: npt.ArrayLike) -> BoolArray:
    """Mask of the points that no other point dominates. Equal copies of a non-dominated point are all kept.

    Args:
        values: ``(n, 2)``, both minimised; rows with a NaN are never on the front.

    Returns:
        ``(n,)``.
    """
    return np.asarray(nondominated_ranks(values) == 0)


def nondominated_ranks(values: npt.ArrayLike) -> IntArray:
    """Rank of each point by non-dominated sorting: 0 for the first front, 1 for the front of the rest, and so on.

    Args:
        values: ``(n, 2)``, both minimised. Equal points share a rank; rows with a NaN get ``n``.

    Returns:
        Integers ``(n,)``.
    """
    points = _two_columns(values)
    ranks = np.full(len(points), len(points), dtype=np.int64)
    valid = ~np.isnan(points).any(axis=1)
    if valid.any():
        ranks[valid] = moocore.pareto_rank(points[valid])
    return ranks


def crowding_distances(front: npt.ArrayLike) -> FloatArray:
    """Crowding distance of each point: half the perimeter of the box between its neighbours (Deb et al. 2002).

    Args:
        front: ``(m, 2)``; no point may dominate another.

    Returns:
        ``(m,)``, in units of the front's extent; infinite for the two ends of the front.
    """
    points = _two_columns(front)
    order = np.lexsort((-points[:, 1], points[:, 0]))
    distances = np.full(len(points), np.inf)
    if len(points) > 2:
        ordered = points[order]
        extent = np.abs(ordered[-1] - ordered[0])
        extent[extent == 0] = 1.0
        distances[order[1:-1]] = (np.abs(ordered[2:] - ordered[:-2]) / extent).sum(axis=1)
    return distances


def hypervolume(values: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Area dominated by the points and bounded by the reference point (Zitzler et al. 2003; figure 4 of the paper).

    Args:
        values: ``(n, 2)``, both minimised; n may be 0. Points outside the reference add nothing.
        reference: ``(2,)``.
    """
    points, bound = _two_columns(values), np.asarray(reference, dtype=np.float64)
    inside = points[(points < bound).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=bound)) if len(inside) else 0.0


def _two_columns(values: npt.ArrayLike) -> FloatArray:
    points = np.asarray(values, dtype=np.float64)
    if points.size == 0:
        return points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"values must be (n, 2), not {points.shape}")
    return points


class Front:
    """A Pareto front that grows point by point.

    The points are sorted by their second value, so binary search finds the only neighbours that matter for a new point.
    """

    def __init__(self) -> None:
        self._second: list[float] = []  # ascending
        self._first: list[float] = []  # descending, since the points do not dominate each other
        self._indices: list[list[int]] = []

    @property
    def values(self) -> FloatArray:
        """The points ``(n, 2)``, ascending in the second value; each set of equal points once."""
        return np.column_stack([self._first, self._second]).astype(np.float64)

    def would_hold(self, first: float, second: float) -> bool:
        """Whether no point of the front dominates ``(first, second)``. An equal point does not dominate it."""
        i = bisect_right(self._second, second)
        if i == 0 or self._first[i - 1] > first:
            return True
        return self._first[i - 1] == first and self._second[i - 1] == second

    def add(self, first: float, second: float, index: int) -> list[int]:
        """Add a point if no point of the front dominates it.

        Args:
            index: the caller's name for the point.

        Returns:
            Indices of the points that the new point drives out. Equal points stay.
        """
        if not self.would_hold(first, second):
            return []
        start = bisect_left(self._second, second)
        if start < len(self._second) and (self._first[start], self._second[start]) == (first, second):
            self._indices[start].append(index)
            return []
        end = start
        while end < len(self._second) and self._first[end] >= first:
            end += 1
        driven_out = [i for indices in self._indices[start:end] for i in indices]
        self._first[start:end], self._second[start:end] = [first], [second]
        self._indices[start:end] = [[index]]
        return driven_out
