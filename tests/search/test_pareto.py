"""Dominance, ranks, crowding distances, hypervolume and Front, against moocore, pymoo and the definitions."""

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from support.examples import same_examples

from nasbench.search.pareto import (
    Front,
    crowding_distances,
    dominates,
    hypervolume,
    nondominated_ranks,
    pareto_mask,
    weakly_dominates,
)

TIED = st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda p: (float(p[0]), float(p[1])))
RANDOM = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
POINTS = st.lists(TIED, max_size=40) | st.lists(RANDOM, max_size=20) | st.lists(TIED | RANDOM, max_size=30)


def _beats(a, b):
    """Dominance by definition, for two pairs."""
    return a[0] <= b[0] and a[1] <= b[1] and a != b


def _on_front(points):
    """Indices of the points that no other point dominates, by definition."""
    return {i for i, p in enumerate(points) if not any(_beats(q, p) for q in points)}


def _front_of(points):
    front, left_at = Front(), []
    for i, point in enumerate(points):
        left_at.append(front.add(point, i))
    return front, left_at


@same_examples
@given(POINTS)
def test_front_holds_the_points_of_the_definition_and_of_moocore(points):
    front, _ = _front_of(points)
    by_definition = sorted({points[i] for i in _on_front(points)}, key=lambda p: p[1])
    np.testing.assert_array_equal(front.values, np.array(by_definition).reshape(-1, 2))
    if points:
        by_moocore = np.unique(moocore.filter_dominated(np.array(points)), axis=0)
        np.testing.assert_array_equal(front.values[np.argsort(front.values[:, 0])], by_moocore)


@same_examples
@given(POINTS)
def test_front_is_sorted_and_has_no_repetitions(points):
    values = _front_of(points)[0].values
    assert values.shape == (len(values), 2)
    assert (np.diff(values[:, 1]) > 0).all()
    assert (np.diff(values[:, 0]) < 0).all()


@same_examples
@given(POINTS)
def test_front_would_hold_exactly_the_points_that_no_earlier_point_dominates(points):
    front = Front()
    for i, point in enumerate(points):
        assert front.would_hold(*point) == (not any(_beats(earlier, point) for earlier in points[:i]))
        front.add(point, i)
        assert front.would_hold(*point) == (i in _on_front(points[: i + 1]))


@same_examples
@given(POINTS)
def test_front_returns_the_indices_that_a_new_point_drives_out(points):
    _, left_at = _front_of(points)
    members = set()
    for i, left in enumerate(left_at):
        expected = _on_front(points[: i + 1])
        assert len(left) == len(set(left))
        assert set(left) == members - expected
        members = expected
    if points:  # equal points stay together
        mask = moocore.is_nondominated(np.array(points), keep_weakly=True)
        assert members == set(np.flatnonzero(mask).tolist())


@same_examples
@given(st.data())
def test_front_does_not_depend_on_the_order_of_insertion(data):
    points = data.draw(POINTS)
    order = data.draw(st.permutations(range(len(points))))
    front, reordered = Front(), Front()
    members, reordered_members = set(), set()
    for i, point in enumerate(points):
        members = (members | ({i} if front.would_hold(*point) else set())) - set(front.add(point, i))
    for i in order:
        joins = reordered.would_hold(*points[i])
        reordered_members = (reordered_members | ({i} if joins else set())) - set(reordered.add(points[i], i))
    np.testing.assert_array_equal(reordered.values, front.values)
    assert reordered_members == members


def test_front_of_a_worked_example():
    front = Front()
    assert front.values.shape == (0, 2)
    assert front.add((0.5, 0.5), 10) == []
    assert front.add((0.5, 0.5), 11) == []  # an equal point stays beside the first
    assert front.add((0.6, 0.5), 12) == []  # dominated: not added
    assert front.add((0.2, 0.9), 13) == []
    assert front.add((0.2, 0.8), 14) == [13]  # same error with fewer parameters
    assert front.add((0.5, 0.4), 15) == [10, 11]
    assert sorted(front.add((0.1, 0.1), 16)) == [14, 15]
    np.testing.assert_array_equal(front.values, [[0.1, 0.1]])


