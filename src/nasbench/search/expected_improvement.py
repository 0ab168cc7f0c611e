"""Expected hypervolume improvement of two minimised objectives, one uncertain and one known.

The parameters of a candidate are known before it is evaluated, so only its error is a random variable. The area that a
candidate adds is a sum over the strips between neighbours of the front, and in each strip the expectation is the
well-known expected improvement: a closed form, thousands of candidates at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from nasbench.arrays import FloatArray
from nasbench.search.pareto import pareto_mask


def expected_hypervolume_improvement(
    mean: FloatArray, deviation: FloatArray, params: FloatArray, front: npt.ArrayLike, reference: npt.ArrayLike
) -> FloatArray:
    r"""Expected area that each candidate adds to the front's.

    With the front sorted by parameters, ``p_1 < ... < p_m`` and ``e_1 > ... > e_m``, the reference ``(r_e, r_p)``,
    ``p_0 = -inf``, ``e_0 = r_e`` and ``p_{m+1} = r_p``, a candidate with parameters p and error N(mu, s^2) adds

        sum over k = 0..m of  max(0, p_{k+1} - max(p_k, p)) * [ (e_k - mu) Phi(z_k) + s phi(z_k) ]

    with ``z_k = (e_k - mu) / s``.

    Args:
        mean: of the candidates' errors, ``(n,)``.
        deviation: of the candidates' errors, ``(n,)``; may be 0.
        params: of the candidates, ``(n,)``.
        front: ``(m, 2)`` with columns (error, params); dominated points and points outside the reference are ignored.
        reference: ``(error, params)``.

    Returns:
        ``(n,)``.
    """
    errors, edges = _strips(front, reference)
    gap = errors - mean[:, None]
    safe = np.where(deviation > 0, deviation, 1.0)[:, None]
    z = gap / safe
    improvement = np.where(
        deviation[:, None] > 0, gap * ndtr(z) + safe * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi), np.maximum(gap, 0.0)
    )
    widths = np.maximum(0.0, edges[1:] - np.maximum(edges[:-1], params[:, None]))
    return np.asarray((widths * improvement).sum(axis=1))


def expected_improvement_of_curves(
    mean: FloatArray,
    covariance: FloatArray,
    params: FloatArray,
    front: npt.ArrayLike,
    reference: npt.ArrayLike,
    normals: FloatArray,
) -> FloatArray:
    """Expected area that the first 1, 2, ..., m points of a curve add to the front's together, for each of n curves.

    The points of a curve are evaluated at once and their errors are correlated, so their expected improvements do not
    add up. The expectation is over joint samples of the errors; for each sample the area is exact: with the points
    sorted by parameters, the least error among the first ones is what the curve reaches in the strip that follows.

    Args:
        mean: of the errors, ``(n, m)``: n curves of m points.
        covariance: ``(n, m, m)``.
        params: ``(n, m)``, ascending along each curve.
        front: as in :func:`expected_hypervolume_improvement`.
        reference: as in :func:`expected_hypervolume_improvement`.
        normals: standard normal numbers ``(n_samples, m)``, the same for all curves, so that only the curves differ.

    Returns:
        ``(n, m)``, ascending along each curve.
    """
    errors, edges = _strips(front, reference)
    jitter = 1e-9 * np.maximum(np.trace(covariance, axis1=1, axis2=2), np.finfo(np.float64).eps)
    factors = np.linalg.cholesky(covariance + jitter[:, None, None] * np.eye(mean.shape[1]))
    improvements = np.empty(mean.shape)
    n_first = np.arange(1, mean.shape[1] + 1)[:, None]
    for i in range(len(mean)):
        samples = mean[i] + normals @ factors[i].T
        reached = np.minimum.accumulate(samples, axis=1)  # (n_samples, m), by the points up to each
        bounds = np.clip(np.sort(np.concatenate([edges[1:-1], params[i]])), None, edges[-1])
        widths = np.diff(np.append(bounds, edges[-1]))
        to_beat = errors[np.searchsorted(edges[1:-1], bounds, side="right")]
        n_points = np.minimum(np.searchsorted(params[i], bounds, side="right"), n_first)  # (m, n_strips)
        gains = np.maximum(to_beat - reached[:, n_points - 1], 0.0)  # (n_samples, m, n_strips)
        improvements[i] = (gains.mean(axis=0) * (n_points > 0)) @ widths
    return improvements


def reference_point(front: FloatArray) -> FloatArray:
    """Beyond everything a searcher wants: a tenth of the front's range beyond its worst error and the full network.

    A searcher is not told the reference its results are judged by. Not the front's own largest network bounds the
    parameters but the full one: the observed front may end early by noise alone.

    Args:
        front: ``(m, 2)`` with columns (error, params), params at most 1; m at least 1.
    """
    best, worst = front.min(axis=0), np.array([front[:, 0].max(), 1.0])
    return np.asarray(worst + 0.1 * np.maximum(worst - best, 1e-6))


def _strips(front: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Errors to beat ``(m + 1,)``, descending, and the edges ``(m + 2,)`` of the strips of parameters they hold in."""
    points = np.asarray(front, dtype=np.float64).reshape(-1, 2)
    bound = np.asarray(reference, dtype=np.float64)
    points = points[(points < bound).all(axis=1)]
    points = np.unique(points[pareto_mask(points)], axis=0)[::-1]  # by error, descending
    return np.concatenate([bound[:1], points[:, 0]]), np.concatenate([[-np.inf], points[:, 1], bound[1:]])
