"""Sub-networks of a transformer: the kept heads and feed-forward units, and the number of their parameters.

Symbols of the paper (section 3): L layers, H heads of size d_h each, U feed-forward units, model width d. A sub-network
is a pair of masks M_head in {0,1}^(L x H) and M_neuron in {0,1}^(L x U), 1 = keep. A block without a kept head or unit
is skipped together with its bias and norm, so it has no parameters. With grouped queries, H counts the groups: one key
head, one value head and the query heads that share them are kept or pruned together.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nasbench.arrays import BoolArray, IntArray


@dataclass(frozen=True)
class Dimensions:
    """The sizes of a network that determine the numbers of parameters of its sub-networks.

    The defaults are those of BERT: projections and norms with biases, one query head a key head, one input matrix of
    the feed-forward block.

    Attributes:
        n_heads: most heads of a layer; with grouped queries, most groups.
        n_units: most units of a layer.
        head_size: size of a query, key or value.
        n_fixed_params: parameters outside the blocks: embeddings, last norm, pooler and head.
        n_queries: query heads that share a key and a value.
        n_inputs: input matrices of the feed-forward block, 2 if there is a gate.
        n_head_biases: biases of a head; None for one in each row of its query, key and value.
        n_unit_biases: biases of a unit.
        n_attention_rest: parameters of a non-empty attention block beside its heads; None for 3 d: an output bias and a
            LayerNorm.
        n_first_attention_rest: the same for the first layer, where it differs: ModernBERT has no norm there.
        n_feed_forward_rest: parameters of a non-empty feed-forward block beside its units; None for 3 d.
        heads_by_layer: heads that each layer has, the first of ``n_heads``, if a network that was pruned before is
            pruned again; None if every layer has all.
        units_by_layer: likewise.
        n_relative_positions: relative positions with which every head compares queries and keys (DeBERTa).

    Raises:
        ValueError: for numbers by layer that do not fit.
    """

    n_layers: int
    n_heads: int
    n_units: int
    hidden_size: int
    head_size: int
    n_fixed_params: int
    n_queries: int = 1
    n_inputs: int = 1
    n_head_biases: int | None = None
    n_unit_biases: int = 1
    n_attention_rest: int | None = None
    n_feed_forward_rest: int | None = None
    heads_by_layer: tuple[int, ...] | None = None
    units_by_layer: tuple[int, ...] | None = None
    n_first_attention_rest: int | None = None
    n_relative_positions: int = 0

    def __post_init__(self) -> None:
        for name, most in (("heads_by_layer", self.n_heads), ("units_by_layer", self.n_units)):
            counts = getattr(self, name)
            if counts is None:
                continue
            if len(counts) != self.n_layers or not all(0 <= n <= most for n in counts):
                raise ValueError(f"{name} must be {self.n_layers} numbers from 0 to {most}, not {list(counts)}")
            object.__setattr__(self, name, tuple(counts))  # records hold lists

    @classmethod
    def from_json(cls, sizes: Mapping[str, Any]) -> Dimensions:
        """The inverse of :meth:`to_json`.

        Raises:
            TypeError: if a size is missing, or for a name that is none.
            ValueError: for numbers by layer that do not fit.
        """
        return cls(**sizes)

    def to_json(self) -> dict[str, int | list[int]]:
        """The sizes by name for a record, without those that have their default."""
        values = {field.name: (getattr(self, field.name), field.default) for field in dataclasses.fields(self)}
        found = {name: value for name, (value, default) in values.items() if value != default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    @property
    def most_heads(self) -> IntArray:
        """Number of heads that each layer has, ``(n_layers,)``."""
        return np.array(self.heads_by_layer or [self.n_heads] * self.n_layers, dtype=np.int64)

    @property
    def most_units(self) -> IntArray:
        """Number of units that each layer has, ``(n_layers,)``."""
        return np.array(self.units_by_layer or [self.n_units] * self.n_layers, dtype=np.int64)

    @property
    def head_width(self) -> int:
        """Size of the output of a head: of all its queries together."""
        return self.n_queries * self.head_size

    def macs_of_head(self, length: float) -> float:
        """Multiply-accumulates of one head for a text of ``length`` tokens, which may be a mean length.

        A head projects n tokens of width d to queries of width w and a key and a value of width d_h, multiplies n^2
        pairs of them twice, and projects back: 2 n d (w + d_h) + 2 n^2 w. Without groups of queries, w = d_h. With r
        relative positions, it projects those to queries and keys and multiplies them with n keys and queries:
        2 r d_h (d + n).
        """
        d, w, r = self.hidden_size, self.head_width, self.n_relative_positions
        content = 2 * length * d * (w + self.head_size) + 2 * length**2 * w
        return content + 2 * r * self.head_size * (d + length)

    def macs_of_unit(self, length: float) -> float:
        """Multiply-accumulates of one unit for a text of ``length`` tokens: 2 n d with one input matrix."""
        return (self.n_inputs + 1) * length * self.hidden_size

    @property
    def n_params_per_head(self) -> int:
        """Parameters of one head: rows of query, key and value with their biases, and columns of the output."""
        biases = self.head_width + 2 * self.head_size if self.n_head_biases is None else self.n_head_biases
        return 2 * self.hidden_size * (self.head_width + self.head_size) + biases

    @property
    def n_params_per_unit(self) -> int:
        """Parameters of one unit: rows and a column of the feed-forward block, and its biases."""
        return (self.n_inputs + 1) * self.hidden_size + self.n_unit_biases

    @property
    def n_params_per_attention(self) -> int:
        """Parameters of a non-empty attention block beside its heads: an output bias and a norm."""
        return 3 * self.hidden_size if self.n_attention_rest is None else self.n_attention_rest

    @property
    def _attention_rest(self) -> IntArray:
        """:attr:`n_params_per_attention` of each layer, ``(n_layers,)``."""
        rest = np.full(self.n_layers, self.n_params_per_attention, dtype=np.int64)
        if self.n_first_attention_rest is not None:
            rest[0] = self.n_first_attention_rest
        return rest

    @property
    def n_params_per_feed_forward(self) -> int:
        """Parameters of a non-empty feed-forward block beside its units: an output bias and a norm."""
        return 3 * self.hidden_size if self.n_feed_forward_rest is None else self.n_feed_forward_rest

    @property
    def n_params(self) -> int:
        """Number of parameters of the full network."""
        return int(self.count_params(self.most_heads, self.most_units))

    @property
    def n_filling_params(self) -> int:
        """Number of zeros that fill layers up to the widest, if a network that was pruned before is pruned again."""
        widest = [self.n_heads] * self.n_layers, [self.n_units] * self.n_layers
        return int(self.count_params(*widest)) - self.n_params

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
            + (heads > 0) * self._attention_rest
            + (units > 0) * self.n_params_per_feed_forward
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
        return cls.from_counts(dims.most_heads, dims.most_units, dims)

    @classmethod
    def from_counts(cls, head_counts: npt.ArrayLike, unit_counts: npt.ArrayLike, dims: Dimensions) -> SubNetwork:
        """The sub-network of the first ``head_counts[l]`` heads and ``unit_counts[l]`` units of each layer l.

        A layer that has fewer keeps all that it has.
        """
        heads = np.arange(dims.n_heads) < np.minimum(head_counts, dims.most_heads)[:, None]
        units = np.arange(dims.n_units) < np.minimum(unit_counts, dims.most_units)[:, None]
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
        return int(dims.count_params(self.head_counts, self.unit_counts) - np.sum(self.n_spared(dims)))

    @property
    def is_factored(self) -> bool:
        """Whether projections may be products of two matrices, see :mod:`nasbench.networks.factored`."""
        return False

    def n_spared(self, dims: Dimensions) -> IntArray | int:  # noqa: ARG002 - a sub-network has whole projections
        """Weights that factors spare in each projection, of all layers together, ``(n_projections,)``; 0 for none."""
        return 0

    def check(self, dims: Dimensions) -> None:
        """Raise :class:`ValueError` unless the masks fit ``dims``."""
        heads, units = (dims.n_layers, dims.n_heads), (dims.n_layers, dims.n_units)
        if self.heads.shape != heads or self.units.shape != units:
            raise ValueError(
                f"masks {self.heads.shape} and {self.units.shape} do not fit a network of {heads} and {units}"
            )
        if dims.heads_by_layer is None and dims.units_by_layer is None:
            return
        full = SubNetwork.full(dims)
        if (self.heads & ~full.heads).any() or (self.units & ~full.units).any():
            raise ValueError("the masks keep heads or units that the network does not have")

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
