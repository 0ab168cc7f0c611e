"""Heads and units in order of importance, so that "the first h" of a search space are the best h.

SMALL and MEDIUM keep prefixes. In a pre-trained network the order within a layer means nothing, so a prefix is a random
choice; after sorting it is a good one. Permuting the heads or the units of a layer leaves the network's function as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nasbench.adapter import head_rows
from nasbench.supernet import SuperNetwork


def order_by_magnitude(network: SuperNetwork) -> None:
    """Permute heads and units of every layer, in place, by descending product of incoming and outgoing weight norms.

    For a unit that is ``|w_in| |w_out|``; for a head ``|W_value| |W_output|`` (Frobenius): a bound on what it can add to
    the residual stream. It needs no data and no pass.
    """
    with torch.no_grad():
        for layer in range(network.dims.n_layers):
            attention, feed_forward = network.adapter.attention(layer), network.adapter.feed_forward(layer)
            if attention is not None:
                size = network.dims.head_size
                value = attention.value.weight.unflatten(0, (-1, size)).flatten(1).norm(dim=1)
                output = attention.output.weight.unflatten(1, (-1, size)).transpose(0, 1).flatten(1).norm(dim=1)
                rows = head_rows(_descending(value * output), size)
                for projection in (attention.query, attention.key, attention.value):
                    _permute_rows(projection, rows)
                attention.output.weight.copy_(attention.output.weight[:, rows])
            if feed_forward is not None:
                incoming = feed_forward.intermediate.weight.norm(dim=1)
                units = _descending(incoming * feed_forward.output.weight.norm(dim=0))
                _permute_rows(feed_forward.intermediate, units)
                feed_forward.output.weight.copy_(feed_forward.output.weight[:, units])
    network.refresh()


def _descending(importance: Tensor) -> Tensor:
    return importance.argsort(descending=True, stable=True)


def _permute_rows(layer: torch.nn.Linear, rows: Tensor) -> None:
    layer.weight.copy_(layer.weight[rows])
    layer.bias.copy_(layer.bias[rows])
