"""An exact Gaussian process for a few hundred observations of one quantity.

The kernel is Matern-5/2 with one length-scale per dimension. The code is short, and fast enough that a proposal costs
less than the evaluation that follows. The caller scales inputs to [0, 1]; this module standardises targets. Source:
Rasmussen and Williams (2006), algorithm 2.1 and section 5.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from nasbench.arrays import FloatArray

MAX_FIT_POINTS = 300
"""Most observations to which hyper-parameters are fitted, evenly spaced in time; predictions use all observations."""

_MAX_ITERATIONS = 50
_JITTER = 1e-8
_SQRT5 = np.sqrt(5.0)


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters of the covariance of standardised targets.

    The covariance is ``signal_variance * matern52(r) + noise_variance * [same observation]``.

    Attributes:
        length_scales: ``(d,)``.
    """

    length_scales: FloatArray
    signal_variance: float
    noise_variance: float

    @classmethod
    def default(cls, n_dims: int) -> Hyperparameters:
        """The medians of the priors."""
        means, _ = _prior(n_dims)
        return cls.from_logs(means)

    @classmethod
    def from_logs(cls, logs: FloatArray) -> Hyperparameters:
        """Hyper-parameters from their logarithms ``(d + 2,)``: length-scales, signal variance, noise variance."""
        values = np.exp(logs)
        return cls(values[:-2], float(values[-2]), float(values[-1]))

    @property
    def logs(self) -> FloatArray:
        return np.asarray(np.log([*self.length_scales, self.signal_variance, self.noise_variance]))


