"""Linear layers on slices of shared weights: viewed, not copied, and with gradients added in place.

A sub-network of a super-network uses some rows (or columns) of each weight matrix. Autograd's own slicing would
allocate a full-size zero gradient for every slice of every pass; here a pass adds its gradient straight into the
slice of ``weight.grad`` that it used, so cost and memory of a step fall with the size of the sub-network.
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
"""Which rows or columns of a matrix are active: a prefix as a slice (a view), anything else as indices (a copy)."""


@dataclass(frozen=True)
class LayerSlice:
    """The active part of one layer; None where the block is skipped."""

    head_rows: Slice | None
    units: Slice | None
    n_heads: int


def layer_slices(subnetwork: SubNetwork, head_size: int, device: torch.device) -> list[LayerSlice]:
    """The active part of every layer of a sub-network of a full-size network."""
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
    """y = x W[rows, columns]^T + b[rows], see :func:`sliced_linear`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, values: Tensor, shift: Tensor, part: Slice, by_rows: bool
    ) -> Tensor:
        active = _select(values, part, 0 if by_rows else 1)
        ctx.save_for_backward(x, active)
        ctx.weight, ctx.bias, ctx.part, ctx.by_rows = weight, bias, part, by_rows
        return nn.functional.linear(x, active, _select(shift, part, 0) if by_rows else shift)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, active = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, active.shape[0])
        rows = x.reshape(-1, active.shape[1])
        _accumulate(ctx.weight, gradient.t(), rows, ctx.part, 0 if ctx.by_rows else 1)
        _accumulate_bias(ctx.bias, gradient.sum(0), ctx.part if ctx.by_rows else None)
        return (gradient @ active).view(x.shape), None, None, None, None, None, None


def sliced_linear(x: Tensor, layer: nn.Linear, part: Slice, by_rows: bool, values: Tensor, shift: Tensor) -> Tensor:
    """Apply the active rows (``by_rows``) or columns of a linear layer.

    Args:
        x: ``(..., n_in)``, n_in = the number of active columns.
        layer: owns the parameters whose ``grad`` is added to in the backward pass.
        part: active rows (outputs) or columns (inputs).
        values: weight in the dtype to compute in; the parameter itself, or a lower-precision copy.
        shift: bias, likewise.
    """
    if torch.is_grad_enabled():
        apply = cast(Any, _SlicedLinear.apply)
        return cast(Tensor, apply(x, layer.weight, layer.bias, values, shift, part, by_rows))
    active = _select(values, part, 0 if by_rows else 1)
    return nn.functional.linear(x, active, _select(shift, part, 0) if by_rows else shift)


def _select(tensor: Tensor, part: Slice, dim: int) -> Tensor:
    if isinstance(part, slice):
        return tensor[part] if dim == 0 else tensor[:, part]
    return tensor.index_select(dim, part)


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _accumulate(weight: Tensor, left: Tensor, right: Tensor, part: Slice, dim: int) -> None:
    """Add ``left @ right`` to the active part of the weight's gradient."""
    if not weight.requires_grad:
        return
    total = _gradient(weight)
    if isinstance(part, slice):
        target = total[part] if dim == 0 else total[:, part]
        if left.dtype == target.dtype:
            target.addmm_(left, right)
        else:
            target.add_(left @ right)
    else:
        total.index_add_(dim, part, (left @ right).to(total.dtype))


def _accumulate_bias(bias: Tensor, gradient: Tensor, part: Slice | None) -> None:
    if not bias.requires_grad:
        return
    total = _gradient(bias)
    if part is None:
        total.add_(gradient)
    elif isinstance(part, slice):
        total[part].add_(gradient)
    else:
        total.index_add_(0, part, gradient.to(total.dtype))
