"""Sub-networks nested by importance: each keeps the most important heads and units of the network.

A configuration counts heads and units. The masks are those of the original network, in its own order, so no weight
moves. DynaBERT (Hou et al. 2020, section 2.1, "network rewiring") sorts the weights of each layer instead. Then the
sub-networks have the same function, but their masks no longer say which heads of the original they keep.
"""

from __future__ import annotations

import numpy as np

from nasbench.arrays import FloatArray, IntArray
from nasbench.networks.space import Config, SearchSpace, Small
from nasbench.networks.subnetwork import Dimensions, SubNetwork


class Ordered(SearchSpace):
    """(h, u): keeps the h most important heads and the u most important units of all layers together.

    So the layers get uneven widths, those of the mask search of retraining-free pruning (Kwon et al. 2022) at each
    amount of computation: :meth:`nasbench.masks.search.MaskSearch.best`.

    Args:
        heads: importance, ``(n_layers, n_heads)``.
        units: importance, ``(n_layers, n_units)``.

    Raises:
        ValueError: if the shapes do not fit the network.
    """

    name = "ordered"
    names = ("heads", "units")

    def __init__(self, dims: Dimensions, heads: FloatArray, units: FloatArray) -> None:
        super().__init__(dims)
        full = SubNetwork.full(dims)
        if heads.shape != full.heads.shape or units.shape != full.units.shape:
            raise ValueError(f"importance {heads.shape} and {units.shape} does not fit the network")
        # A head or unit that the network does not have comes last and is never counted.
        self._ranks = [ranks(np.where(mask, x, -np.inf)) for x, mask in ((heads, full.heads), (units, full.units))]
        self._counts = [_counts_of_first(rank) for rank in self._ranks]
        self.upper = np.array([full.heads.sum(), full.units.sum()], dtype=np.int64)

    def counts(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        heads, units = (table[configs[:, i]] for i, table in enumerate(self._counts))
        return heads, units

    def to_subnetwork(self, config: Config) -> SubNetwork:
        heads, units = (rank < n for rank, n in zip(self._ranks, config, strict=True))
        return SubNetwork(heads, units)


class OrderedByLayer(Small):
    """(h, u, l) of SMALL, with the h most important heads and u units of each of the first l layers.

    Args:
        heads: importance, ``(n_layers, n_heads)``.
        units: importance, ``(n_layers, n_units)``.
    """

    name = "ordered-by-layer"

    def __init__(self, dims: Dimensions, heads: FloatArray, units: FloatArray) -> None:
        super().__init__(dims)
        full = SubNetwork.full(dims)
        layers = [np.where(mask, x, -np.inf) for x, mask in ((heads, full.heads), (units, full.units))]
        self._ranks = [np.stack([ranks(row) for row in rows]) for rows in layers]

    def to_subnetwork(self, config: Config) -> SubNetwork:
        counts = self.counts(config[None])
        heads, units = (rank < n[0][:, None] for rank, n in zip(self._ranks, counts, strict=True))
        return SubNetwork(heads, units)


def ranks(importance: FloatArray) -> IntArray:
    """The place of each value in descending order, the first of equal ones first; the same shape."""
    found = np.empty(importance.size, dtype=np.int64)
    found[np.argsort(-importance, axis=None, kind="stable")] = np.arange(importance.size)
    return found.reshape(importance.shape)


def _counts_of_first(rank: IntArray) -> IntArray:
    """How many of the first 0, 1, 2, ... by rank each layer has, ``(n + 1, n_layers)``."""
    layer = np.argsort(rank, axis=None) // rank.shape[1]
    taken = np.cumsum(layer[:, None] == np.arange(len(rank)), axis=0)
    return np.concatenate([np.zeros((1, len(rank)), dtype=np.int64), taken])
