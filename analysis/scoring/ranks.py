"""Average ranks of entries over time with bootstrap bands (section 4.1 of the paper, figure 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from nasbench.analysis.scoring import bootstrap
from nasbench.analysis.scoring.intervals import COVERAGE
from nasbench.arrays import FloatArray, IntArray

_DIGITS = 9
"""Values that agree to so many decimal places are ties: their last bits differ between machines."""


@dataclass(frozen=True)
class RankBands:
    """Average ranks, 1 = best.

    Attributes:
        mean: ``(n_entries, n_times)``, average over the recorded blocks, every scenario with the same weight; NaN for
            an entry without comparable blocks.
        low: ``(n_entries, n_times)``, 2.5 % quantile of the bootstrap samples.
        high: ``(n_entries, n_times)``, 97.5 % quantile of the bootstrap samples.
        n_blocks: ``(n_entries,)``, number of blocks that the entry shares with another entry.
        n_alone: number of blocks left out because only one entry has run there.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n_blocks: IntArray
    n_alone: int


def block_ranks(values: npt.ArrayLike) -> FloatArray:
    """Rank of each entry in each block. The largest value has rank 1; ties share their average rank.

    If only k of m entries are present in a block, their ranks 1..k are stretched to 1..m. The second of two entries is
    thus ranked no better than the last of ten. An entry alone in its block has no rank.

    Args:
        values: ``(n_entries, n_blocks, ...)``, larger is better, NaN = missing.

    Returns:
        Ranks in the shape of ``values``, NaN where there is no rank.
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
    """Average ranks at each time step, with 95 % bands from resampling scenarios and seeds.

    The seed fixes the data split for all entries, so entries are compared within blocks and blocks are resampled whole.
    The ranks inside a block therefore never change, and 1,000 samples are one matrix product.

    Args:
        values: ``(n_entries, n_blocks, n_times)``, larger is better, NaN = missing.
        scenarios: ``(n_blocks,)``, the scenario of each block.
        rng: source of randomness.
        n_samples: number of bootstrap samples.

    Raises:
        ValueError: if ``values`` does not have three dimensions, or not one block per item of ``scenarios``.
    """
    table = np.asarray(values, dtype=np.float64)
    names = np.asarray(scenarios)
    if table.ndim != 3 or table.shape[1] != len(names):
        raise ValueError(f"values {table.shape} must be (n_entries, {len(names)}, n_times)")
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
        mean=weighted_means(ranks, _equal_scenario_weights(names[comparable]))[0],
        low=low,
        high=high,
        n_blocks=present[:, comparable].sum(axis=1),
        n_alone=int((present.sum(axis=0) == 1).sum()),
    )


def sample_means(
    ranks: FloatArray, scenarios: npt.ArrayLike, rng: np.random.Generator, n_samples: int = bootstrap.N_SAMPLES
) -> FloatArray:
    """Average rank of each entry in each bootstrap sample, ``(n_samples, n_entries, n_times)``.

    Args:
        ranks: ``(n_entries, n_blocks, n_times)``, see :func:`block_ranks`.
        scenarios: ``(n_blocks,)``, the scenario of each block.
        rng: source of randomness.
        n_samples: number of bootstrap samples.
    """
    return weighted_means(ranks, bootstrap.resample_scenarios(scenarios, rng, n_samples))


def weighted_means(ranks: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted averages over the blocks in which an entry has a rank.

    Args:
        ranks: ``(n_entries, n_blocks, n_times)``, NaN = no rank in this block.
        weights: ``(n_samples, n_blocks)``.

    Returns:
        ``(n_samples, n_entries, n_times)``, NaN if the entry has no rank in any block with a weight.
    """
    n_entries, n_blocks, n_times = ranks.shape
    flat = ranks.transpose(1, 0, 2).reshape(n_blocks, n_entries * n_times)
    known = ~np.isnan(flat)
    sums = weights @ np.where(known, flat, 0.0)
    # Usually nothing is missing; the second product would then multiply by a matrix of ones.
    total = weights.sum(axis=1, keepdims=True) if known.all() else weights @ known.astype(np.float64)
    total = np.broadcast_to(total, sums.shape)
    means = np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)
    return np.asarray(means, dtype=np.float64).reshape(len(weights), n_entries, n_times)


def _equal_scenario_weights(scenarios: npt.ArrayLike) -> FloatArray:
    """Weights of the blocks, ``(1, n_blocks)``, with the same sum in every scenario."""
    _, codes, sizes = np.unique(np.asarray(scenarios), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[codes], dtype=np.float64)[None]
