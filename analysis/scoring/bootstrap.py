"""Bootstrap over scenarios and seeds, all samples at once.

A block is one scenario and one seed: all runs of a block use the same data split. Blocks are resampled whole, so
entries stay paired. The samples are a matrix of weights, samples x blocks, so the means over all samples are one matrix
product.

The random integers are scaled and truncated uniform doubles, which are the same on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nasbench.arrays import FloatArray

N_SAMPLES = 1000


def resample_scenarios(scenarios: npt.ArrayLike, rng: np.random.Generator, n_samples: int = N_SAMPLES) -> FloatArray:
    """Weights of the blocks when scenarios and seeds are both resampled, as for figure 6 of the paper.

    Each sample draws n of the n scenarios with replacement. From each drawn scenario with k blocks it draws k blocks
    with replacement. All drawn scenarios have the same weight.

    Args:
        scenarios: ``(n_blocks,)``, the scenario of each block.
        rng: source of randomness.
        n_samples: number of samples.

    Returns:
        ``(n_samples, n_blocks)``; each row sums to 1.
    """
    codes, sizes, members = _groups(scenarios)
    n_scenarios, n_blocks = len(sizes), len(codes)
    if n_blocks == 0:
        return np.zeros((n_samples, 0))
    drawn = _integers(rng, n_scenarios, (n_samples, n_scenarios))
    size = sizes[drawn][..., None]
    place = _integers(rng, size, (n_samples, n_scenarios, int(sizes.max())))
    weight = np.where(np.arange(place.shape[2]) < size, 1.0 / (size * n_scenarios), 0.0)
    block = members[drawn[..., None], place] + np.arange(n_samples)[:, None, None] * n_blocks
    return _sums(block, weight, n_samples, n_blocks)


def _groups(names: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Group of each block ``(n,)``, group sizes ``(n_groups,)``, members ``(n_groups, largest size)``, padded."""
    _, codes, sizes = np.unique(np.asarray(names), return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    place = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    members = np.zeros((len(sizes), int(sizes.max(initial=0))), dtype=np.int64)
    members[codes[order], place] = order
    return codes.astype(np.int64), sizes.astype(np.int64), members


def _integers(rng: np.random.Generator, bound: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Uniform integers in ``[0, bound)``."""
    return np.asarray(rng.random(shape) * np.asarray(bound), dtype=np.int64)


def _sums(block: npt.NDArray[np.int64], weight: FloatArray, n_samples: int, n_blocks: int) -> FloatArray:
    """Sums of the weights per sample and block, ``(n_samples, n_blocks)``."""
    sums = np.bincount(block.ravel(), weight.ravel(), minlength=n_samples * n_blocks)
    return np.asarray(sums, dtype=np.float64).reshape(n_samples, n_blocks)
