"""Linear layers on slices of shared weights, which use views instead of copies and add gradients in place.

A sub-network of a super-network uses some rows or columns of each weight matrix. Autograd's own slicing allocates a
full-size zero gradient for every slice of every pass. Here a pass adds its gradient directly to the slice of
``weight.grad`` that it used. So the time and memory of a step fall with the size of the sub-network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from nasbench.arrays import BoolArray
from nasbench.networks.blocks import Projection, head_rows
from nasbench.networks.subnetwork import Dimensions, SubNetwork

_WIDTH_GRID, _LENGTH_GRID = 128, 8
"""Rows or columns, and tokens; see :func:`width_grid`."""

Slice = slice | Tensor
"""Active rows or columns of a matrix: a ``slice`` for a prefix, which gives a view; else indices, which give a copy."""


@dataclass(frozen=True)
class LayerSlice:
    """The active heads and units of one layer.

    Attributes:
        head_rows: rows of the active heads in key and value; None if the attention block is skipped.
        query_rows: rows of the active heads in the query, and their columns in the output; None if it is skipped.
        units: active units; None if the feed-forward block is skipped.
        n_heads: number of active heads.
    """

    head_rows: Slice | None
    query_rows: Slice | None
    units: Slice | None
    n_heads: int


def layer_slices(subnetwork: SubNetwork, dims: Dimensions, device: torch.device) -> list[LayerSlice]:
    """The active heads and units of every layer of a sub-network, as slices of the full-size network."""
    slices: list[list[Slice | None]] = []
    for heads, units in zip(subnetwork.heads, subnetwork.units, strict=True):
        rows = _slice(heads, dims.head_size)
        slices.append([rows, rows if dims.n_queries == 1 else _slice(heads, dims.head_width), _slice(units, 1)])
    moved = iter(on_device([part for parts in slices for part in parts if isinstance(part, Tensor)], device))
    placed = [[next(moved) if isinstance(part, Tensor) else part for part in parts] for parts in slices]
    counts = subnetwork.head_counts.tolist()
    return [LayerSlice(rows, queries, units, n) for (rows, queries, units), n in zip(placed, counts, strict=True)]


def on_device(tensors: list[Tensor], device: torch.device) -> list[Tensor]:
    """Integer vectors on a device: to a GPU in one copy, without waiting for it."""
    if device.type == "cpu" or not tensors:
        return tensors
    joined = torch.cat(tensors)
    if device.type == "cuda":
        joined = joined.pin_memory()
    return list(torch.split(joined.to(device, non_blocking=True), [len(tensor) for tensor in tensors]))


def length_grid(dtype: torch.dtype, device: torch.device) -> int:
    """Padded sequences run fastest with multiples of so many tokens; see :func:`width_grid`."""
    return 1 if width_grid(dtype, device) == 1 else _LENGTH_GRID


def width_grid(dtype: torch.dtype, device: torch.device) -> int:
    """Matrix products run fastest with multiples of so many active rows or columns.

    In bf16 on a CPU, the library (oneDNN) compiles a kernel for each new shape of a product, which takes several times
    as long as the product. So shapes come from a grid. What is computed in addition is cut off or multiplied by zeros.
    """
    return _WIDTH_GRID if dtype == torch.bfloat16 and device.type == "cpu" else 1


def _slice(mask: BoolArray, width: int) -> Slice | None:
    n = int(mask.sum())
    if n == 0:
        return None
    if mask[:n].all():
        return slice(0, n * width)
    indices = torch.from_numpy(np.flatnonzero(mask))
    return head_rows(indices, width) if width > 1 else indices


_gathered: ContextVar[dict[Any, tuple[Slice, Tensor]] | None] = ContextVar("gathered", default=None)


@contextmanager
def gathering() -> Iterator[None]:
    """Copy the active rows and columns of each weight once, for all passes without gradients inside.

    The weights must not change inside.
    """
    token = _gathered.set({})
    try:
        yield
    finally:
        _gathered.reset(token)


class _SlicedLinear(torch.autograd.Function):
    """y = x W[rows, columns]^T + b[rows]; see :func:`sliced_linear`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, _weight: Tensor, _bias: Tensor | None, projection: Projection, values: Tensor,
        shift: Tensor | None, kept: Slice, by_rows: bool,
    ) -> Tensor:  # fmt: skip
        active = _select(values, kept, 0 if by_rows else 1)
        x = _padded(x, active.shape[1])
        ctx.save_for_backward(x, active)
        ctx.projection, ctx.kept, ctx.by_rows = projection, kept, by_rows
        y = nn.functional.linear(x, active, _active_shift(shift, kept, by_rows))
        return _cut(y, kept) if by_rows else y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, active = ctx.saved_tensors
        gradient = _padded(gradients[0], len(active)).flatten(0, -2)
        rows = x.flatten(0, -2)  # also without columns, at a rank of 0
        _accumulate(ctx.projection, gradient.t(), rows, ctx.kept, 0 if ctx.by_rows else 1)
        _accumulate_bias(ctx.projection, gradient.sum(0), ctx.kept if ctx.by_rows else None)
        before = (gradient @ active).view(x.shape)
        return before if ctx.by_rows else _cut(before, ctx.kept), None, None, None, None, None, None, None


