"""The structure of a factored network: the rank of every projection, and the number of weights that this spares.

A projection y = x W^T + b with W of m rows and n columns holds m n weights. As a product W = B A of rank r, with B of m
rows and A of n columns, it holds r (m + n). The bias stays as it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nasbench.arrays import IntArray
from nasbench.networks.subnetwork import Dimensions, SubNetwork

WHOLE = -1
"""Stands for the rank of a projection that stays one matrix."""
PROJECTIONS = ("query", "key", "value", "attention_output", "intermediate", "gate", "feed_forward_output")
"""The projections of a layer, in order; ``gate`` only where the feed-forward block has one."""


def projection_names(dims: Dimensions) -> tuple[str, ...]:
    """Names of the projections of each layer."""
    return tuple(name for name in PROJECTIONS if name != "gate" or dims.n_inputs > 1)


def projection_shapes(dims: Dimensions, head_counts: IntArray, unit_counts: IntArray) -> IntArray:
    """Rows and columns of the projections of a sub-network, ``(n_layers, n_projections, 2)``.

    Args:
        head_counts: heads that each layer keeps, ``(n_layers,)``.
        unit_counts: units that each layer keeps, ``(n_layers,)``.
    """
    queries, keys = head_counts * dims.head_width, head_counts * dims.head_size
    outer = {"query": queries, "key": keys, "value": keys, "attention_output": queries}
    names, width = projection_names(dims), np.full(dims.n_layers, dims.hidden_size)
    sides = [(outer.get(name, unit_counts), width) for name in names]
    # The outputs of an output projection are the hidden states.
    sides = [(n, m) if name.endswith("_output") else (m, n) for name, (m, n) in zip(names, sides, strict=True)]
    return np.array(sides, dtype=np.int64).transpose(2, 0, 1)


def whole_ranks(shapes: IntArray) -> IntArray:
    """The smallest ranks at which two matrices hold no fewer weights than one, ``(...)``; shapes are ``(..., 2)``."""
    rows, columns = shapes[..., 0], shapes[..., 1]
    return np.asarray(-(-(rows * columns) // np.maximum(rows + columns, 1)), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class FactoredNetwork(SubNetwork):
    """A sub-network, some of whose projections are products of two matrices.

    Attributes:
        ranks: rank of each projection, ``(n_layers, n_projections)``, in the order of :func:`projection_names`;
            :data:`WHOLE` for one matrix. A rank of 0 leaves the bias only.
    """

    ranks: IntArray

    def __post_init__(self) -> None:
        super().__post_init__()
        ranks = np.array(self.ranks)
        if ranks.ndim != 2 or len(ranks) != len(self.heads) or not np.issubdtype(ranks.dtype, np.integer):
            raise ValueError(f"ranks are integers, (n_layers, n_projections), not {ranks.dtype} {ranks.shape}")
        ranks = ranks.astype(np.int64)
        ranks.setflags(write=False)
        object.__setattr__(self, "ranks", ranks)

    @classmethod
    def at_most(cls, subnetwork: SubNetwork, ranks: IntArray, dims: Dimensions) -> FactoredNetwork:
        """The network with these ranks. A projection whose factors would spare no weight stays one matrix.

        Args:
            ranks: 0 or more, ``(n_layers, n_projections)``.
        """
        limits = whole_ranks(projection_shapes(dims, subnetwork.head_counts, subnetwork.unit_counts))
        return cls(subnetwork.heads, subnetwork.units, np.where(ranks < limits, ranks, WHOLE))

    @property
    def is_factored(self) -> bool:
        return True

    def n_spared(self, dims: Dimensions) -> IntArray:
        shapes = projection_shapes(dims, self.head_counts, self.unit_counts)
        return np.asarray(spared(shapes, self.ranks).sum(axis=0), dtype=np.int64)

    def check(self, dims: Dimensions) -> None:
        super().check(dims)
        shapes = projection_shapes(dims, self.head_counts, self.unit_counts)
        if self.ranks.shape != shapes.shape[:2]:
            raise ValueError(f"ranks {self.ranks.shape} do not fit {shapes.shape[:2]} projections")
        if (self.ranks < WHOLE).any() or (self.ranks >= whole_ranks(shapes)).any():
            raise ValueError("a rank is below 0, or its two matrices hold no fewer weights than one")

    @cached_property
    def key(self) -> str:
        digest = hashlib.sha256(f"{SubNetwork(self.heads, self.units).key} {self.ranks.shape}".encode())
        digest.update(self.ranks.tobytes())
        return digest.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FactoredNetwork):
            return NotImplemented if not isinstance(other, SubNetwork) else False
        return super().__eq__(other) is True and np.array_equal(self.ranks, other.ranks)

    def __hash__(self) -> int:
        return hash(self.key)


def spared(shapes: IntArray, ranks: IntArray) -> IntArray:
    """Weights that factors spare, ``(...)``: m n - r (m + n), or 0 for :data:`WHOLE`.

    Args:
        shapes: rows and columns ``(..., 2)``.
        ranks: ``(...)``.
    """
    rows, columns = shapes[..., 0], shapes[..., 1]
    return np.asarray(np.where(ranks == WHOLE, 0, rows * columns - ranks * (rows + columns)), dtype=np.int64)
