"""Factored projections in a stock model: two linear layers in the place of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.errors import UserError
from nasbench.networks.blocks import Projection
from nasbench.networks.factored.structure import PROJECTIONS, WHOLE, FactoredNetwork, projection_names
from nasbench.networks.subnetwork import Dimensions

if TYPE_CHECKING:
    from nasbench.networks.adapter import Adapter
    from nasbench.networks.supernet import SuperNetwork

Place = tuple[int, str]
"""A layer and the name of one of its projections."""
FactorPair = tuple[Tensor, Tensor]
"""B ``(n_out, r)`` and A ``(r, n_in)`` of W = B A."""


class Factors(nn.Sequential):
    """y = x A^T B^T + b: a linear layer to r features without a bias, and one from there to the outputs."""

    def __init__(self, n_in: int, rank: int, n_out: int, bias: nn.Parameter | None, device: torch.device) -> None:
        super().__init__(_zeros(n_in, rank, device), _zeros(rank, n_out, device))
        self.parts[1].module.bias = bias

    @property
    def rank(self) -> int:
        """r."""
        return len(self.parts[0].weight)

    @property
    def weight(self) -> Tensor:
        """W = B A, ``(n_out, n_in)``; computed anew."""
        first, second = self.parts
        return second.weight @ first.weight

    @property
    def bias(self) -> Tensor | None:
        """b, ``(n_out,)``; None if there is none."""
        return self.parts[1].bias

    @property
    def parts(self) -> tuple[Projection, Projection]:
        """The two layers in the order in which they are applied."""
        return Projection(self[0]), Projection(self[1])


def _zeros(n_in: int, n_out: int, device: torch.device) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False, device="meta")  # the stock initialisation draws random numbers
    layer.in_features, layer.out_features = n_in, n_out
    layer.weight = nn.Parameter(torch.zeros(n_out, n_in, device=device))
    return layer


def projections(adapter: Adapter) -> Iterator[tuple[Place, Projection]]:
    """All projections of a model, by layer in the order of the structure; those of removed blocks are left out."""
    for layer in range(len(adapter.layers)):
        attention, feed_forward = adapter.attention(layer), adapter.feed_forward(layer)
        found: dict[str, Projection | None] = {}
        if attention is not None:
            found |= {"query": attention.query, "key": attention.key, "value": attention.value}
            found |= {"attention_output": attention.output}
        if feed_forward is not None:
            found |= {"intermediate": feed_forward.intermediate, "gate": feed_forward.gate}
            found |= {"feed_forward_output": feed_forward.output}
        for name in PROJECTIONS:
            projection = found.get(name)
            if projection is not None:
                yield (layer, name), projection


def check_can_be_factored(adapter: Adapter) -> None:
    """Check that every projection is a layer of its own.

    Raises:
        UserError: if a layer of the model computes several projections at once.
    """
    for _, projection in projections(adapter):
        layer = projection.module
        if type(layer) is not nn.Linear or projection.n_parts > 1:
            raise UserError(
                f"a {type(adapter.model).__name__} has no projections of their own that could be factored: one "
                "layer computes several; take another model, or another space than 'ranks'"
            )


def split_projections(adapter: Adapter, structure: FactoredNetwork, dims: Dimensions) -> None:
    """Put factors of zeros in the place of projections, in place. Biases stay.

    Args:
        adapter: of a model that has been reduced to the heads and units of the structure.

    Raises:
        UserError: if a layer of the model computes several projections at once.
    """
    ranks = ranks_by_place(structure, dims)
    chosen = [(projection, ranks[place]) for place, projection in projections(adapter) if ranks[place] != WHOLE]
    if chosen:
        check_can_be_factored(adapter)
    made: dict[nn.Module, Factors] = {}
    for projection, rank in chosen:
        layer = projection.module
        made[layer] = Factors(layer.in_features, rank, layer.out_features, layer.bias, layer.weight.device)
    for parent in list(adapter.model.modules()):
        for name, child in list(parent.named_children()):
            if child in made:
                setattr(parent, name, made[child])


def ranks_by_place(structure: FactoredNetwork, dims: Dimensions) -> dict[Place, int]:
    """The rank of each projection; :data:`WHOLE` for one matrix."""
    names = projection_names(dims)
    return {(layer, names[i]): int(rank) for (layer, i), rank in np.ndenumerate(structure.ranks)}


def factored(
    network: SuperNetwork, structure: FactoredNetwork, factors: Mapping[Place, FactorPair], name: str
) -> SuperNetwork:
    """A network with the given factors in the place of projections; all other parameters are copies.

    Args:
        network: the full network.
        structure: the ranks.
        factors: B and A of each projection that the structure factors.
        name: name of the result.

    Raises:
        ValueError: if factors are missing or have other shapes.
        UserError: if a layer of the model computes several projections at once.
    """
    small = network.extract(structure, name)
    with torch.no_grad():
        for place, projection in projections(small.adapter):
            if not isinstance(projection.module, Factors):
                continue
            for part, given in zip(projection.module.parts, reversed(factors[place]), strict=True):
                if part.weight.shape != given.shape:
                    due = tuple(part.weight.shape)
                    raise ValueError(f"a factor of {place} is {tuple(given.shape)} where {due} is due")
                part.weight.copy_(given)
    small.refresh()
    return small