def sliced_linear(
    x: Tensor, projection: Projection, kept: Slice, by_rows: bool, values: Tensor, shift: Tensor | None
) -> Tensor:
    """Apply the active rows (``by_rows``) or columns of a projection.

    Args:
        x: ``(..., n_in)``, n_in = the number of active columns.
        projection: its layer's parameters get the gradients: the backward pass adds them to ``grad``.
        kept: active rows (outputs) or columns (inputs).
        by_rows: whether ``kept`` selects rows.
        values: W in the data type of the computation: the parameter itself or a copy in lower precision.
        shift: bias in the same data type; None without a bias.

    Returns:
        ``(..., n_out)``, n_out = the number of active rows.
    """
    if torch.is_grad_enabled():
        apply = cast(Any, _SlicedLinear.apply)
        layer = projection.module  # its parameters make autograd call the backward pass
        return cast(Tensor, apply(x, layer.weight, layer.bias, projection, values, shift, kept, by_rows))
    active = _select_once((projection, "weight"), values, kept, 0 if by_rows else 1)
    if by_rows and shift is not None:
        shift = _select_once((projection, "bias"), shift, kept, 0)
    y = nn.functional.linear(_padded(x, active.shape[1]), active, shift)
    return _cut(y, kept) if by_rows else y


def _active_shift(shift: Tensor | None, kept: Slice, by_rows: bool) -> Tensor | None:
    return _select(shift, kept, 0) if by_rows and shift is not None else shift


def _count(kept: Slice, size: int) -> int:
    """Number of active rows or columns, of ``size``."""
    return len(range(size)[kept]) if isinstance(kept, slice) else len(kept)


