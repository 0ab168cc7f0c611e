"""Sub-networks of a transformer encoder: the kept heads and feed-forward units, and the number of their parameters.

Symbols of the paper (section 3): L layers, H heads of size d_h each, U feed-forward units, model width d. A sub-network
is a pair of masks M_head in {0,1}^(L x H) and M_neuron in {0,1}^(L x U), 1 = keep. A block without a kept head or unit
is skipped together with its bias and LayerNorm, so it has no parameters.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nasbench.arrays import BoolArray, IntArray


@dataclass(frozen=True)
class Dimensions:
    """The sizes of a network that determine the numbers of parameters of its sub-networks.

    ``n_fixed_params`` counts the parameters outside the encoder blocks: embeddings, pooler and classifier.
    """

    n_layers: int
    n_heads: int
    n_units: int
    hidden_size: int
    head_size: int
    n_fixed_params: int

    @property
    def n_params_per_head(self) -> int:
        """Parameters of one head: rows of query, key and value with their biases, and columns of the output."""
        return 3 * (self.hidden_size * self.head_size + self.head_size) + self.head_size * self.hidden_size

    @property
    def n_params_per_unit(self) -> int:
        """Parameters of one unit: a row and a column of the feed-forward block, and a bias."""
        return 2 * self.hidden_size + 1

    @property
    def n_params_per_block(self) -> int:
        """Parameters of a non-empty block beside its heads or units: an output bias and a LayerNorm."""
        return 3 * self.hidden_size

    @property
    def n_params(self) -> int:
        """Number of parameters of the full network."""
        block = self.n_heads * self.n_params_per_head + self.n_units * self.n_params_per_unit
        return self.n_fixed_params + self.n_layers * (block + 2 * self.n_params_per_block)

    def count_params(self, head_counts: npt.ArrayLike, unit_counts: npt.ArrayLike) -> IntArray:
        """Numbers of parameters of sub-networks, from the numbers of heads and units that each layer keeps.

        Args:
            head_counts: integers, shape ``(..., n_layers)``.
            unit_counts: integers, the same shape.

        Returns:
            Integers, shape ``(...)``: exactly ``sum(p.numel())`` of the extracted networks.

        Raises:
            ValueError: for other shapes.
        """
        heads, units = np.asarray(head_counts, dtype=np.int64), np.asarray(unit_counts, dtype=np.int64)
        if heads.shape != units.shape or heads.shape[-1] != self.n_layers:
            raise ValueError(
                f"head_counts {heads.shape} and unit_counts {units.shape} must both be (..., {self.n_layers})"
            )
        per_layer = (
            heads * self.n_params_per_head
            + units * self.n_params_per_unit
            + ((heads > 0).astype(np.int64) + (units > 0)) * self.n_params_per_block
        )
        return np.asarray(self.n_fixed_params + per_layer.sum(axis=-1), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class SubNetwork:
    """The kept heads and units of each layer. Immutable. Sub-networks with equal masks are equal.

    Attributes:
        heads: ``(n_layers, n_heads)``, True = keep.
        units: ``(n_layers, n_units)``, True = keep.
    """

    heads: BoolArray
    units: BoolArray

    def __post_init__(self) -> None:
        for name in ("heads", "units"):
            mask = np.array(getattr(self, name), dtype=np.bool_)
            if mask.ndim != 2:
                raise ValueError(f"{name} must be (n_layers, n), not {mask.shape}")
            mask.setflags(write=False)
            object.__setattr__(self, name, mask)
        if len(self.heads) != len(self.units):
            raise ValueError(f"heads {self.heads.shape} and units {self.units.shape} differ in layers")

    @classmethod
    def full(cls, dims: Dimensions) -> SubNetwork:
        """The sub-network that keeps all heads and units."""
        return cls(np.ones((dims.n_layers, dims.n_heads), np.bool_), np.ones((dims.n_layers, dims.n_units), np.bool_))

    @classmethod
    def from_counts(cls, head_counts: npt.ArrayLike, unit_counts: npt.ArrayLike, dims: Dimensions) -> SubNetwork:
        """The sub-network of the first ``head_counts[l]`` heads and ``unit_counts[l]`` units of each layer l."""
        heads = np.arange(dims.n_heads) < np.asarray(head_counts)[:, None]
        units = np.arange(dims.n_units) < np.asarray(unit_counts)[:, None]
        return cls(heads, units)

    @cached_property
    def head_counts(self) -> IntArray:
        """Number of kept heads in each layer, ``(n_layers,)``."""
        return np.asarray(self.heads.sum(axis=1), dtype=np.int64)

    @cached_property
    def unit_counts(self) -> IntArray:
        """Number of kept units in each layer, ``(n_layers,)``."""
        return np.asarray(self.units.sum(axis=1), dtype=np.int64)

    @property
    def n_active_layers(self) -> int:
        """Number of layers with at least one head or unit."""
        return int(((self.head_counts > 0) | (self.unit_counts > 0)).sum())

    def n_params(self, dims: Dimensions) -> int:
        """Number of parameters, exactly ``sum(p.numel())`` of the extracted network.

        Raises:
            ValueError: if the masks do not fit ``dims``.
        """
        self.check(dims)
        return int(dims.count_params(self.head_counts, self.unit_counts))

    def check(self, dims: Dimensions) -> None:
        """Raise :class:`ValueError` unless the masks fit ``dims``."""
        heads, units = (dims.n_layers, dims.n_heads), (dims.n_layers, dims.n_units)
        if self.heads.shape != heads or self.units.shape != units:
            raise ValueError(
                f"masks {self.heads.shape} and {self.units.shape} do not fit a network of {heads} and {units}"
            )

    @cached_property
    def key(self) -> str:
        """A short digest of the masks, which identifies the sub-network in records."""
        digest = hashlib.sha256(repr((self.heads.shape, self.units.shape)).encode())
        digest.update(np.packbits(self.heads).tobytes())
        digest.update(np.packbits(self.units).tobytes())
        return digest.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SubNetwork):
            return NotImplemented
        return np.array_equal(self.heads, other.heads) and np.array_equal(self.units, other.units)

    def __hash__(self) -> int:
        return hash(self.key)
