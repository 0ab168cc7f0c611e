"""Masks that keep the same share of every layer."""

from __future__ import annotations

import numpy as np

from nasbench.arrays import BoolArray, FloatArray


def without_smallest(values: FloatArray, present: BoolArray, ratio: float) -> BoolArray:
    """Mask of the heads or units that stay: all but the ``ratio`` with the smallest values of each layer, rounded down.

    Args:
        values: ``(n_layers, n)``.
        present: the heads or units that each layer has, the same shape.
    """
    kept = np.zeros_like(present)
    for row, (scored, there) in enumerate(zip(values, present, strict=True)):
        places = np.flatnonzero(there)
        order = places[np.argsort(scored[places], kind="stable")]
        kept[row, order[int(ratio * len(places)) :]] = True
    return kept
