"""Model-based searchers: candidates, proposals without repetition, features, and the model of the error."""

import numpy as np
import pytest

from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.search.gaussian_process import fit
from nasbench.search.model_based import ErrorModelSearcher, ModelBasedOptions, ModelBasedSearcher
from nasbench.search.pareto import dominates
from nasbench.testing.analytic import BERT_BASE, PROBLEMS

SMOOTH = PROBLEMS["smooth"]
TINY = Dimensions(n_layers=2, n_heads=2, n_units=2, hidden_size=8, head_size=4, n_fixed_params=100)


class NearMidpoint(ModelBasedSearcher):
    """Prefers candidates near the middle configuration."""

    name, summary = "near-midpoint", "for tests"

    def score(self, candidates):
        return 100 - np.abs((candidates - self.space.midpoint) / self.space.upper).sum(axis=1)


class ErrorModel(ErrorModelSearcher):
    """Prefers candidates of low predicted error."""

    name, summary = "error-model", "for tests"

    def score(self, candidates):
        return -self.fit_error()[0].predict(self.features(candidates))[0]


def _told(space, n, seed=0, cls=NearMidpoint, **options):
    rng = np.random.default_rng(seed)
    searcher = cls(space, rng, ModelBasedOptions(**options))
    for _ in range(n):
        config = space.sample(rng)
        searcher.tell(config, SMOOTH.values(config[None])[0])
    return searcher


def test_proposal_is_the_candidate_with_the_largest_score():
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
    assert ((distances > 0).sum(axis=1) == 1).sum() > 300  # redraws; most of 1000 are distinct
    near = (distances / searcher.space.upper).max(axis=1) < 0.35
    assert near.sum() > 800
    assert (~near & ((distances > 0).sum(axis=1) == 3)).sum() > 500  # uniform samples
    for config in candidates[:: len(candidates) // 50]:
        searcher.space.check(config)


def test_parents_of_candidates_are_on_the_observed_front():
    searcher = NearMidpoint(SMOOTH.space, np.random.default_rng(0))
    dominated, member = np.array([1, 3000, 12]), np.array([11, 10, 1])
    searcher.tell(dominated, np.array([0.9, 0.9]))
    searcher.tell(member, np.array([0.1, 0.1]))
    candidates = searcher.candidates()
    n_near_member, n_near_dominated = (((candidates == c).sum(axis=1) == 2).sum() for c in (member, dominated))
    assert n_near_member > 300
    assert n_near_dominated < 30  # by chance


def test_small_steps_flip_one_to_three_bits_on_average():
    space = make_space("layer", BERT_BASE)
    searcher = NearMidpoint(space, np.random.default_rng(0))
    parents = np.tile(space.midpoint, (2000, 1))
    flips = (searcher._steps(parents) != parents).sum(axis=1)
    assert 1.0 < flips.mean() < 3.0
    assert set(np.unique(searcher._steps(parents))) == {0, 1}


@pytest.mark.parametrize(("n_initial", "is_sample"), [(10, True), (9, False)])
def test_proposals_before_n_initial_observations_are_samples(n_initial, is_sample):
    searcher, twin = (_told(SMOOTH.space, 10, n_initial=n_initial) for _ in range(2))
    assert len(searcher.values) == 9  # two of the ten are one network
    assert np.array_equal(searcher.ask(), twin.sample()) == is_sample


@pytest.mark.parametrize("cls", [NearMidpoint, ErrorModel])
def test_a_network_is_never_proposed_twice_even_if_its_evaluation_failed(cls):
    space = make_space("small", TINY)
    searcher = cls(space, np.random.default_rng(0), ModelBasedOptions(n_initial=1, n_candidates=600))
    searcher.tell(space.largest, np.array([0.1, 1.0]))
    asked = [space.to_subnetwork(searcher.ask()).key for _ in range(15)]  # none of them is told
    n_networks = 1 + 2 * (3 * 3 - 1)
    assert len(set(asked)) == 15 < n_networks
    assert space.to_subnetwork(space.largest).key not in asked


def test_an_exhausted_space_still_gives_a_valid_proposal():
    space = make_space("layer", TINY)
    searcher = NearMidpoint(space, np.random.default_rng(0), ModelBasedOptions(n_initial=1))
    for bits in ([0, 0], [0, 1], [1, 0], [1, 1]):
        searcher.tell(np.array(bits), np.array([0.5, 0.5]))
    space.check(searcher.ask())


def test_a_second_observation_of_a_network_is_ignored():
    searcher = NearMidpoint(SMOOTH.space, np.random.default_rng(0))
    for config, error in (([3, 500, 0], 0.5), ([9, 100, 0], 0.1), ([3, 500, 6], 0.4)):  # two without layers
        searcher.tell(np.array(config), np.array([error, 0.5]))
    np.testing.assert_array_equal(searcher.values, [[0.5, 0.5], [0.4, 0.5]])
    np.testing.assert_allclose(searcher.inputs * SMOOTH.space.upper, [[3, 500, 0], [3, 500, 6]])


def test_features_in_large_spaces_are_counts_per_layer():
    dims = Dimensions(n_layers=2, n_heads=4, n_units=60, hidden_size=8, head_size=4, n_fixed_params=100)
    large = make_space("large", dims)
    searcher = NearMidpoint(large, np.random.default_rng(0))
    features = searcher.features(np.stack([large.largest, large.smallest, large.midpoint]))
    np.testing.assert_allclose(features, np.repeat([[1.0], [0.0], [0.5]], 4, axis=1))


def test_a_model_is_fitted_to_at_most_max_observations_from_first_to_last():
    searcher = _told(SMOOTH.space, 30)
    searcher.max_observations = 10
    assert len(searcher.fitted) == 10
    assert searcher.fitted[0] == 0
    assert searcher.fitted[-1] == len(searcher.values) - 1


def test_front_to_improve_on_holds_posterior_means():
    searcher = _told(SMOOTH.space, 25, cls=ErrorModel)
    model, front = searcher.fit_error()
    means, _ = fit(searcher.inputs, searcher.values[:, 0]).predict(searcher.inputs)
    points = np.stack([means, searcher.values[:, 1]], axis=1)
    expected = points[~dominates(points[:, None], points).any(axis=0)]
    np.testing.assert_allclose(front, expected, rtol=1e-8)
    assert 1 < len(front) < len(points)
    np.testing.assert_allclose(model.predict(searcher.inputs)[0], means, rtol=1e-8)


@pytest.mark.parametrize("options", [{"n_initial": 0}, {"n_candidates": 2}])
def test_options_out_of_range_are_rejected(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ModelBasedOptions(**options)
