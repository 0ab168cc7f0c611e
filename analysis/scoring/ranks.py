"""Average ranks of methods over time with bootstrap bands (section 4.1 of the paper, figure 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from nasbench.analysis.scoring import bootstrap
from nasbench.analysis.scoring.intervals import COVERAGE
from nasbench.arrays import FloatArray, IntArray

_DIGITS = 9
"""Values that agree so far are ties: their last bits differ between machines."""


@dataclass(frozen=True)
class RankBands:
    """Average ranks, 1 = best.

    Attributes:
        mean: ``(n_methods, n_times)``, over the blocks as they are, every scenario with the same weight; NaN for a method
            that is in no comparable block.
        low, high: ``(n_methods, n_times)``, 2.5 and 97.5 % of the bootstrap samples.
        n_blocks: ``(n_methods,)``, blocks in which the method was compared with another one.
        n_alone: blocks that only one method has, left out.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n_blocks: IntArray
    n_alone: int


def block_ranks(values: npt.ArrayLike) -> FloatArray:
    """Rank of each method in each block, the largest value first; ties share their average rank.

    Where k of m methods are present, their ranks 1..k are stretched to 1..m, so that being second of two is no better
    than being last of ten. A method alone in its block gets no rank.

    Args:
        values: ``(n_methods, n_blocks, ...)``, larger is better, NaN = missing.

    Returns:
        The same shape, NaN where there is no rank.
    """
    rounded = np.round(np.asarray(values, dtype=np.float64), _DIGITS)
    if rounded.size == 0:
        return np.full(rounded.shape, np.nan)
    ranks = np.asarray(stats.rankdata(-rounded, axis=0, nan_policy="omit"), dtype=np.float64)
    m, present = len(rounded), (~np.isnan(rounded)).sum(axis=0)
    scale = np.divide(m - 1, present - 1, out=np.full(present.shape, np.nan), where=present > 1)
    return np.asarray(1.0 + (ranks - 1.0) * scale, dtype=np.float64)


def bootstrap_ranks(
    values: npt.ArrayLike, scenarios: npt.ArrayLike, rng: np.random.Generator, n_samples: int = bootstrap.N_SAMPLES
) -> RankBands:
    """Average ranks at each time step, with 95 % bands from resampling tasks and repetitions.

    A block's seed fixes the data split for every method, so methods are compared within blocks and blocks are resampled
    whole: the ranks inside a block never change, and 1,000 samples are one matrix product.

    Args:
        values: ``(n_methods, n_blocks, n_times)``, larger is better, NaN = missing.
        scenarios: ``(n_blocks,)``, the scenario of each block.
    """
    table = np.asarray(values, dtype=np.float64)
    names = np.asarray(scenarios)
    if table.ndim != 3 or table.shape[1] != len(names):
        raise ValueError(f"values {table.shape} must be (n_methods, {len(names)}, n_times)")
    present = np.asarray(~np.isnan(table).all(axis=2))
    comparable = present.sum(axis=0) > 1
    ranks = block_ranks(table[:, comparable])
    means = sample_means(ranks, names[comparable], rng, n_samples)
    low, high = np.full((2, *means.shape[1:]), np.nan)
    known = ~np.isnan(means).all(axis=0)
    if known.any():
        percentiles = (50 * (1 - COVERAGE), 50 * (1 + COVERAGE))
        low[known], high[known] = np.nanpercentile(means[:, known], percentiles, axis=0)
    return RankBands(
        mean=weighted_means(ranks, _one_scenario_one_vote(names[comparable]))[0],
        low=low,
        high=high,
        n_blocks=present[:, comparable].sum(axis=1),
        n_alone=int((present.sum(axis=0) == 1).sum()),
    )


def sample_means(
    ranks: FloatArray, scenarios: npt.ArrayLike, rng: np.random.Generator, n_samples: int = bootstrap.N_SAMPLES
) -> FloatArray:
    """Average rank of each method in each bootstrap sample, ``(n_samples, n_methods, n_times)``.

    Args:
        ranks: ``(n_methods, n_blocks, n_times)``, see :func:`block_ranks`.
        scenarios: ``(n_blocks,)``.
    """
    return weighted_means(ranks, bootstrap.resample_scenarios(scenarios, rng, n_samples))


def weighted_means(ranks: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted averages over the blocks a method is in.

    Args:
        ranks: ``(n_methods, n_blocks, n_times)``, NaN = not in this block.
        weights: ``(n_samples, n_blocks)``.

    Returns:
        ``(n_samples, n_methods, n_times)``, NaN where all weight is on blocks the method is not in.
    """
    n_methods, n_blocks, n_times = ranks.shape
    flat = ranks.transpose(1, 0, 2).reshape(n_blocks, n_methods * n_times)
    known = ~np.isnan(flat)
    sums = weights @ np.where(known, flat, 0.0)
    # A product with the same matrix of ones where nothing is missing, which is the usual case.
    total = weights.sum(axis=1, keepdims=True) if known.all() else weights @ known.astype(np.float64)
    total = np.broadcast_to(total, sums.shape)
    means = np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)
    return np.asarray(means, dtype=np.float64).reshape(len(weights), n_methods, n_times)


def _one_scenario_one_vote(scenarios: npt.ArrayLike) -> FloatArray:
    """Weights of the blocks, ``(1, n_blocks)``, every scenario with the same total."""
    _, codes, sizes = np.unique(np.asarray(scenarios), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[codes], dtype=np.float64)[None]
