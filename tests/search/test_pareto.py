"""Ranks and crowding distances against pymoo and against the definition."""

import numpy as np
import pytest
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from nasbench.search.pareto import crowding_distances, nondominated_ranks, pareto_mask


def _peeled(values):
    """Rank by definition: take away what nothing dominates, count, repeat."""
    ranks, left, rank = np.full(len(values), -1), np.ones(len(values), bool), 0
    while left.any():
        at_most = (values[:, None] <= values).all(axis=-1) & (values[:, None] < values).any(axis=-1)
        free = left & ~(at_most & left[:, None]).any(axis=0)
        ranks[free], left[free], rank = rank, False, rank + 1
    return ranks


@pytest.mark.parametrize("seed", range(30))
def test_ranks_equal_the_definition_and_pymoos_with_many_ties(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 9, size=(int(rng.integers(1, 60)), 2)).astype(float)
    ranks = nondominated_ranks(values)
    np.testing.assert_array_equal(ranks, _peeled(values))
    np.testing.assert_array_equal(ranks, NonDominatedSorting().do(values, return_rank=True)[1])
    np.testing.assert_array_equal(pareto_mask(values), ranks == 0)


def test_the_order_of_three_points_is_not_mistaken_for_their_ranks():
    np.testing.assert_array_equal(nondominated_ranks([[2, 2], [0, 0], [1, 1]]), [2, 0, 1])


def test_a_missing_value_has_the_last_rank_and_is_never_on_the_front():
    values = [[np.nan, 0], [1, 1], [2, 2]]
    np.testing.assert_array_equal(nondominated_ranks(values), [3, 0, 1])
    np.testing.assert_array_equal(pareto_mask(values), [False, True, False])
    assert nondominated_ranks(np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize("size", [3, 20])
def test_crowding_distances_are_twice_pymoos_mean_over_objectives(size):
    rng = np.random.default_rng(size)
    first = np.sort(rng.random(size))
    front = np.stack([first, np.sort(rng.random(size))[::-1]], axis=1)[rng.permutation(size)]
    expected = calc_crowding_distance(front) * 2  # pymoo divides by the number of objectives
    np.testing.assert_allclose(crowding_distances(front), expected)


def test_the_ends_are_infinitely_lonely():
    assert crowding_distances([[1, 2]]) == [np.inf]
    np.testing.assert_array_equal(crowding_distances([[1, 2], [0, 3]]), [np.inf, np.inf])
    np.testing.assert_array_equal(crowding_distances([[4, 0], [1, 3], [0, 4]]), [np.inf, 2, np.inf])


def test_crowding_distances_of_equal_points_are_finite_or_infinite_but_numbers():
    distances = crowding_distances([[1, 1], [1, 1], [1, 1]])
    assert sorted(distances) == [0, np.inf, np.inf]
