"""Bootstrap over the repetitions and tasks of a benchmark, all samples at once.

A block is a (cell, seed) pair: everything that was run on one task, model and device class with one seed, and so on one
data split. Blocks are resampled whole, so methods stay paired. A resampling is a matrix of weights, samples x blocks; a
mean over each sample is then one matrix product, whatever is averaged.

The random numbers are uniform doubles scaled and cut to integers, which gives the same draws on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from nasbench.subnetwork import FloatArray

N_SAMPLES = 1000
COVERAGE = 0.95


def resample_cells(cells: npt.ArrayLike, rng: np.random.Generator, n_samples: int = N_SAMPLES) -> FloatArray:
    """Weights of the blocks when tasks and repetitions are both resampled, as for figure 6 of the paper.

    As many cells as there are are drawn with replacement, then in each as many of its blocks as it has. Every drawn
    cell weighs the same.

    Args:
        cells: ``(n_blocks,)``, the cell of each block.

    Returns:
        ``(n_samples, n_blocks)``; each row sums to 1.
    """
    codes, sizes, members = _groups(cells)
    n_cells, n_blocks = len(sizes), len(codes)
    if n_blocks == 0:
        return np.zeros((n_samples, 0))
    drawn = _integers(rng, n_cells, (n_samples, n_cells))
    size = sizes[drawn][..., None]
    place = _integers(rng, size, (n_samples, n_cells, int(sizes.max())))
    weight = np.where(np.arange(place.shape[2]) < size, 1.0 / (size * n_cells), 0.0)
    block = members[drawn[..., None], place] + np.arange(n_samples)[:, None, None] * n_blocks
    return _sums(block, weight, n_samples, n_blocks)


def resample_repetitions(strata: npt.ArrayLike, rng: np.random.Generator, n_samples: int = N_SAMPLES) -> FloatArray:
    """Weights of the blocks when repetitions are resampled within each cell and the cells are taken as they are.

    Every cell weighs the same. A cell with one block has no variation of its own to resample; such cells are resampled
    among each other.

    Args:
        strata: ``(n_blocks,)``, the cell of each block.

    Returns:
        ``(n_samples, n_blocks)``; each row sums to 1.
    """
    pooled, sizes, members = _groups(_pooled(strata))
    weights = _equal_cells(strata)
    n_blocks = len(pooled)
    if n_blocks == 0:
        return np.zeros((n_samples, 0))
    place = _integers(rng, sizes[pooled], (n_samples, n_blocks))
    block = members[pooled, place] + np.arange(n_samples)[:, None] * n_blocks
    return _sums(block, np.broadcast_to(weights, block.shape), n_samples, n_blocks)


def mean_interval(
    values: npt.ArrayLike, strata: npt.ArrayLike, rng: np.random.Generator, n_samples: int = N_SAMPLES
) -> tuple[float, float, float]:
    """Mean over cells of the means over repetitions, and its 95 % interval.

    Percentiles of a bootstrap of n values make an interval that is too short by sqrt((n - k) / n) with k strata, and
    takes the normal distribution where Student's is due. The percentiles are moved out accordingly (the expanded
    percentile interval of Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3.2).

    Args:
        values: ``(n,)``, no NaN.
        strata: ``(n,)``, the cell of each value.

    Returns:
        Mean, low, high. All NaN without values; the bounds are NaN where nothing varies by design (one value).
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0:
        return np.nan, np.nan, np.nan
    mean = float(_equal_cells(strata) @ data)
    n, n_strata = len(data), len(np.unique(_pooled(strata)))
    if n <= n_strata:
        return mean, np.nan, np.nan
    means = resample_repetitions(strata, rng, n_samples) @ data
    quantile = float(stats.t.ppf(0.5 + COVERAGE / 2, n - n_strata)) * np.sqrt(n / (n - n_strata))
    tail = float(stats.norm.cdf(-quantile))
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return mean, float(low), float(high)


def _groups(names: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Code of each block's group ``(n,)``, sizes ``(n_groups,)``, and members ``(n_groups, largest size)``, padded."""
    _, codes, sizes = np.unique(np.asarray(names), return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    place = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    members = np.zeros((len(sizes), int(sizes.max(initial=0))), dtype=np.int64)
    members[codes[order], place] = order
    return codes.astype(np.int64), sizes.astype(np.int64), members


def _pooled(strata: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Strata by number, those with a single block made into one."""
    _, codes, sizes = np.unique(np.asarray(strata), return_inverse=True, return_counts=True)
    return np.where(sizes[codes] == 1, -1, codes).astype(np.int64)


def _equal_cells(strata: npt.ArrayLike) -> FloatArray:
    """Weight of each block when cells weigh the same, ``(n,)``."""
    _, codes, sizes = np.unique(np.asarray(strata), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (sizes[codes] * len(sizes)), dtype=np.float64)


def _integers(rng: np.random.Generator, bound: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Uniform integers in ``[0, bound)``."""
    return np.asarray(rng.random(shape) * np.asarray(bound), dtype=np.int64)


def _sums(block: npt.NDArray[np.int64], weight: FloatArray, n_samples: int, n_blocks: int) -> FloatArray:
    """Weights added up by sample and block."""
    sums = np.bincount(block.ravel(), weight.ravel(), minlength=n_samples * n_blocks)
    return np.asarray(sums, dtype=np.float64).reshape(n_samples, n_blocks)
