"""MO-REA: the oldest member leaves, parents are chosen by non-dominated rank, one dimension is redrawn."""

import numpy as np
import pytest

from nasbench.methods.morea import Morea, MoreaOptions
from nasbench.testing.analytic import PROBLEMS

SPACE = PROBLEMS["smooth"].space


def _full(values, options=None):
    """A searcher told one configuration (i, 100 i, i) for each pair of values."""
    searcher = Morea(SPACE, np.random.default_rng(0), options)
    for i, pair in enumerate(values):
        searcher.tell(np.array([i, 100 * i, i]), np.array(pair, dtype=float))
    return searcher


def _parents(searcher, n=200):
    """The number i of each proposal's parent: two of three dimensions are (i, 100 i, i)."""
    found = []
    for _ in range(n):
        heads, units, layers = searcher.ask()
        votes = [heads, units / 100, layers]
        parent = max(votes, key=votes.count)
        assert votes.count(parent) == 2, "exactly one dimension is redrawn"
        found.append(int(parent))
    return found


def test_parents_are_chosen_by_rank_within_the_sample():
    # Ranks 2, 0, 1, 3, ...; the order of insertion differs from the order of ranks.
    chain = [(2, 2), (0, 0), (1, 1), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9)]
    parents = _parents(_full(chain), 2000)
    wins = np.bincount(parents, minlength=10) / 2000
    # The member of rank r is the best in C(9 - r, 4) of the C(10, 5) samples.
    expected = {1: 126, 2: 70, 0: 35, 3: 15, 4: 5, 5: 1}
    for member in range(10):
        assert wins[member] == pytest.approx(expected.get(member, 0) / 252, abs=0.04)


def test_on_one_front_the_largest_crowding_distance_wins():
    front = [(0, 9), (1, 8.9), (1.1, 8.8), (1.2, 8.7), (5, 4), (8.7, 1.2), (8.8, 1.1), (8.9, 1), (8.95, 0.9), (9, 0)]
    wins = np.bincount(_parents(_full(front, MoreaOptions(sample_size=10)), 50), minlength=10)
    assert wins[0] + wins[9] == 50  # the crowding distance of both ends is infinite
    inner = np.bincount(_parents(_full(front), 1000), minlength=10)
    assert inner[4] > inner[[1, 2, 3, 5, 6, 7, 8]].max()


def test_the_oldest_member_leaves_even_if_it_is_the_best():
    values = [(0, 0)] + [(9 - i, i) for i in range(1, 11)]
    searcher = _full(values[:10])
    assert 0 in _parents(searcher)
    searcher.tell(np.array([10, 1000, 10]), np.array(values[10], dtype=float))
    assert 0 not in _parents(searcher)
    assert set(_parents(searcher, 500)) <= set(range(1, 11))


def test_proposals_are_uniform_until_the_population_is_full():
    searcher = _full([(1, 1)] * 9)
    proposals = np.array([searcher.ask() for _ in range(200)])
    assert len(np.unique(proposals[:, 1])) > 150
    searcher.tell(np.array([9, 900, 9]), np.array([1.0, 1.0]))
    _parents(searcher, 20)


@pytest.mark.parametrize("options", [{"sample_size": 0}, {"population_size": 4}, {"sample_size": 11}])
def test_options_out_of_range_are_rejected(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MoreaOptions(**options)


def test_defaults_equal_the_published_code():
    assert MoreaOptions() == MoreaOptions(population_size=10, sample_size=5)
