"""EHVI in closed form: a search against random search, and scores near a lucky observation."""

import numpy as np

from nasbench.methods.ehvi_exact import ExactEhvi
from nasbench.methods.random_search import RandomSearch
from nasbench.search.expected_improvement import expected_hypervolume_improvement, reference_point
from nasbench.testing.analytic import PROBLEMS

SMOOTH = PROBLEMS["smooth"]


def _told(n):
    rng = np.random.default_rng(0)
    searcher = ExactEhvi(SMOOTH.space, rng)
    for _ in range(n):
        config = SMOOTH.space.sample(rng)
        searcher.tell(config, SMOOTH.values(config[None])[0])
    return searcher


def test_sixty_evaluations_beat_six_hundred_at_random():
    for seed in range(2):
        model_based = SMOOTH.run(ExactEhvi(SMOOTH.space, np.random.default_rng(seed)), 60, np.random.default_rng(9))
        uniform = SMOOTH.run(RandomSearch(SMOOTH.space, np.random.default_rng(seed)), 600, np.random.default_rng(9))
        assert uniform.hypervolume < model_based.hypervolume < SMOOTH.optimum


def test_proposal_has_the_largest_expected_improvement_with_its_exact_parameters():
    """The scores are recomputed from the model for candidates of another searcher in the same state."""
    searcher, twin = _told(20), _told(20)
    proposal, candidates = searcher.ask(), twin.candidates()
    model, front = twin.fit_error()
    mean, deviation = model.predict(candidates / SMOOTH.space.upper)
    params = SMOOTH.values(candidates)[:, 1]
    scores = expected_hypervolume_improvement(mean, deviation, params, front, reference_point(front))
    np.testing.assert_array_equal(proposal, candidates[scores.argmax()])
    assert scores.max() > 0


def test_a_lucky_observation_does_not_lower_the_scores_of_its_neighbours_to_zero():
    """If a network is told with too low an error, similar networks must still look worth an evaluation."""
    searcher = _told(60)
    lucky = np.array([6, 1500, 6])
    error, params = SMOOTH.values(lucky[None])[0]
    searcher.tell(lucky, np.array([error - 0.2, params]))
    near = lucky + np.array([[0, 40, 0], [0, -40, 0], [1, 0, 0]])
    assert searcher.score(near).max() > 0
