"""An exact Gaussian process for some hundred observations of one quantity: Matern-5/2, one length-scale a dimension.

Small enough to be read, and fast enough that a suggestion costs less than the evaluation that follows it. The caller
scales inputs to [0, 1]; targets are standardised here. Rasmussen and Williams (2006), algorithm 2.1 and section 5.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from nasbench.arrays import FloatArray

MAX_FIT_POINTS = 300
"""Hyper-parameters are fitted to at most this many observations, evenly spaced in time; predictions use them all."""

_MAX_ITERATIONS = 50
_JITTER = 1e-8
_SQRT5 = np.sqrt(5.0)


@dataclass(frozen=True)
class Hyperparameters:
    """Of the covariance ``signal_variance * matern52(r) + noise_variance * [same observation]``, standardised targets.

    Attributes:
        length_scales: ``(d,)``.
    """

    length_scales: FloatArray
    signal_variance: float
    noise_variance: float

    @classmethod
    def default(cls, n_dims: int) -> Hyperparameters:
        """Where the priors have their medians."""
        means, _ = _prior(n_dims)
        return cls.from_logs(means)

    @classmethod
    def from_logs(cls, logs: FloatArray) -> Hyperparameters:
        """From their logarithms ``(d + 2,)``: length-scales, signal variance, noise variance."""
        values = np.exp(logs)
        return cls(values[:-2], float(values[-2]), float(values[-1]))

    @property
    def logs(self) -> FloatArray:
        return np.asarray(np.log([*self.length_scales, self.signal_variance, self.noise_variance]))


class GaussianProcess:
    """The posterior given observations and hyper-parameters.

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
        """Mean and standard deviation of the quantity, without observation noise, at ``(m, d)``: ``(m,)`` each."""
        cross = _matern52(self.inputs, inputs, self.hyperparameters)
        mean = self._shift + self._scale * (self._weights @ cross)
        half = solve_triangular(self._factor, cross, lower=True, overwrite_b=True)
        variance = self.hyperparameters.signal_variance - np.einsum("nm,nm->m", half, half)
        return mean, self._scale * np.sqrt(np.maximum(variance, 0.0))

    def predict_jointly(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and covariance over the last axis but one of ``(..., m, d)``: ``(..., m)`` and ``(..., m, m)``."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        cross = _matern52(self.inputs, flat, self.hyperparameters)
        mean = self._shift + self._scale * (self._weights @ cross)
        half = solve_triangular(self._factor, cross, lower=True).T.reshape(*inputs.shape[:-1], -1)
        covariance = _matern52(inputs, inputs, self.hyperparameters) - half @ np.swapaxes(half, -1, -2)
        return mean.reshape(inputs.shape[:-1]), self._scale**2 * covariance


def fit(inputs: FloatArray, targets: FloatArray, start: Hyperparameters | None = None) -> GaussianProcess:
    """The posterior under the hyper-parameters of the largest posterior density (MAP), by L-BFGS from ``start``.

    Priors are log-normal: length-scales as Hvarfner et al. (2024) propose, growing with the root of the dimension; a
    signal variance around 1; a small noise variance, vaguely, for there are error-free and very noisy observations.
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
    """Means and standard deviations of the logarithms, ``(d + 2,)`` each."""
    means = np.full(n_dims + 2, np.sqrt(2.0) + np.log(n_dims) / 2)
    means[-2:] = 0.0, -6.0
    deviations = np.full(n_dims + 2, np.sqrt(3.0))
    deviations[-2:] = 1.0, 2.5
    return means, deviations


def _negative_log_posterior(logs: FloatArray, squared: FloatArray, targets: FloatArray) -> tuple[float, FloatArray]:
    """Up to a constant, with its gradient.

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

    sensitivity = 0.5 * (
        cho_solve((factor, True), np.eye(n)) - np.outer(alpha, alpha)
    )  # of the value to the covariance
    gradient = residuals / deviations
    by_distance = sensitivity * (5 / 3) * (1 + _SQRT5 * distance) * decay
    gradient[:-2] += weights * (squared.reshape(n_dims, -1) @ by_distance.ravel())
    gradient[-2] += (sensitivity * signal).sum()
    gradient[-1] += np.trace(sensitivity) * hyperparameters.noise_variance
    return float(value), gradient


def _matern52(first: FloatArray, second: FloatArray, hyperparameters: Hyperparameters) -> FloatArray:
    """``(..., n, d)`` and ``(..., m, d)`` to ``(..., n, m)``."""
    a, b = first / hyperparameters.length_scales, second / hyperparameters.length_scales
    products = a @ np.swapaxes(b, -1, -2)
    squared = (a**2).sum(axis=-1)[..., :, None] + (b**2).sum(axis=-1)[..., None, :] - 2 * products
    distance = np.sqrt(np.maximum(squared, 0.0))
    correlation = (1 + _SQRT5 * distance + (5 / 3) * distance**2) * np.exp(-_SQRT5 * distance)
    return np.asarray(hyperparameters.signal_variance * correlation)


def _standardisation(targets: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation; 1 instead of a deviation of 0."""
    return float(targets.mean()), float(targets.std()) or 1.0
