"""The interval of a mean over scenarios: what is believed of every hypervolume, difference and test metric."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

COVERAGE = 0.95
MIN_VALUES = 3
"""Of fewer values a spread says nothing: there is no interval, and a claim stays undecided."""


def mean_interval(values: npt.ArrayLike, scenarios: npt.ArrayLike) -> tuple[float, float, float]:
    """Mean over scenarios of the means over repetitions, and its 95 % interval.

    ``mean +- t sqrt(V)`` with ``V = sum over scenarios of w^2 s^2 / n``, ``w`` a scenario's weight (1 / number of scenarios), ``s``
    the standard deviation of its ``n`` repetitions, and Student's ``t`` with the degrees of freedom of Welch and
    Satterthwaite (Welch 1947, Biometrika 34:28-35), for scenarios differ in spread. It is not a bootstrap, which cannot
    reach beyond the values it resamples: in two scenarios with two repetitions of normal values an expanded percentile
    interval held the truth 67 times in 100, this one 97 times. With ten repetitions or more, and with skewed values,
    the two do equally well.

    A scenario with a single repetition has no spread of its own. Several such scenarios are taken as one sample, whose spread
    is that between scenarios too; a single one gets the mean variance of the others.

    Args:
        values: ``(n,)``, no NaN.
        scenarios: ``(n,)``, the scenario of each value.

    Returns:
        Mean, low, high. All NaN without values; the bounds are NaN for fewer than :data:`MIN_VALUES`.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0:
        return np.nan, np.nan, np.nan
    _, scenario, size = np.unique(np.asarray(scenarios), return_inverse=True, return_counts=True)
    mean = float(np.mean(np.bincount(scenario, data) / size))
    if len(data) < MIN_VALUES:
        return mean, np.nan, np.nan
    _, stratum, n = np.unique(np.where(size[scenario] == 1, -1, scenario), return_inverse=True, return_counts=True)
    share = np.bincount(stratum, 1.0 / size[scenario]) / len(size)
    freedom = n - 1
    squares = np.bincount(stratum, (data - (np.bincount(stratum, data) / n)[stratum]) ** 2)
    # The part of V that each stratum's own variance stands for; the lone scenario's is borrowed from all.
    part = share**2 / n
    part += part[freedom == 0].sum() * freedom / freedom.sum()
    part *= squares / np.maximum(freedom, 1)
    variance = float(part.sum())
    if variance == 0.0:
        return mean, mean, mean
    degrees = variance**2 / float((part**2 / np.maximum(freedom, 1)).sum())
    half = float(stats.t.ppf(0.5 + COVERAGE / 2, degrees)) * float(np.sqrt(variance))
    return mean, mean - half, mean + half
