"""Local search: proposals are neighbours of front members; the front follows what was told."""

import numpy as np
import pytest

from nasbench.methods.local_search import LocalSearch
from nasbench.networks.space import make_space
from nasbench.search.pareto import pareto_mask
from nasbench.testing.analytic import BERT_BASE, PROBLEMS


@pytest.fixture
def searcher():
    return LocalSearch(make_space("small", BERT_BASE), np.random.default_rng(0))


def _told(searcher, *pairs):
    for config, values in pairs:
        searcher.tell(np.array(config), np.array(values, dtype=float))


def _parents(searcher, parents, n=300):
    """Number of proposals that differ from each given configuration in exactly one dimension."""
    counts = dict.fromkeys(parents, 0)
    for _ in range(n):
        config = searcher.ask()
        near = [parent for parent in parents if (config != parent).sum() == 1]
        assert len(near) == 1, config
        counts[near[0]] += 1
    return counts


def test_proposals_redraw_exactly_one_dimension_of_a_front_member(searcher):
    front = [(2, 100, 3), (6, 500, 6), (12, 3000, 12)]
    _told(searcher, (front[0], (0.5, 0.3)), ((9, 9, 9), (0.6, 0.9)), (front[1], (0.4, 0.5)), (front[2], (0.1, 1.0)))
    counts = _parents(searcher, front)
    assert min(counts.values()) > 60  # of 100 expected each


def test_a_new_member_removes_the_members_it_dominates(searcher):
    _told(searcher, ((2, 100, 3), (0.5, 0.3)), ((6, 500, 6), (0.4, 0.5)), ((7, 700, 7), (0.2, 0.2)))
    assert _parents(searcher, [(7, 700, 7)], n=20) == {(7, 700, 7): 20}


def test_configurations_with_equal_values_count_as_one_member(searcher):
    copies = [(i, 100 + i, 0) for i in range(1, 10)]
    _told(searcher, *((copy, (0.5, 0.2)) for copy in copies), ((12, 3000, 12), (0.1, 1.0)))
    counts = _parents(searcher, [copies[-1], (12, 3000, 12)])
    assert 100 < counts[copies[-1]] < 200


def test_a_point_equal_in_one_objective_and_worse_in_the_other_is_dominated(searcher):
    _told(searcher, ((1, 1, 1), (0.5, 0.2)), ((2, 2, 2), (0.5, 0.3)), ((3, 3, 3), (0.4, 0.2)))
    assert _parents(searcher, [(3, 3, 3)], n=20) == {(3, 3, 3): 20}


def test_parents_are_exactly_the_front_of_all_values_told(searcher):
    rng = np.random.default_rng(1)
    configs = rng.integers(1, searcher.space.upper + 1, size=(120, 3))
    values = PROBLEMS["noisy"].values(configs) + 0.02 * rng.standard_normal((120, 2))
    _told(searcher, *zip(configs, values, strict=True))
    front = configs[pareto_mask(values)]
    assert len(front) > 5
    distances = np.array([(front != searcher.ask()).sum(axis=1) for _ in range(300)])
    assert (distances.min(axis=1) == 1).all()
    assert (distances == 1).any(axis=0).all()
