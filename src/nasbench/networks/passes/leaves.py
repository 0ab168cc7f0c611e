"""Copies of parameters as the leaves of a step's autograd graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from nasbench.networks.blocks import Projection


class Leaves:
    """Copies in the data type of the pass, so a parameter is cast once a step, and gradients that are added at once.

    If a step uses each copy once, autograd keeps its gradient without adding it to anything. So there is no launch for
    each parameter: :meth:`refresh` and :meth:`add_gradients` serve all of them together.

    Args:
        dtype: data type of the copies. A copy in fp32 of a single parameter has the parameter's memory.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._leaves: list[_Leaf] = []

    def of(self, parameter: Tensor) -> Tensor:
        """A leaf with the values of a parameter."""
        return self._add([_Source(parameter)])

    def of_projections(self, *projections: Projection) -> tuple[Tensor, Tensor | None]:
        """Leaves with the weights ``(n_out, n_in)`` and the biases ``(n_out,)`` of projections, one below the other.

        The second is None if they have no biases.
        """
        weight = self._add([_Source(p.module.weight, p.part_of) for p in projections])
        if projections[0].bias is None:
            return weight, None
        return weight, self._add([_Source(p.module.bias, p.part_of) for p in projections])

    def refresh(self) -> None:
        """Copy the parameters."""
        pairs = list(chain.from_iterable(leaf.copies() for leaf in self._leaves))
        if pairs:
            with torch.no_grad():
                torch._foreach_copy_([copy for copy, _ in pairs], [source for _, source in pairs])

    def add_gradients(self) -> None:
        """Add the gradients of the leaves to the ``grad`` of the parameters, and forget them."""
        pairs = list(chain.from_iterable(leaf.gradients() for leaf in self._leaves))
        if not pairs:
            return
        totals, gradients = [total for total, _ in pairs], [gradient for _, gradient in pairs]
        if gradients[0].dtype != totals[0].dtype:  # adding lists of two data types would be a launch for each tensor
            in_full = [torch.empty_like(total) for total in totals]
            torch._foreach_copy_(in_full, gradients)
            gradients = in_full
        torch._foreach_add_(totals, gradients)
        for leaf in self._leaves:
            leaf.values.grad = None

    def _add(self, sources: list[_Source]) -> Tensor:
        parts = [source.values for source in sources]
        is_shared = len(parts) == 1 and parts[0].dtype == self._dtype
        values = parts[0] if is_shared else torch.cat([part.to(self._dtype) for part in parts])
        values.requires_grad_(any(source.parameter.requires_grad for source in sources))
        self._leaves.append(_Leaf(values, sources, is_shared))
        return values


def _whole(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class _Source:
    """A parameter and the part of it, or of its gradient, that a leaf copies."""

    parameter: Tensor
    part_of: Callable[[Tensor], Tensor] = _whole

    @property
    def values(self) -> Tensor:
        return self.part_of(self.parameter.detach())


@dataclass(frozen=True)
class _Leaf:
    """A leaf of autograd and its sources, one below the other; ``is_shared`` if it has its only source's memory."""

    values: Tensor
    sources: list[_Source]
    is_shared: bool

    def copies(self) -> list[tuple[Tensor, Tensor]]:
        """Each part of the leaf with its source; nothing if they share memory."""
        if self.is_shared:
            return []
        return [(part, source.values) for part, source in self._parts(self.values.detach())]

    def gradients(self) -> list[tuple[Tensor, Tensor]]:
        """The gradient of each parameter with what is added to it."""
        if self.values.grad is None:
            return []
        return [
            (source.part_of(source.parameter.grad), part)
            for part, source in self._parts(self.values.grad)
            if source.parameter.requires_grad and source.parameter.grad is not None
        ]

    def _parts(self, whole: Tensor) -> list[tuple[Tensor, _Source]]:
        sizes = [len(source.values) for source in self.sources]
        return list(zip(torch.split(whole, sizes), self.sources, strict=True))