@same_examples
@given(POINTS, POINTS)
def test_dominance_of_arrays_equals_the_definition(first, second):
    if first and second:
        a, b = np.array(first)[:, None], np.array(second)
        np.testing.assert_array_equal(dominates(a, b), [[_beats(p, q) for q in second] for p in first])
        np.testing.assert_array_equal(weakly_dominates(a, b), [[_beats(p, q) or p == q for q in second] for p in first])


def test_nan_neither_dominates_nor_is_dominated():
    values = np.array([[0.0, np.nan], [np.nan, np.nan], [1.0, 1.0]])
    assert not dominates(values[:2], values[2]).any()
    assert not dominates(values[2], values[:2]).any()
    assert not weakly_dominates(values[:2], values[:2]).any()


def _peeled(values):
    """Rank by definition: remove the points that nothing dominates, count, repeat."""
    ranks, left, rank = np.full(len(values), -1), np.ones(len(values), bool), 0
    while left.any():
        beats = (values[:, None] <= values).all(axis=-1) & (values[:, None] < values).any(axis=-1)
        free = left & ~(beats & left[:, None]).any(axis=0)
        ranks[free], left[free], rank = rank, False, rank + 1
    return ranks


@pytest.mark.parametrize("seed", range(30))
def test_ranks_with_many_ties_equal_the_definition_and_pymoo(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 9, size=(int(rng.integers(1, 60)), 2)).astype(float)
    ranks = nondominated_ranks(values)
    np.testing.assert_array_equal(ranks, _peeled(values))
    np.testing.assert_array_equal(ranks, NonDominatedSorting().do(values, return_rank=True)[1])
    np.testing.assert_array_equal(pareto_mask(values), ranks == 0)


def test_ranks_are_in_the_order_of_the_input():
    np.testing.assert_array_equal(nondominated_ranks([[2, 2], [0, 0], [1, 1]]), [2, 0, 1])


def test_a_missing_value_has_the_last_rank_and_is_not_on_the_front():
    values = [[np.nan, 0], [1, 1], [2, 2]]
    np.testing.assert_array_equal(nondominated_ranks(values), [3, 0, 1])
    np.testing.assert_array_equal(pareto_mask(values), [False, True, False])
    assert nondominated_ranks(np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize("shape", [(3,), (2, 1), (1, 2, 2)])
def test_other_shapes_are_rejected(shape):
    with pytest.raises(ValueError, match=r"values must be \(n, 2\), not \("):
        pareto_mask(np.zeros(shape))


@pytest.mark.parametrize("size", [3, 20])
def test_crowding_distances_are_twice_the_mean_over_objectives_of_pymoo(size):
    rng = np.random.default_rng(size)
    first = np.sort(rng.random(size))
    front = np.stack([first, np.sort(rng.random(size))[::-1]], axis=1)[rng.permutation(size)]
    expected = calc_crowding_distance(front) * 2  # pymoo divides by the number of objectives
    np.testing.assert_allclose(crowding_distances(front), expected)


def test_crowding_distance_is_infinite_at_both_ends():
    assert crowding_distances([[1, 2]]) == [np.inf]
    np.testing.assert_array_equal(crowding_distances([[1, 2], [0, 3]]), [np.inf, np.inf])
    np.testing.assert_array_equal(crowding_distances([[4, 0], [1, 3], [0, 4]]), [np.inf, 2, np.inf])


def test_crowding_distances_of_equal_points_are_zero_or_infinite():
    distances = crowding_distances([[1, 1], [1, 1], [1, 1]])
    assert sorted(distances) == [0, np.inf, np.inf]


@same_examples
@given(st.lists(TIED, max_size=20))
def test_hypervolume_counts_the_dominated_unit_squares(points):
    """With whole coordinates, the hypervolume is the number of unit squares above and right of any point."""
    reference = (4, 5)
    squares = [
        (x, y) for x in range(reference[0]) for y in range(reference[1]) if any(p[0] <= x and p[1] <= y for p in points)
    ]
    assert hypervolume(points, reference) == pytest.approx(len(squares))