class GaussianProcess:
    """Posterior given observations and hyper-parameters.

    Args:
        inputs: ``(n, d)`` with n at least 1.
        targets: ``(n,)``.
    """

    def __init__(self, inputs: FloatArray, targets: FloatArray, hyperparameters: Hyperparameters) -> None:
        if inputs.ndim != 2 or targets.shape != inputs.shape[:1] or not len(targets):
            raise ValueError(f"inputs {inputs.shape} and targets {targets.shape} must be (n, d) and (n,), n at least 1")
        self.inputs = inputs
        self.hyperparameters = hyperparameters
        self._shift, self._scale = _standardisation(targets)
        covariance = _matern52(inputs, inputs, hyperparameters)
        covariance[np.diag_indices_from(covariance)] += hyperparameters.noise_variance + _JITTER
        self._factor = cholesky(covariance, lower=True, overwrite_a=True)
        self._weights = cho_solve((self._factor, True), (targets - self._shift) / self._scale)

    def predict(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation ``(m,)`` of the quantity without observation noise, at inputs ``(m, d)``."""
        cross = _matern52(self.inputs, inputs, self.hyperparameters)
        mean = self._shift + self._scale * (self._weights @ cross)
        half = solve_triangular(self._factor, cross, lower=True, overwrite_b=True)
        variance = self.hyperparameters.signal_variance - np.einsum("nm,nm->m", half, half)
        return mean, self._scale * np.sqrt(np.maximum(variance, 0.0))

    def predict_jointly(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Joint mean ``(..., m)`` and covariance ``(..., m, m)`` of each group of m inputs in ``(..., m, d)``."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        cross = _matern52(self.inputs, flat, self.hyperparameters)
        mean = self._shift + self._scale * (self._weights @ cross)
        half = solve_triangular(self._factor, cross, lower=True).T.reshape(*inputs.shape[:-1], -1)
        covariance = _matern52(inputs, inputs, self.hyperparameters) - half @ np.swapaxes(half, -1, -2)
        return mean.reshape(inputs.shape[:-1]), self._scale**2 * covariance


def fit(inputs: FloatArray, targets: FloatArray, start: Hyperparameters | None = None) -> GaussianProcess:
    """Posterior with the hyper-parameters of highest posterior density (MAP), found by L-BFGS from ``start``.

    Priors are log-normal. The prior of the length-scales grows with the root of the dimension (Hvarfner et al. 2024).
    The prior of the signal variance is centred on 1. The prior of the noise variance is small but wide, because
    observations range from error-free to very noisy.
    """
    step = -(-len(inputs) // MAX_FIT_POINTS)
    chosen_inputs, chosen_targets = inputs[::step], targets[::step]
    shift, scale = _standardisation(targets)
    standardised = (chosen_targets - shift) / scale
    squared = np.square(chosen_inputs.T[:, :, None] - chosen_inputs.T[:, None, :])  # (d, n, n)
    n_dims = inputs.shape[1]
    means, deviations = _prior(n_dims)
    result = minimize(
        _negative_log_posterior,
        (start or Hyperparameters.default(n_dims)).logs,
        args=(squared, standardised),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(means - 4 * deviations, means + 4 * deviations, strict=True)),
        options={"maxiter": _MAX_ITERATIONS},
    )
    return GaussianProcess(inputs, targets, Hyperparameters.from_logs(result.x))


def _prior(n_dims: int) -> tuple[FloatArray, FloatArray]:
    """Means and standard deviations of the log hyper-parameters, ``(d + 2,)`` each."""
    means = np.full(n_dims + 2, np.sqrt(2.0) + np.log(n_dims) / 2)
    means[-2:] = 0.0, -6.0
    deviations = np.full(n_dims + 2, np.sqrt(3.0))
    deviations[-2:] = 1.0, 2.5
    return means, deviations


def _negative_log_posterior(logs: FloatArray, squared: FloatArray, targets: FloatArray) -> tuple[float, FloatArray]:
    """Negative log posterior density up to a constant, and its gradient with respect to ``logs``.

    Args:
        squared: squared differences of the inputs by dimension, ``(d, n, n)``.
    """
    hyperparameters = Hyperparameters.from_logs(logs)
    n_dims, n, _ = squared.shape
    weights = hyperparameters.length_scales**-2
    distance = np.sqrt(np.tensordot(weights, squared, axes=1))
    decay = hyperparameters.signal_variance * np.exp(-_SQRT5 * distance)
    signal = (1 + _SQRT5 * distance + (5 / 3) * distance**2) * decay
    covariance = signal.copy()
    covariance[np.diag_indices(n)] += hyperparameters.noise_variance + _JITTER
    factor = cholesky(covariance, lower=True, overwrite_a=True)
    alpha = cho_solve((factor, True), targets)
    means, deviations = _prior(n_dims)
    residuals = (logs - means) / deviations
    value = 0.5 * targets @ alpha + np.log(np.diag(factor)).sum() + 0.5 * residuals @ residuals

    # The derivative of the value with respect to the covariance.
    sensitivity = 0.5 * (cho_solve((factor, True), np.eye(n)) - np.outer(alpha, alpha))
    gradient = residuals / deviations
    by_distance = sensitivity * (5 / 3) * (1 + _SQRT5 * distance) * decay
    gradient[:-2] += weights * (squared.reshape(n_dims, -1) @ by_distance.ravel())
    gradient[-2] += (sensitivity * signal).sum()
    gradient[-1] += np.trace(sensitivity) * hyperparameters.noise_variance
    return float(value), gradient


def _matern52(first: FloatArray, second: FloatArray, hyperparameters: Hyperparameters) -> FloatArray:
    """Covariance ``(..., n, m)`` between inputs ``(..., n, d)`` and ``(..., m, d)``."""
    a, b = first / hyperparameters.length_scales, second / hyperparameters.length_scales
    products = a @ np.swapaxes(b, -1, -2)
    squared = (a**2).sum(axis=-1)[..., :, None] + (b**2).sum(axis=-1)[..., None, :] - 2 * products
    distance = np.sqrt(np.maximum(squared, 0.0))
    correlation = (1 + _SQRT5 * distance + (5 / 3) * distance**2) * np.exp(-_SQRT5 * distance)
    return np.asarray(hyperparameters.signal_variance * correlation)


def _standardisation(targets: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of the targets; 1 instead of a deviation of 0."""
    return float(targets.mean()), float(targets.std()) or 1.0
