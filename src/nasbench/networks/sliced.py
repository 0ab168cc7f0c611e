"""Linear layers on slices of shared weights, which use views instead of copies and add gradients in place.

A sub-network of a super-network uses some rows or columns of each weight matrix. Autograd's own slicing allocates a
full-size zero gradient for every slice of every pass. Here a pass adds its gradient directly to the slice of
``weight.grad`` that it used. So the time and memory of a step fall with the size of the sub-network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.arrays import BoolArray
from nasbench.networks.adapter import head_rows
from nasbench.networks.subnetwork import SubNetwork

Slice = slice | Tensor
"""Active rows or columns of a matrix: a ``slice`` for a prefix, which gives a view; else indices, which give a copy."""


@dataclass(frozen=True)
class LayerSlice:
    """The active heads and units of one layer.

    Attributes:
        head_rows: rows of the active heads in the projections; None if the attention block is skipped.
        units: active units; None if the feed-forward block is skipped.
        n_heads: number of active heads.
    """

    head_rows: Slice | None
    units: Slice | None
    n_heads: int


def layer_slices(subnetwork: SubNetwork, head_size: int, device: torch.device) -> list[LayerSlice]:
    """The active heads and units of every layer of a sub-network, as slices of the full-size network."""
    return [
        LayerSlice(_slice(heads, head_size, device), _slice(units, 1, device), int(heads.sum()))
        for heads, units in zip(subnetwork.heads, subnetwork.units, strict=True)
    ]


def _slice(mask: BoolArray, width: int, device: torch.device) -> Slice | None:
    n = int(mask.sum())
    if n == 0:
        return None
    if mask[:n].all():
        return slice(0, n * width)
    indices = torch.from_numpy(np.flatnonzero(mask))
    return (head_rows(indices, width) if width > 1 else indices).to(device)


class _SlicedLinear(torch.autograd.Function):
    """y = x W[rows, columns]^T + b[rows]; see :func:`sliced_linear`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, values: Tensor, shift: Tensor, kept: Slice, by_rows: bool
    ) -> Tensor:
        active = _select(values, kept, 0 if by_rows else 1)
        ctx.save_for_backward(x, active)
        ctx.weight, ctx.bias, ctx.kept, ctx.by_rows = weight, bias, kept, by_rows
        return nn.functional.linear(x, active, _select(shift, kept, 0) if by_rows else shift)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, active = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, active.shape[0])
        rows = x.reshape(-1, active.shape[1])
        _accumulate(ctx.weight, gradient.t(), rows, ctx.kept, 0 if ctx.by_rows else 1)
        _accumulate_bias(ctx.bias, gradient.sum(0), ctx.kept if ctx.by_rows else None)
        return (gradient @ active).view(x.shape), None, None, None, None, None, None


def sliced_linear(x: Tensor, layer: nn.Linear, kept: Slice, by_rows: bool, values: Tensor, shift: Tensor) -> Tensor:
    """Apply the active rows (``by_rows``) or columns of a linear layer.

    Args:
        x: ``(..., n_in)``, n_in = the number of active columns.
        layer: the layer whose parameters get the gradients: the backward pass adds them to ``grad``.
        kept: active rows (outputs) or columns (inputs).
        by_rows: whether ``kept`` selects rows.
        values: weight in the data type of the computation: the parameter itself or a copy in lower precision.
        shift: bias in the same data type.

    Returns:
        ``(..., n_out)``, n_out = the number of active rows.
    """
    if torch.is_grad_enabled():
        apply = cast(Any, _SlicedLinear.apply)
        return cast(Tensor, apply(x, layer.weight, layer.bias, values, shift, kept, by_rows))
    active = _select(values, kept, 0 if by_rows else 1)
    return nn.functional.linear(x, active, _select(shift, kept, 0) if by_rows else shift)


def _select(tensor: Tensor, kept: Slice, dim: int) -> Tensor:
    if isinstance(kept, slice):
        return tensor[kept] if dim == 0 else tensor[:, kept]
    return tensor.index_select(dim, kept)


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _accumulate(weight: Tensor, left: Tensor, right: Tensor, kept: Slice, dim: int) -> None:
    """Add ``left @ right`` to the active slice of the weight's gradient."""
    if not weight.requires_grad:
        return
    total = _gradient(weight)
    if isinstance(kept, slice):
        target = total[kept] if dim == 0 else total[:, kept]
        if left.dtype == target.dtype:
            target.addmm_(left, right)
        else:
            target.add_(left @ right)
    else:
        total.index_add_(dim, kept, (left @ right).to(total.dtype))


def _accumulate_bias(bias: Tensor, gradient: Tensor, kept: Slice | None) -> None:
    if not bias.requires_grad:
        return
    total = _gradient(bias)
    if kept is None:
        total.add_(gradient)
    elif isinstance(kept, slice):
        total[kept].add_(gradient)
    else:
        total.index_add_(0, kept, gradient.to(total.dtype))
