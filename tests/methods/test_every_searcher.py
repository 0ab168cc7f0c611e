"""Properties of every searcher: determinism, proposals inside the space, untouched global random state."""

import dataclasses
import pickle
import random

import numpy as np
import pytest
import torch

from nasbench.networks.space import SPACES, make_space, works_in
from nasbench.networks.subnetwork import Dimensions
from nasbench.plugins import registry
from nasbench.search.model_based import ModelBasedOptions

SEARCHERS = registry.searchers()
RANDOM = {"random", "local", "morea", "ehvi", "moasha", "nsga2", "ehvi-exact", "exhaustive", "depth"}
"""Searchers whose proposals differ from seed to seed. A new one may draw nothing at random."""
PAIRS = [(name, space) for name in SEARCHERS for space in SPACES if works_in(SEARCHERS[name].spaces, space)]
TINY = Dimensions(n_layers=3, n_heads=2, n_units=5, hidden_size=8, head_size=4, n_fixed_params=100)


def _values(space, config):
    """Error and parameters of a configuration."""
    heads, units = space.counts(config[None])
    return np.array([1 / (1 + heads.sum() + units.sum()), space.n_params(config)[0] / space.dims.n_params])


def _make(name, space, seed):
    """A searcher with default options, except for a small number of candidates."""
    options = SEARCHERS[name].Options()
    if isinstance(options, ModelBasedOptions):
        options = dataclasses.replace(options, n_candidates=90)
    return SEARCHERS[name](space, np.random.default_rng(seed), options)


def _proposals(name, space, n, seed):
    """Proposals of a searcher on a simple problem; every proposal is told, even duplicates."""
    searcher = _make(name, space, seed)
    asked = []
    for config in (space.largest, space.smallest, space.midpoint):
        searcher.tell(config, _values(space, config))
    for _ in range(n):
        config = searcher.ask()
        space.check(config)
        asked.append(config)
        searcher.tell(config, _values(space, config))
    return np.array(asked)


def _global_state():
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().numpy()))  # noqa: NPY002


def test_every_searcher_is_tried_in_all_of_its_spaces():
    tried = {name: sorted(space for other, space in PAIRS if other == name) for name in SEARCHERS}
    assert all(tried.values())
    assert tried["random"] == ["large", "layer", "medium", "small", "small-grid"]
    assert tried["exhaustive"] == ["layer"]


@pytest.mark.parametrize(("name", "space"), PAIRS)
def test_proposals_depend_only_on_the_seed_and_leave_global_generators_alone(name, space):
    space = make_space(space, TINY)
    n = 9 if name.startswith("ehvi") else 15  # a model makes all but the first few, slowly
    before = _global_state()
    first = _proposals(name, space, n, seed=3)
    assert _global_state() == before
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    np.testing.assert_array_equal(_proposals(name, space, n, seed=3), first)
    if name in RANDOM:
        assert (_proposals(name, space, 4, seed=4) != first[:4]).any()


@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_a_searcher_can_propose_before_it_is_told_anything(name):
    space = make_space(SEARCHERS[name].spaces[0], TINY)
    searcher = SEARCHERS[name](space, np.random.default_rng(0))
    for _ in range(12):
        space.check(searcher.ask())


@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_a_searcher_continues_if_failed_evaluations_are_not_told(name):
    space = make_space(SEARCHERS[name].spaces[0], TINY)
    searcher = _make(name, space, 0)
    for i in range(20):
        config = searcher.ask()
        if i % 3:
            searcher.tell(config, _values(space, config))
    space.check(searcher.ask())


@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_every_searcher_has_its_registered_name_and_a_summary(name):
    assert SEARCHERS[name].name == name
    assert SEARCHERS[name].summary


@pytest.mark.parametrize(("n_heads", "n_units"), [(0, 5), (2, 0)])
@pytest.mark.parametrize(("name", "space"), [pair for pair in PAIRS if pair[1] in ("small", "medium")])
def test_network_without_heads_or_units_is_searched(name, space, n_heads, n_units):
    """As an exported network may be that is pruned again: a dimension of the space has one value."""
    dims = dataclasses.replace(TINY, n_heads=n_heads, n_units=n_units)
    asked = _proposals(name, make_space(space, dims), 12, seed=0)
    assert len(np.unique(asked, axis=0)) > 1
