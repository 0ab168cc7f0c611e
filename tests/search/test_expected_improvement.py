"""Expected hypervolume improvement against Monte Carlo with moocore, and against BoTorch."""

import numpy as np
import pytest
import torch
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from botorch.utils.testing import MockModel, MockPosterior

from nasbench.search.expected_improvement import (
    expected_hypervolume_improvement,
    expected_improvement_of_curves,
    reference_point,
)
from nasbench.search.pareto import hypervolume

FRONT = np.array([[0.5, 0.2], [0.3, 0.4], [0.25, 0.7], [0.1, 0.9]])
REFERENCE = np.array([0.6, 1.0])
# One of these points is a copy of a front point, two are outside the reference.
DOMINATED = np.array([[0.5, 0.5], [0.3, 0.4], [0.7, 0.1], [0.2, 1.1]])


def _gain(points, front=FRONT):
    return hypervolume(np.vstack([front, points]), REFERENCE) - hypervolume(front, REFERENCE)


def _candidates(n=25):
    rng = np.random.default_rng(0)
    return rng.uniform(0.0, 0.7, n), rng.uniform(0.01, 0.2, n), rng.uniform(0.1, 1.1, n)


def test_closed_form_equals_monte_carlo():
    mean, deviation, params = _candidates(12)
    values = expected_hypervolume_improvement(mean, deviation, params, FRONT, REFERENCE)
    normals = np.random.default_rng(1).standard_normal(1000)
    for i in range(len(mean)):
        gains = np.array([_gain([[mean[i] + deviation[i] * z, params[i]]]) for z in normals])
        assert values[i] == pytest.approx(gains.mean(), abs=4 * gains.std() / np.sqrt(len(gains)) + 1e-12)


def test_closed_form_equals_botorch_with_almost_certain_parameters():
    mean, deviation, params = _candidates()
    means = torch.tensor(np.stack([-mean, -params], axis=1))[:, None]
    variances = torch.tensor(np.stack([deviation**2, np.full_like(params, 1e-9)], axis=1))[:, None]
    model = MockModel(MockPosterior(mean=means, variance=variances))
    reference = torch.tensor(-REFERENCE)
    partitioning = FastNondominatedPartitioning(reference, Y=torch.tensor(-FRONT))
    expected = ExpectedHypervolumeImprovement(model, reference.tolist(), partitioning)(torch.zeros(25, 1, 3))
    values = expected_hypervolume_improvement(mean, deviation, params, FRONT, REFERENCE)
    np.testing.assert_allclose(values, expected.numpy(), atol=2e-5)
    assert values.max() > 0.01


def test_improvement_of_a_certain_candidate_is_its_area():
    mean, _, params = _candidates(200)
    values = expected_hypervolume_improvement(mean, np.zeros(200), params, FRONT, REFERENCE)
    expected = [_gain([[error, p]]) for error, p in zip(mean, params, strict=True)]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_dominated_points_copies_and_points_outside_the_reference_are_ignored():
    mean, deviation, params = _candidates()
    clean = expected_hypervolume_improvement(mean, deviation, params, FRONT, REFERENCE)
    messy = np.vstack([DOMINATED, FRONT, FRONT])
    np.testing.assert_allclose(expected_hypervolume_improvement(mean, deviation, params, messy, REFERENCE), clean)


def test_improvement_over_an_empty_front_is_the_area_to_the_reference():
    values = expected_hypervolume_improvement(
        np.array([0.2]), np.array([0.0]), np.array([0.25]), np.empty((0, 2)), REFERENCE
    )
    assert values[0] == pytest.approx(0.4 * 0.75)


def _curves(n_curves=6, n_points=5):
    rng = np.random.default_rng(2)
    factors = 0.05 * rng.standard_normal((n_curves, n_points, n_points))
    mean = -np.sort(-rng.uniform(0.05, 0.6, (n_curves, n_points)), axis=1)
    return mean, factors @ np.swapaxes(factors, 1, 2), np.sort(rng.uniform(0.1, 1.1, (n_curves, n_points)), axis=1)


def test_improvement_of_a_curve_is_the_joint_area_of_its_samples():
    mean, covariance, params = _curves()
    normals = np.random.default_rng(3).standard_normal((50, 5))
    values = expected_improvement_of_curves(mean, covariance, params, FRONT, REFERENCE, normals)
    for i in range(len(mean)):
        samples = mean[i] + normals @ np.linalg.cholesky(covariance[i] + 1e-12 * np.eye(5)).T
        for n in range(1, 6):
            gains = [_gain(np.stack([sample, params[i]], axis=1)[:n]) for sample in samples]
            assert values[i, n - 1] == pytest.approx(np.mean(gains), rel=1e-3)
    assert values.min() > 0


def test_improvement_of_a_curve_of_one_point_equals_the_closed_form():
    mean, deviation, params = _candidates()
    normals = np.random.default_rng(4).standard_normal((40_000, 1))
    values = expected_improvement_of_curves(
        mean[:, None], deviation[:, None, None] ** 2, params[:, None], FRONT, REFERENCE, normals
    )
    np.testing.assert_allclose(
        values[:, 0], expected_hypervolume_improvement(mean, deviation, params, FRONT, REFERENCE), rtol=0.05, atol=1e-4
    )


def test_improvement_of_a_curve_lies_between_its_best_point_and_the_sum_of_its_points():
    mean, covariance, params = _curves()
    normals = np.random.default_rng(5).standard_normal((20_000, 5))
    joint = expected_improvement_of_curves(mean, covariance, params, FRONT, REFERENCE, normals)[:, -1]
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    single = np.array(
        [expected_hypervolume_improvement(mean[i], deviation[i], params[i], FRONT, REFERENCE) for i in range(len(mean))]
    )
    assert (joint >= 0.97 * single.max(axis=1)).all()
    assert (joint <= 1.03 * single.sum(axis=1)).all()


def test_reference_point_is_beyond_the_front_and_the_full_network():
    np.testing.assert_allclose(reference_point(FRONT), [0.5 + 0.04, 1 + 0.08])
    assert (reference_point(np.array([[0.3, 1.0]])) > [0.3, 1.0]).all()
