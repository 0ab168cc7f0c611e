"""Dominance, Pareto fronts and hypervolume of two or more minimised objectives.

The engine, the searchers and the analysis share this code. Hypervolume and ranks come from moocore.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import moocore
import numpy as np
import numpy.typing as npt

from nasbench.arrays import BoolArray, FloatArray, IntArray


def weakly_dominates(first: npt.ArrayLike, second: npt.ArrayLike) -> BoolArray:
    """Whether points are at least as good as others in all values.

    Args:
        first: ``(..., d)``, all minimised.
        second: ``(..., d)``; broadcasts against ``first``.

    Returns:
        ``(...)``; False where a value is NaN.
    """
    return np.asarray((np.asarray(first) <= np.asarray(second)).all(axis=-1))


def dominates(first: npt.ArrayLike, second: npt.ArrayLike) -> BoolArray:
    """Whether points are at least as good as others in all values and better in one.

    Arguments and result are those of :func:`weakly_dominates`.
    """
    return weakly_dominates(first, second) & ~weakly_dominates(second, first)


def pareto_mask(values: npt.ArrayLike) -> BoolArray:
    """Mask of the points that no other point dominates. Equal copies of a non-dominated point are all kept.

    Args:
        values: ``(n, d)``, all minimised; rows with a NaN are never on the front.

    Returns:
        ``(n,)``.
    """
    return np.asarray(nondominated_ranks(values) == 0)


def nondominated_ranks(values: npt.ArrayLike) -> IntArray:
    """Rank of each point by non-dominated sorting: 0 for the first front, 1 for the front of the rest, and so on.

    Args:
        values: ``(n, d)``, all minimised. Equal points share a rank; rows with a NaN get ``n``.

    Returns:
        Integers ``(n,)``.
    """
    points = _columns(values)
    ranks = np.full(len(points), len(points), dtype=np.int64)
    valid = ~np.isnan(points).any(axis=1)
    if valid.any():
        ranks[valid] = moocore.pareto_rank(points[valid])
    return ranks


def crowding_distances(front: npt.ArrayLike) -> FloatArray:
    """Crowding distance of each point: half the perimeter of the box between its neighbours (Deb et al. 2002).

    Args:
        front: ``(m, d)``; no point may dominate another.

    Returns:
        ``(m,)``, in units of the front's extent; infinite for the two ends of the front in each objective.
    """
    points = _columns(front)
    if points.shape[1] > 2:
        return _crowding_in_many(points)
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

    With three objectives it is a volume.

    Args:
        values: ``(n, d)``, all minimised; n may be 0. Points outside the reference add nothing.
        reference: ``(d,)``.
    """
    bound = np.asarray(reference, dtype=np.float64)
    points = _columns(values, len(bound))
    inside = points[(points < bound).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=bound)) if len(inside) else 0.0


def _crowding_in_many(points: FloatArray) -> FloatArray:
    """Crowding distances for more than two objectives, where the order in one says nothing about the others."""
    distances = np.zeros(len(points))
    for column in points.T if len(points) else ():
        order = np.argsort(column, kind="stable")
        extent = column[order[-1]] - column[order[0]]
        distances[order[[0, -1]]] = np.inf
        distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / (extent or 1.0)
    return distances


def _columns(values: npt.ArrayLike, n_objectives: int | None = None) -> FloatArray:
    """The points as an array ``(n, d)``, checked; d is ``n_objectives`` if given, and at least 2."""
    points = np.asarray(values, dtype=np.float64)
    if points.size == 0:
        return points.reshape(0, n_objectives or 2)
    if points.ndim != 2 or points.shape[1] < 2 or points.shape[1] != (n_objectives or points.shape[1]):
        raise ValueError(f"values must be (n, {n_objectives or 2}), not {points.shape}")
    return points


class Front:
    """A Pareto front of two objectives that grows point by point; see :class:`LargeFront` for more objectives.

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

    def would_hold(self, *values: float) -> bool:
        """Whether no point of the front dominates a point. An equal point does not dominate it."""
        first, second = values
        i = bisect_right(self._second, second)
        if i == 0 or self._first[i - 1] > first:
            return True
        return self._first[i - 1] == first and self._second[i - 1] == second

    def add(self, values: Sequence[float], index: int) -> list[int]:
        """Add a point if no point of the front dominates it.

        Args:
            values: of the point, one for each objective.
            index: the caller's name for the point.

        Returns:
            Indices of the points that the new point drives out. Equal points stay.
        """
        first, second = values
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


class LargeFront(Front):
    """A Pareto front of more than two objectives that grows point by point. A new point meets every old one.

    Args:
        n_objectives: number of objectives.
    """

    def __init__(self, n_objectives: int) -> None:
        self._points = np.empty((0, n_objectives))
        self._names: list[int] = []

    @property
    def values(self) -> FloatArray:
        """The points ``(n, d)``; each set of equal points once."""
        return np.unique(self._points, axis=0)

    def would_hold(self, *values: float) -> bool:
        return not dominates(self._points, np.array(values, dtype=np.float64)).any()

    def add(self, values: Sequence[float], index: int) -> list[int]:
        if not self.would_hold(*values):
            return []
        leaves = dominates(np.array(values, dtype=np.float64), self._points)
        driven_out = [name for name, leaving in zip(self._names, leaves, strict=True) if leaving]
        self._names = [name for name, leaving in zip(self._names, leaves, strict=True) if not leaving] + [index]
        self._points = np.vstack([self._points[~leaves], np.array(values, dtype=np.float64)])
        return driven_out


def empty_front(n_objectives: int) -> Front:
    """A front of so many objectives without points."""
    return Front() if n_objectives == 2 else LargeFront(n_objectives)
