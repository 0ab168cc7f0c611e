"""The Gaussian process against scikit-learn with the same hyper-parameters, and against finite differences."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from nasbench.search import gaussian_process
from nasbench.search.gaussian_process import GaussianProcess, Hyperparameters, fit

HYPERPARAMETERS = Hyperparameters(np.array([0.3, 1.5, 0.7]), signal_variance=1.7, noise_variance=0.04)


def _data(n, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    inputs = rng.random((n, 3))
    return inputs, 5 + np.sin(4 * inputs[:, 0]) + inputs[:, 1] ** 2 + noise * rng.standard_normal(n)


def _sklearn(inputs, targets, hyperparameters):
    """scikit-learn's process on standardised targets. The noise is added to the observations only."""
    kernel = ConstantKernel(hyperparameters.signal_variance) * Matern(hyperparameters.length_scales, nu=2.5)
    noise = hyperparameters.noise_variance + gaussian_process._JITTER
    model = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    return model.fit(inputs, (targets - targets.mean()) / targets.std())


def test_predictions_equal_scikit_learn():
    inputs, targets = _data(30)
    points = np.random.default_rng(1).random((50, 3))
    mean, deviation = GaussianProcess(inputs, targets, HYPERPARAMETERS).predict(points)
    expected_mean, expected_deviation = _sklearn(inputs, targets, HYPERPARAMETERS).predict(points, return_std=True)
    np.testing.assert_allclose(mean, targets.mean() + targets.std() * expected_mean, rtol=1e-8)
    np.testing.assert_allclose(deviation, targets.std() * expected_deviation, rtol=1e-6)


def test_joint_predictions_equal_scikit_learn_for_each_curve():
    inputs, targets = _data(30)
    curves = np.random.default_rng(1).random((4, 6, 3))
    mean, covariance = GaussianProcess(inputs, targets, HYPERPARAMETERS).predict_jointly(curves)
    reference = _sklearn(inputs, targets, HYPERPARAMETERS)
    for i, curve in enumerate(curves):
        expected_mean, expected_covariance = reference.predict(curve, return_cov=True)
        np.testing.assert_allclose(mean[i], targets.mean() + targets.std() * expected_mean, rtol=1e-8)
        np.testing.assert_allclose(covariance[i], targets.std() ** 2 * expected_covariance, rtol=1e-6, atol=1e-9)


def test_objective_of_the_fit_is_scikit_learns_likelihood_plus_log_normal_priors():
    inputs, targets = _data(25)
    standardised = (targets - targets.mean()) / targets.std()
    squared = np.square(inputs.T[:, :, None] - inputs.T[:, None, :])
    means, deviations = gaussian_process._prior(3)

    def expected(hyperparameters):
        likelihood = _sklearn(inputs, targets, hyperparameters).log_marginal_likelihood_value_
        return -likelihood + 0.5 * (((hyperparameters.logs - means) / deviations) ** 2).sum()

    other = Hyperparameters(np.array([2.0, 0.5, 1.0]), signal_variance=0.6, noise_variance=0.2)
    value, other_value = (
        gaussian_process._negative_log_posterior(h.logs, squared, standardised)[0] for h in (HYPERPARAMETERS, other)
    )
    # The constant n/2 log(2 pi) cancels.
    assert value - other_value == pytest.approx(expected(HYPERPARAMETERS) - expected(other), abs=1e-6)


def test_gradient_equals_finite_differences():
    inputs, targets = _data(20)
    squared = np.square(inputs.T[:, :, None] - inputs.T[:, None, :])

    def objective(logs):
        return gaussian_process._negative_log_posterior(logs, squared, targets - targets.mean())

    error = check_grad(lambda logs: objective(logs)[0], lambda logs: objective(logs)[1], HYPERPARAMETERS.logs)
    assert error < 1e-4


def test_fit_finds_the_noise_that_scikit_learn_finds():
    inputs, targets = _data(150, noise=0.2)
    fitted = fit(inputs, targets).hyperparameters
    kernel = ConstantKernel(1.0) * Matern(np.ones(3), nu=2.5) + WhiteKernel(0.1)
    reference = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(inputs, targets)
    assert fitted.noise_variance == pytest.approx(reference.kernel_.k2.noise_level, rel=0.15)
    assert fitted.noise_variance * targets.var() == pytest.approx(0.04, rel=0.3)
    assert fitted.length_scales[2] > 2 * fitted.length_scales[0]  # the third input has no effect


def test_noise_free_observations_are_interpolated():
    inputs, targets = _data(40, noise=0.0)
    model = fit(inputs, targets)
    mean, deviation = model.predict(inputs)
    np.testing.assert_allclose(mean, targets, atol=0.01)
    assert deviation.max() < 0.02


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fit_works_with_few_or_equal_observations(n):
    mean, deviation = fit(np.full((n, 2), 0.5), np.full(n, 0.7)).predict(np.array([[0.5, 0.5], [0.0, 1.0]]))
    np.testing.assert_allclose(mean, 0.7)
    assert np.isfinite(deviation).all()
    assert deviation[1] > deviation[0]


def test_hyperparameters_are_fitted_to_a_part_and_predictions_use_all_observations(monkeypatch):
    objective, sizes = gaussian_process._negative_log_posterior, set()

    def counted(logs, squared, targets):
        sizes.add((*squared.shape[1:], len(targets)))
        return objective(logs, squared, targets)

    monkeypatch.setattr(gaussian_process, "_negative_log_posterior", counted)
    inputs, targets = _data(gaussian_process.MAX_FIT_POINTS + 100, noise=0.05)
    model = fit(inputs, targets)
    assert sizes == {(200, 200, 200)}  # every second of 400
    assert len(model.inputs) == len(inputs)
    part = fit(inputs[::2], targets[::2])
    points = np.random.default_rng(1).random((50, 3))
    assert model.predict(points)[1].mean() < part.predict(points)[1].mean()


def test_shapes_that_do_not_match_are_rejected():
    with pytest.raises(ValueError, match=r"\(3, 2\) and targets \(2,\)"):
        GaussianProcess(np.zeros((3, 2)), np.zeros(2), Hyperparameters.default(2))
