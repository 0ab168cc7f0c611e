"""Pareto fronts of two minimised objectives, in array code.

The engine, the searchers and the analysis share these three functions. Hypervolume is moocore's; fronts and ranks are a
sort and a scan, because two objectives need no more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import moocore
import numpy as np
import numpy.typing as npt

from nasbench.subnetwork import BoolArray, FloatArray, IntArray


def pareto_mask(values: npt.ArrayLike) -> BoolArray:
    """Which points no other point dominates. Equal copies of a non-dominated point are all kept.

    Args:
        values: ``(n, 2)``, both minimised; rows with a NaN are never on the front.

    Returns:
        ``(n,)``.
    """
    return np.asarray(nondominated_ranks(values) == 0)


def nondominated_ranks(values: npt.ArrayLike) -> IntArray:
    """Rank of each point by non-dominated sorting: 0 for the first front, 1 for the front without it, and so on.

    In lexicographic order a point is dominated by exactly those fronts whose best second objective so far is not
    larger, and these bests ascend with the front's number; so each rank is one bisection (Jensen 2003, two objectives).

    Args:
        values: ``(n, 2)``, both minimised. Equal points share a rank; rows with a NaN get ``n``.

    Returns:
        Integers ``(n,)``.
    """
    points = _two_columns(values)
    ranks = np.full(len(points), len(points), dtype=np.int64)
    valid = np.flatnonzero(~np.isnan(points).any(axis=1))
    order = valid[np.lexsort((points[valid, 1], points[valid, 0]))]
    best: list[float] = []  # of the second objective, by front; ascending
    ranks_in_order: list[int] = []
    last_point, rank = (np.nan, np.nan), 0
    for point in map(tuple, points[order].tolist()):
        if point != last_point:
            last_point, rank = point, bisect_right(best, point[1])
            best[rank : rank + 1] = [point[1]]
        ranks_in_order.append(rank)
    ranks[order] = ranks_in_order
    return ranks


def hypervolume(values: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Area dominated by the points and bounded by the reference point (Zitzler et al. 2003; figure 4 of the paper).

    Args:
        values: ``(n, 2)``, both minimised; points outside the reference add nothing; n may be 0.
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
    """A Pareto front that grows point by point, in logarithmic time a point."""

    def __init__(self) -> None:
        self._second: list[float] = []  # ascending
        self._first: list[float] = []  # descending, since the points do not dominate each other
        self._indices: list[list[int]] = []

    @property
    def values(self) -> FloatArray:
        """The points, ``(n, 2)``, ascending in the second value; equal points count once."""
        return np.column_stack([self._first, self._second]).astype(np.float64)

    def would_hold(self, first: float, second: float) -> bool:
        """Whether no point of the front dominates ``(first, second)``; an equal point does not."""
        i = bisect_right(self._second, second)
        if i == 0 or self._first[i - 1] > first:
            return True
        return self._first[i - 1] == first and self._second[i - 1] == second

    def add(self, first: float, second: float, index: int) -> list[int]:
        """Add a point if it belongs to the front.

        Returns:
            The indices of the points that leave the front for it.
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
        left = [i for indices in self._indices[start:end] for i in indices]
        self._first[start:end], self._second[start:end] = [first], [second]
        self._indices[start:end] = [[index]]
        return left
