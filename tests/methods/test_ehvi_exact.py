"""EHVI in closed form: what it asks for, and that it beats random search by a wide margin."""

import numpy as np
import pytest

from nasbench.methods.ehvi_exact import ExactEhvi
from nasbench.methods.random_search import RandomSearch
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.search.model_based import ModelBasedOptions
from nasbench.testing.analytic import BERT_BASE, PROBLEMS

SMOOTH = PROBLEMS["smooth"]
TINY = Dimensions(n_layers=2, n_heads=2, n_units=2, hidden_size=8, head_size=4, n_fixed_params=100)


def _told(space, n, seed=0, **options):
    rng = np.random.default_rng(seed)
    searcher = ExactEhvi(space, rng, ModelBasedOptions(**options))
    for _ in range(n):
        config = space.sample(rng)
        searcher.tell(config, SMOOTH.values(config[None])[0])
    return searcher


def test_sixty_evaluations_beat_six_hundred_at_random():
    for seed in range(2):
        model_based = SMOOTH.run(ExactEhvi(SMOOTH.space, np.random.default_rng(seed)), 60, np.random.default_rng(9))
        uniform = SMOOTH.run(RandomSearch(SMOOTH.space, np.random.default_rng(seed)), 600, np.random.default_rng(9))
        assert uniform.hypervolume < model_based.hypervolume < SMOOTH.optimum


def test_a_proposal_is_the_candidate_with_the_largest_score():
    searcher = _told(SMOOTH.space, 20)
    scored = {}
    score = searcher.score

    def recording(candidates):
        scores = score(candidates)
        scored.update(zip(map(tuple, candidates.tolist()), scores, strict=True))
        return scores

    searcher.score = recording
    proposal = tuple(searcher.ask().tolist())
    assert scored[proposal] == max(scored.values()) > 0
    assert len(scored) > 2000


def test_candidates_are_samples_redraws_and_small_steps():
    searcher = _told(SMOOTH.space, 1)
    known = searcher._configs[0]
    candidates = searcher.candidates()
    distances = np.abs(candidates - known)
    assert ((distances > 0).sum(axis=1) == 1).sum() > 300  # redraws, most of 1000 distinct
    near = (distances / searcher.space.upper).max(axis=1) < 0.35
    assert near.sum() > 800
    assert (~near & ((distances > 0).sum(axis=1) == 3)).sum() > 500  # uniform
    for config in candidates[:: len(candidates) // 50]:
        searcher.space.check(config)


def test_small_steps_of_bits_flip_about_three():
    space = make_space("layer", BERT_BASE)
    searcher = ExactEhvi(space, np.random.default_rng(0))
    parents = np.tile(space.midpoint, (2000, 1))
    flips = (searcher._steps(parents) != parents).sum(axis=1)
    assert 1.0 < flips.mean() < 3.0
    assert set(np.unique(searcher._steps(parents))) == {0, 1}


def test_until_n_initial_observations_proposals_do_not_depend_on_what_was_told():
    first, second = (_told(SMOOTH.space, 9, n_initial=10) for _ in range(2))
    second._values = [values * 2 for values in second._values]
    np.testing.assert_array_equal(first.ask(), second.ask())


def test_the_same_network_is_never_asked_for_twice_not_even_if_it_failed():
    space = make_space("small", TINY)
    searcher = ExactEhvi(space, np.random.default_rng(0), ModelBasedOptions(n_initial=1, n_candidates=600))
    searcher.tell(space.largest, np.array([0.1, 1.0]))
    asked = [space.to_subnetwork(searcher.ask()).key for _ in range(15)]  # none of them told
    n_networks = 1 + 2 * (3 * 3 - 1)
    assert len(set(asked)) == 15 < n_networks
    assert space.to_subnetwork(space.largest).key not in asked


def test_an_exhausted_space_still_gets_an_answer():
    space = make_space("layer", TINY)
    searcher = ExactEhvi(space, np.random.default_rng(0), ModelBasedOptions(n_initial=1))
    for bits in ([0, 0], [0, 1], [1, 0], [1, 1]):
        searcher.tell(np.array(bits), np.array([0.5, 0.5]))
    space.check(searcher.ask())


def test_a_lucky_observation_does_not_hide_its_neighbours():
    """Told twice as good as it is, a network must not make everything near it look not worth a try."""
    searcher = _told(SMOOTH.space, 60)
    lucky = np.array([6, 1500, 6])
    error, params = SMOOTH.values(lucky[None])[0]
    searcher.tell(lucky, np.array([error - 0.2, params]))
    near = lucky + np.array([[0, 40, 0], [0, -40, 0], [1, 0, 0]])
    assert searcher.score(near).max() > 0


def test_many_dimensions_are_modelled_by_counts_and_many_observations_in_part():
    dims = Dimensions(n_layers=2, n_heads=4, n_units=60, hidden_size=8, head_size=4, n_fixed_params=100)
    large = make_space("large", dims)
    searcher = ExactEhvi(large, np.random.default_rng(0))
    features = searcher.features(np.stack([large.largest, large.smallest, large.midpoint]))
    np.testing.assert_allclose(features, np.repeat([[1.0], [0.0], [0.5]], 4, axis=1))
    searcher = _told(SMOOTH.space, 30)
    searcher.max_observations = 10
    assert len(searcher.fitted) == 10
    assert searcher.fitted[0] == 0
    assert searcher.fitted[-1] == len(searcher.values) - 1


@pytest.mark.parametrize("options", [{"n_initial": 0}, {"n_candidates": 2}])
def test_options_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ModelBasedOptions(**options)
