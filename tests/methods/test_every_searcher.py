"""Properties of every searcher: determinism, proposals inside the space, untouched global random state."""

import dataclasses
import pickle
import random

import numpy as np
import pytest
import torch

from nasbench.networks.space import SPACES, make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.plugins import registry
from nasbench.testing.analytic import PROBLEMS

SEARCHERS = registry.searchers()
TINY = Dimensions(n_layers=3, n_heads=2, n_units=5, hidden_size=8, head_size=4, n_fixed_params=100)


def _error(space, config):
    heads, units = space.counts(config[None])
    return 1 / (1 + heads.sum() + units.sum())


def _make(name, space, seed):
    """A searcher with default options, except for a small number of candidates."""
    options = SEARCHERS[name].Options()
    if hasattr(options, "n_candidates"):
        options = dataclasses.replace(options, n_candidates=90)
    return SEARCHERS[name](space, np.random.default_rng(seed), options)


def _proposals(name, space, n, seed):
    """Proposals of a searcher on a simple problem; every proposal is told, even duplicates."""
    searcher = _make(name, space, seed)
    asked = []
    for config in (space.largest, space.smallest, space.midpoint):
        searcher.tell(config, np.array([_error(space, config), space.n_params(config)[0] / space.dims.n_params]))
    for _ in range(n):
        config = searcher.ask()
        space.check(config)
        asked.append(config)
        searcher.tell(config, np.array([_error(space, config), space.n_params(config)[0] / space.dims.n_params]))
    return np.array(asked)


def _global_state():
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().numpy()))  # noqa: NPY002


@pytest.mark.parametrize("name", sorted(SEARCHERS))
@pytest.mark.parametrize("space", sorted(SPACES))
def test_proposals_depend_only_on_the_seed_and_leave_global_generators_alone(name, space):
    if space not in (*SEARCHERS[name].spaces, "small-grid"):
        pytest.skip("does not work in this space")
    if SEARCHERS[name].spaces == ("layer",) and space == "small-grid":
        pytest.skip("works in LAYER only")
    space = make_space(space, TINY)
    before = _global_state()
    first = _proposals(name, space, 15, seed=3)
    assert _global_state() == before
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    np.testing.assert_array_equal(_proposals(name, space, 15, seed=3), first)
    assert (_proposals(name, space, 15, seed=4) != first).any()


@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_a_searcher_can_propose_before_it_is_told_anything(name):
    space = make_space("small", TINY)
    searcher = SEARCHERS[name](space, np.random.default_rng(0))
    for _ in range(12):
        space.check(searcher.ask())


@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_a_searcher_continues_if_failed_evaluations_are_not_told(name):
    problem = PROBLEMS["smooth"]
    searcher = _make(name, problem.space, 0)
    for i in range(20):
        config = searcher.ask()
        if i % 3:
            searcher.tell(config, problem.values(config[None])[0])
    problem.space.check(searcher.ask())


@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_every_searcher_has_its_registered_name_and_a_summary(name):
    assert SEARCHERS[name].name == name
    assert SEARCHERS[name].summary