def _width(n: int, size: int, values: Tensor) -> int:
    """With how many rows or columns, of ``size``, the n active ones are computed."""
    grid = width_grid(values.dtype, values.device)
    return min(size, -(-n // grid) * grid)


def _select(tensor: Tensor, kept: Slice, dim: int) -> Tensor:
    """The active rows or columns, then those up to the grid: any that follow a prefix, zeros after indices."""
    size = tensor.shape[dim]
    n = _count(kept, size)
    width = _width(n, size, tensor)
    if isinstance(kept, slice):
        return tensor.narrow(dim, 0, width)
    active = tensor.index_select(dim, kept)
    if width == n:
        return active
    wide = tensor.new_zeros(*tensor.shape[:dim], width, *tensor.shape[dim + 1 :])
    wide.narrow(dim, 0, n).copy_(active)
    return wide


def _padded(x: Tensor, n_columns: int) -> Tensor:
    """With zeros in the last columns."""
    return nn.functional.pad(x, (0, n_columns - x.shape[-1])) if x.shape[-1] < n_columns else x


def _cut(x: Tensor, kept: Slice) -> Tensor:
    """Without the columns after the active ones."""
    n = _count(kept, x.shape[-1])
    return x if n == x.shape[-1] else x[..., :n]


def _select_once(key: tuple[Projection, str], tensor: Tensor, kept: Slice, dim: int) -> Tensor:
    """As :func:`_select`, from what was gathered before inside :func:`gathering`."""
    gathered = _gathered.get()
    if gathered is None or isinstance(kept, slice):
        return _select(tensor, kept, dim)
    place = (*key, id(kept))
    if place not in gathered:
        gathered[place] = kept, _select(tensor, kept, dim)  # holding the indices keeps their id from being reused
    return gathered[place][1]


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _accumulate(projection: Projection, left: Tensor, right: Tensor, kept: Slice, dim: int) -> None:
    """Add ``left @ right`` to the active slice of the weight's gradient. Beyond that slice, the product is zero."""
    weight = projection.module.weight
    if not weight.requires_grad:
        return
    total = projection.part_of(_gradient(weight))
    if isinstance(kept, slice):
        target = total.narrow(dim, 0, len(left) if dim == 0 else right.shape[1])
        if left.dtype == target.dtype:
            target.addmm_(left, right)
        else:
            target.add_(left @ right)
    else:  # no index occurs twice, so a GPU adds in the same order every time
        total.index_add_(dim, kept, (left @ right).narrow(dim, 0, len(kept)).to(total.dtype))


def _accumulate_bias(projection: Projection, gradient: Tensor, kept: Slice | None) -> None:
    bias = projection.module.bias
    if bias is None or not bias.requires_grad:
        return
    total = projection.part_of(_gradient(bias))
    if kept is None:
        total.add_(gradient)
    elif isinstance(kept, slice):
        total[: len(gradient)].add_(gradient)
    else:
        total.index_add_(0, kept, gradient[: len(kept)].to(total.dtype))


_Copy = tuple[Tensor, Tensor | None]


class LowPrecisionCopies:
    """bf16 copies of the weights and biases of all linear layers and LayerNorms, cast once per step, not once per pass.

    Gradients of linear layers do not pass the copies (:func:`sliced_linear`); those of LayerNorms pass a cast.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._copies: dict[Any, _Copy] = {}
        self._seen: list[tuple[int, int]] = []
        self.refresh()

    def refresh(self) -> None:
        """Cast all parameters again."""
        layers = [m for m in self._model.modules() if isinstance(m, nn.Linear | Conv1D | nn.LayerNorm)]
        with torch.no_grad():
            if set(layers) != set(self._copies):
                self._copies = {m: _cast(m) for m in layers}
            else:
                targets = [t for m in layers for t in self._copies[m] if t is not None]
                torch._foreach_copy_(targets, [p.detach() for m in layers for p in _parameters(m)])
        self._seen = self._versions()

    def refresh_if_stale(self) -> None:
        """Cast again if a parameter has been replaced, or changed in a way that autograd sees."""
        if self._versions() != self._seen:
            self.refresh()

    def of_norm(self, norm: nn.LayerNorm) -> _Copy:
        """Weight and bias of a LayerNorm, None if it has no bias: copies where no gradient is asked for."""
        return _cast(norm) if torch.is_grad_enabled() else self._copies[norm]

    def _versions(self) -> list[tuple[int, int]]:
        return [(id(p), p._version) for m in self._copies for p in _parameters(m)]

    def __getitem__(self, layer: nn.Module) -> _Copy:
        """The copies of a layer's weight and bias, None if it has no bias."""
        return self._copies[layer]


def _cast(layer: Any) -> _Copy:
    return layer.weight.bfloat16(), None if layer.bias is None else layer.bias.bfloat16()


def _parameters(layer: Any) -> list[nn.Parameter]:
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
