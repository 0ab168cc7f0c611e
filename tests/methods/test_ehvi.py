"""EHVI on BoTorch: signs, reference point, alignment of rows, and a search against random search."""

import warnings

import numpy as np
import pytest
import torch
from botorch.exceptions.warnings import InputDataWarning

from nasbench.methods import ehvi
from nasbench.methods.ehvi import Ehvi, EhviOptions
from nasbench.methods.random_search import RandomSearch
from nasbench.search.expected_improvement import expected_hypervolume_improvement, reference_point
from nasbench.search.pareto import hypervolume, pareto_mask
from nasbench.testing.analytic import PROBLEMS

SMOOTH = PROBLEMS["smooth"]


@pytest.fixture(scope="module")
def fitted():
    """A model of 40 random networks, its inputs and values."""
    rng = np.random.default_rng(0)
    configs = np.array([SMOOTH.space.sample(rng) for _ in range(40)])
    inputs, values = configs / SMOOTH.space.upper, SMOOTH.values(configs)
    return ehvi.fit(inputs, values), inputs, values


def _means_and_deviations(model, inputs):
    with torch.no_grad():
        posterior = model.posterior(torch.from_numpy(inputs))
    return -posterior.mean.numpy(), posterior.variance.sqrt().numpy()


def test_model_predicts_both_objectives_in_double_precision(fitted):
    model, _, _ = fitted
    configs = np.array([SMOOTH.space.sample(np.random.default_rng(i)) for i in range(100, 200)])
    means, _ = _means_and_deviations(model, configs / SMOOTH.space.upper)
    assert means.dtype == np.float64
    np.testing.assert_allclose(means, SMOOTH.values(configs), atol=0.08)


def test_scores_equal_our_closed_form_integrated_over_the_parameters(fitted):
    """Our closed form knows the parameters; its expectation over the model's parameters is BoTorch's score."""
    model, inputs, _ = fitted
    candidates = np.random.default_rng(1).random((30, 3))
    scores = ehvi.expected_improvement(model, inputs, candidates)
    known, _ = _means_and_deviations(model, inputs)
    front = known[pareto_mask(known)]
    means, deviations = _means_and_deviations(model, candidates)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    expected = sum(
        weight
        * expected_hypervolume_improvement(
            means[:, 0], deviations[:, 0], means[:, 1] + node * deviations[:, 1], front, reference_point(front)
        )
        for node, weight in zip(nodes, weights / weights.sum(), strict=True)
    )
    np.testing.assert_allclose(scores, expected, rtol=0.05, atol=2e-5)
    assert scores.max() > 5e-4


def test_front_and_reference_have_the_same_sign(fitted):
    """With a wrong sign, no observation would be inside the reference and all candidates would score alike."""
    model, inputs, values = fitted
    good, bad = np.array([[0.5, 0.5, 0.5]]), np.array([[1.0, 0.0, 1.0]])
    scores = ehvi.expected_improvement(model, inputs, np.vstack([good, bad]))
    area = hypervolume(values, reference_point(values[pareto_mask(values)]))
    assert scores[1] < scores[0] < 0.2 * area


def test_equal_errors_are_fitted_without_a_warning():
    rng = np.random.default_rng(0)
    inputs = rng.random((12, 3))
    values = np.column_stack([np.full(12, 0.5), inputs.sum(axis=1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputDataWarning)
        model = ehvi.fit(inputs, values)
        scores = ehvi.expected_improvement(model, inputs, rng.random((5, 3)))
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(_means_and_deviations(model, inputs)[0][:, 0], 0.5, atol=1e-3)


def test_search_beats_random_search():
    searcher = Ehvi(SMOOTH.space, np.random.default_rng(0), EhviOptions(n_candidates=400))
    ours = SMOOTH.run(searcher, 25, np.random.default_rng(9))
    uniform = [
        SMOOTH.run(RandomSearch(SMOOTH.space, np.random.default_rng(seed)), 25, np.random.default_rng(9)).hypervolume
        for seed in range(20)
    ]
    assert ours.hypervolume > max(uniform)


def test_duplicates_do_not_misalign_inputs_and_values():
    searcher = Ehvi(SMOOTH.space, np.random.default_rng(0), EhviOptions())
    configs = [np.array([3, 500, 0]), np.array([6, 1000, 6]), np.array([9, 100, 0]), np.array([12, 3000, 12])]
    for config in configs:
        searcher.tell(config, SMOOTH.values(config[None])[0])
    np.testing.assert_allclose(searcher.inputs * SMOOTH.space.upper, [configs[0], configs[1], configs[3]])
    np.testing.assert_allclose(searcher.values, SMOOTH.values(np.array([configs[0], configs[1], configs[3]])))


def test_one_thread_restores_the_number_of_threads():
    before = torch.get_num_threads()
    with ehvi._one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
