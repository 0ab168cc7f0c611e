"""Expected hypervolume improvement of minimised objectives: an uncertain error, and costs that are known.

The costs of a candidate are known before it is evaluated, so only its error is a random variable. With one cost, such
as the number of parameters, the area that a candidate adds is a sum over the strips between neighbours of the front. In
each strip the expectation is the ordinary expected improvement, which has a closed form. Thousands of candidates are
scored at once.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from nasbench.arrays import FloatArray
from nasbench.search.pareto import pareto_mask


def expected_hypervolume_improvement(
    mean: FloatArray, deviation: FloatArray, costs: FloatArray, front: npt.ArrayLike, reference: npt.ArrayLike
) -> FloatArray:
    r"""Expected area (volume, with two costs) that each candidate adds to the hypervolume of the front.

    With one cost p and the front sorted by it, ``p_1 < ... < p_m`` and ``e_1 > ... > e_m``, the reference
    ``(r_e, r_p)``, ``p_0 = -inf``, ``e_0 = r_e`` and ``p_{m+1} = r_p``, a candidate with cost p and error N(mu, s^2)
    adds

        sum over k = 0..m of  max(0, p_{k+1} - max(p_k, p)) * [ (e_k - mu) Phi(z_k) + s phi(z_k) ]

    with ``z_k = (e_k - mu) / s``.

    With a further cost, its axis is divided into strips at the costs of the front. Inside a strip, the points of the
    front with at most the strip's lower cost are those to beat, by the formula for the other objectives.

    Args:
        mean: means of the candidates' errors, ``(n,)``.
        deviation: standard deviations of the candidates' errors, ``(n,)``; may be 0.
        costs: costs of the candidates, ``(n,)`` or ``(n, n_costs)``.
        front: ``(m, 1 + n_costs)``, the error first; dominated points and points outside the reference are ignored.
        reference: ``(1 + n_costs,)``.

    Returns:
        ``(n,)``.
    """
    if costs.ndim == 2:
        if costs.shape[1] > 1:
            return _by_strips(mean, deviation, costs, front, reference)
        costs = costs[:, 0]
    errors, edges = _strips(front, reference)
    gap = errors - mean[:, None]
    safe = np.where(deviation > 0, deviation, 1.0)[:, None]
    z = gap / safe
    improvement = np.where(
        deviation[:, None] > 0, gap * ndtr(z) + safe * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi), np.maximum(gap, 0.0)
    )
    widths = np.maximum(0.0, edges[1:] - np.maximum(edges[:-1], costs[:, None]))
    return np.asarray((widths * improvement).sum(axis=1))


def _by_strips(
    mean: FloatArray, deviation: FloatArray, costs: FloatArray, front: npt.ArrayLike, reference: npt.ArrayLike
) -> FloatArray:
    """:func:`expected_hypervolume_improvement` for several costs: strips along the last cost, the others inside."""
    bound, last = np.asarray(reference, dtype=np.float64), costs[:, -1]
    points = np.asarray(front, dtype=np.float64).reshape(-1, len(bound))
    points = points[(points < bound).all(axis=1)]
    edges = np.concatenate([[-np.inf], np.unique(points[:, -1]), bound[-1:]])
    total = np.zeros(len(mean))
    for low, high in pairwise(edges.tolist()):
        widths = np.maximum(0.0, high - np.maximum(low, last))
        reached = widths > 0
        to_beat = points[points[:, -1] <= low, :-1]
        total[reached] += widths[reached] * expected_hypervolume_improvement(
            mean[reached], deviation[reached], costs[reached, :-1], to_beat, bound[:-1]
        )
    return total


def expected_improvement_of_curves(
    mean: FloatArray,
    covariance: FloatArray,
    params: FloatArray,
    front: npt.ArrayLike,
    reference: npt.ArrayLike,
    normals: FloatArray,
) -> FloatArray:
    """Expected area that the first 1, 2, ..., m points of a curve jointly add to the front, for each of n curves.

    The points of a curve are evaluated at once and their errors are correlated, so their expected improvements do not
    add up. The expectation is the mean over joint samples of the errors; the area of each sample is exact. With the
    points sorted by parameters, the error that a curve reaches in a strip is the lowest error of the points before it.

    Args:
        mean: means of the errors, ``(n, m)``: n curves of m points.
        covariance: covariances of the errors, ``(n, m, m)``.
        params: ``(n, m)``, ascending along each curve.
        front: as in :func:`expected_hypervolume_improvement`.
        reference: as in :func:`expected_hypervolume_improvement`.
        normals: standard normal numbers ``(n_samples, m)``, shared by all curves, so scores differ by the curves only.

    Returns:
        ``(n, m)``, ascending along each curve.
    """
    errors, edges = _strips(front, reference)
    factors = _factors(covariance)
    improvements = np.empty(mean.shape)
    n_first = np.arange(1, mean.shape[1] + 1)[:, None]
    for i in range(len(mean)):
        samples = mean[i] + normals @ factors[i].T
        reached = np.minimum.accumulate(samples, axis=1)  # (n_samples, m): lowest error up to each point
        bounds = np.clip(np.sort(np.concatenate([edges[1:-1], params[i]])), None, edges[-1])
        widths = np.diff(np.append(bounds, edges[-1]))
        to_beat = errors[np.searchsorted(edges[1:-1], bounds, side="right")]
        n_points = np.minimum(np.searchsorted(params[i], bounds, side="right"), n_first)  # (m, n_strips)
        gains = np.maximum(to_beat - reached[:, n_points - 1], 0.0)  # (n_samples, m, n_strips)
        improvements[i] = (gains.mean(axis=0) * (n_points > 0)) @ widths
    return improvements


def _factors(covariance: FloatArray) -> FloatArray:
    """Matrices F with F F^T = covariance, ``(n, m, m)``."""
    jitter = 1e-9 * np.maximum(np.trace(covariance, axis1=1, axis2=2), np.finfo(np.float64).eps)
    try:
        found = np.linalg.cholesky(covariance + jitter[:, None, None] * np.eye(covariance.shape[1]))
        return np.asarray(found, dtype=np.float64)
    except np.linalg.LinAlgError:  # what is left of a variance that the observations explain is rounding
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :])


def reference_point(front: FloatArray) -> FloatArray:
    """Reference point of a searcher: beyond the worst error and the full network by a tenth of the front's range.

    Searchers do not know the reference point that scores their results. The bound on a cost is the full network and not
    the largest network on the front, because noise alone may end the observed front early.

    Args:
        front: ``(m, 1 + n_costs)``, the error first, costs at most 1; m at least 1.
    """
    best, worst = front.min(axis=0), np.array([front[:, 0].max(), *[1.0] * (front.shape[1] - 1)])
    return np.asarray(worst + 0.1 * np.maximum(worst - best, 1e-6))


def _strips(front: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Errors to beat ``(m + 1,)``, descending, and the edges ``(m + 2,)`` of their strips of parameters."""
    points = np.asarray(front, dtype=np.float64).reshape(-1, 2)
    bound = np.asarray(reference, dtype=np.float64)
    points = points[(points < bound).all(axis=1)]
    points = np.unique(points[pareto_mask(points)], axis=0)[::-1]  # by error, descending
    return np.concatenate([bound[:1], points[:, 0]]), np.concatenate([[-np.inf], points[:, 1], bound[1:]])
