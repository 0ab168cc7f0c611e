"""Attention and feed-forward blocks of a stock layer: their projections, activation and norm.

A projection is a linear layer of its own, or a part of a layer that computes several at once, as GPT-2's ``c_attn``
does. Code outside works on projections and does not see the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from nasbench.arrays import FloatArray


@dataclass(frozen=True)
class Projection:
    """A linear map ``y = x W^T + b`` inside a stock layer.

    Attributes:
        module: an ``nn.Linear``, with or without bias, or a ``Conv1D`` of transformers, which stores W^T.
        index: the part of the layer's outputs that this projection computes, counted from 0.
        n_parts: number of equal parts into which the outputs are divided.
    """

    module: Any
    index: int = 0
    n_parts: int = 1

    @property
    def is_transposed(self) -> bool:
        """Whether the layer stores W^T."""
        return isinstance(self.module, Conv1D)

    @property
    def weight(self) -> Tensor:
        """W, ``(n_out, n_in)``: a view of the layer's parameter."""
        return self.part_of(self.module.weight)

    @property
    def bias(self) -> Tensor | None:
        """b, ``(n_out,)``: a view of the layer's parameter; None if it has none."""
        return None if self.module.bias is None else self.part_of(self.module.bias)

    def part_of(self, tensor: Tensor) -> Tensor:
        """This projection's part of a tensor in the shape of the layer's weight or bias, as W or b: a view."""
        if tensor.dim() == 2 and self.is_transposed:
            tensor = tensor.t()
        if self.n_parts == 1:
            return tensor
        size = len(tensor) // self.n_parts
        return tensor[self.index * size : (self.index + 1) * size]

    def scale_columns(self, scales: FloatArray) -> None:
        """Multiply the columns of W by real values ``(n_in,)``, in place."""
        weight = self.weight
        weight.mul_(torch.as_tensor(scales, dtype=torch.float32, device=weight.device))


@dataclass(frozen=True)
class AttentionBlock:
    """Attention block of one layer. Rows of query, key and value and columns of output belong to heads, in order.

    With grouped queries, a head is a group: one key head, one value head and the query heads that share them.

    Attributes:
        norm: LayerNorm or RMSNorm of the block.
        norm_first: whether the norm is applied to the input of the block. Otherwise, to the sum of input and output.
        has_dropout: whether training drops elements of the output.
        scale: factor of the attention scores; None for 1 / sqrt(head size).
    """

    query: Projection
    key: Projection
    value: Projection
    output: Projection
    norm: nn.Module
    norm_first: bool = False
    has_dropout: bool = True
    scale: float | None = None


@dataclass(frozen=True)
class FeedForwardBlock:
    """Feed-forward block of one layer. Each row of an input projection and each column of ``output`` belongs to a unit.

    Attributes:
        intermediate: the projection whose outputs pass the activation.
        gate: a second projection, whose outputs multiply the activations; None if there is none. A unit owns a row of
            both.
        norm: LayerNorm or RMSNorm of the block.
        norm_first: whether the norm is applied to the input of the block. Otherwise, to the sum of input and output.
        has_dropout: whether training drops elements of the output.
    """

    intermediate: Projection
    activation: Any
    output: Projection
    norm: nn.Module
    gate: Projection | None = None
    norm_first: bool = False
    has_dropout: bool = True

    @property
    def inputs(self) -> tuple[Projection, ...]:
        """The projections of the block's input."""
        return (self.intermediate,) if self.gate is None else (self.intermediate, self.gate)


@dataclass(frozen=True)
class RelativePositions:
    """Vectors that stand for relative positions in the attention scores of a layer (DeBERTa).

    The projections of query and key are applied to them, too; see :func:`nasbench.networks.attention.relative_scores`.

    Attributes:
        table: ``(n_positions, d)``.
        places: row of the table for each pair of tokens, ``(length, length)``.
    """

    table: Tensor
    places: Tensor


def head_rows(heads: Tensor, head_size: int) -> Tensor:
    """Row indices ``(n * head_size,)`` of the heads ``(n,)`` in a projection."""
    return (heads[:, None] * head_size + torch.arange(head_size, device=heads.device)).reshape(-1)


def heads_of(rows: Tensor, head_size: int) -> Tensor:
    """Numbers of the heads that own the rows of a projection; the inverse of :func:`head_rows`."""
    return rows[::head_size].div(head_size, rounding_mode="floor")


def keep_outputs(kept: Sequence[tuple[Projection, Tensor]]) -> None:
    """Reduce layers to some of their outputs, in place.

    Args:
        kept: projections with the indices of the rows of W that stay; for a layer of several parts, all its parts.
    """
    rows_of_module: dict[Any, list[tuple[int, Tensor]]] = {}
    for projection, rows in kept:
        start = projection.index * len(projection.weight)
        rows_of_module.setdefault(projection.module, []).append((projection.index, rows + start))
    for module, parts in rows_of_module.items():
        rows = torch.cat([rows for _, rows in sorted(parts, key=lambda part: part[0])])
        _select(Projection(module), rows, dim=0)
        if module.bias is not None:
            module.bias = nn.Parameter(module.bias.detach().index_select(0, rows.to(module.bias.device)))


def keep_inputs(projection: Projection, columns: Tensor) -> None:
    """Reduce a layer to some of its inputs, in place.

    Args:
        columns: indices of the columns of W that stay.
    """
    _select(projection, columns, dim=1)


def _select(whole: Projection, indices: Tensor, dim: int) -> None:
    """Reduce dimension ``dim`` of a layer's W."""
    layer = whole.module
    stored = 1 - dim if whole.is_transposed else dim
    layer.weight = nn.Parameter(layer.weight.detach().index_select(stored, indices.to(layer.weight.device)))
    n_out, n_in = whole.weight.shape
    if whole.is_transposed:
        layer.nf, layer.nx = n_out, n_in
    else:
        layer.out_features, layer.in_features = n_out, n_in
