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

MOST_VALUES = 96
"""Values of each dimension of :class:`Ordered`, fewer if the network has fewer heads or units."""


class Ordered(SearchSpace):
    """(i, j): keeps the h_i most important heads and the u_j most important units of all layers together.

    So the layers get uneven widths, those of the mask search of retraining-free pruning (Kwon et al. 2022) at each
    amount of computation: :meth:`nasbench.masks.search.MaskSearch.best`. Each of h_1, h_2, ... is larger than the one
    before by about the same factor, because a small network loses as much with its next ten units as a large one with
    its next thousand. A network without heads or without units is no better than a constant answer, so i = 0 and j = 0
    both keep nothing.

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
        self._kept = [_growing(int(mask.sum())) for mask in (full.heads, full.units)]
        self._counts = [_counts_of_first(rank)[kept] for rank, kept in zip(self._ranks, self._kept, strict=True)]
        self.upper = np.array([len(kept) - 1 for kept in self._kept], dtype=np.int64)

    def counts(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        any_kept = configs.all(axis=1, keepdims=True)
        heads, units = (table[configs[:, i]] * any_kept for i, table in enumerate(self._counts))
        return heads, units

    def to_subnetwork(self, config: Config) -> SubNetwork:
        n_kept = [kept[i] * config.all() for kept, i in zip(self._kept, config, strict=True)]
        heads, units = (rank < n for rank, n in zip(self._ranks, n_kept, strict=True))
        return SubNetwork(heads, units)

    def nearest(self, n_heads: int, n_units: int) -> Config:
        """The configuration whose numbers of heads and units in all layers are nearest to the given ones."""
        found = [np.abs(kept - n).argmin() for kept, n in zip(self._kept, (n_heads, n_units), strict=True)]
        return np.array(found, dtype=np.int64)


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


def _growing(n: int) -> IntArray:
    """0 and at most :data:`MOST_VALUES` numbers up to ``n``, in a geometric sequence from n / 512 on."""
    return np.unique([0, *np.rint(np.geomspace(max(1, n / 512), n, MOST_VALUES)).astype(np.int64)])


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
