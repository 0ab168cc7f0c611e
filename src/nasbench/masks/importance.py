"""Gradients of the loss with respect to masks over heads and units, at masks of one.

The gradient with respect to a mask that multiplies an activation a is <a, dL/da>. So no mask is needed: hooks compute
the product during the backward pass. One backward pass gives the gradients of every example in a batch, because the
activations of an example do not influence the loss of any other example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from nasbench.arrays import BoolArray
from nasbench.data.batching import Batch, evaluation_batches
from nasbench.declarations.task import Kind
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.evaluation import MAX_PADDING
from nasbench.training.losses import summed_loss

if TYPE_CHECKING:
    from nasbench.data.splits import Split

MAX_TOKENS = {"cpu": 2048, "cuda": 16384}
"""Tokens per batch, including padding. The backward pass needs the activations of all layers in memory."""


def batches(split: Split, network: SuperNetwork, pad_id: int) -> Iterator[Batch]:
    """All examples of a split once, in order of length, in batches small enough for a backward pass."""
    device = network.device.type
    for batch in evaluation_batches(split, pad_id, MAX_TOKENS[device], MAX_PADDING[device]):
        yield batch.to(network.device)


def head_gradients(
    network: SuperNetwork, batch: Batch, kind: Kind, subnetwork: SubNetwork, per_token: bool = False
) -> Tensor:
    """Gradients of each example's loss with respect to masks over heads.

    Args:
        network: the full network; runs in eval mode, and its weights get no gradient.
        subnetwork: the sub-network of ``network`` to run.
        per_token: use a separate mask for each token and sum the *absolute values* of their gradients.

    Returns:
        ``(n_examples, n_layers, n_heads)``; 0 for pruned heads.
    """
    dims = network.dims

    def run(part: Batch) -> tuple[Tensor, ...]:
        found = torch.zeros(len(part.input_ids), dims.n_layers, dims.n_heads, device=network.device)

        def note(layer: int, context: Tensor, gradient: Tensor) -> None:
            per_head = (context * gradient).view(*context.shape[:2], -1, dims.head_width).sum(-1)
            found[:, layer, _kept(subnetwork.heads[layer])] = (per_head.abs() if per_token else per_head).sum(1)

        _backward(network, part, kind, subnetwork, on_heads=note)
        return (_by_example(found, network),)

    return _within_memory(run, batch)[0]


def mask_gradients(network: SuperNetwork, batch: Batch, kind: Kind, subnetwork: SubNetwork) -> tuple[Tensor, Tensor]:
    """Gradients of each example's loss with respect to masks over heads and units.

    Returns:
        ``(n_examples, n_layers, n_heads)`` and ``(n_examples, n_layers, n_units)``; 0 for pruned heads and units.
    """
    dims = network.dims

    def run(part: Batch) -> tuple[Tensor, ...]:
        heads = torch.zeros(len(part.input_ids), dims.n_layers, dims.n_heads, device=network.device)
        units = torch.zeros(len(part.input_ids), dims.n_layers, dims.n_units, device=network.device)

        def note_heads(layer: int, context: Tensor, gradient: Tensor) -> None:
            products = (context * gradient).sum(1)
            heads[:, layer, _kept(subnetwork.heads[layer])] = products.view(len(heads), -1, dims.head_width).sum(-1)

        def note_units(layer: int, inner: Tensor, gradient: Tensor) -> None:
            units[:, layer, _kept(subnetwork.units[layer])] = (inner * gradient).sum(1)

        _backward(network, part, kind, subnetwork, note_heads, note_units)
        return _by_example(heads, network), _by_example(units, network)

    of_heads, of_units = _within_memory(run, batch)
    return of_heads, of_units


def _within_memory(run: Callable[[Batch], tuple[Tensor, ...]], batch: Batch) -> tuple[Tensor, ...]:
    """Tensors by example. A batch that does not fit the memory is computed in halves, and so on.

    Raises:
        torch.OutOfMemoryError: if one example does not fit either.
    """
    try:
        return run(batch)
    except torch.OutOfMemoryError:
        if len(batch.index) == 1:
            raise
    if batch.input_ids.device.type == "cuda":
        torch.cuda.empty_cache()
    parts = [_within_memory(run, half) for half in batch.halves()]
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


_Note = Callable[[int, Tensor, Tensor], None]
"""Receives a layer, the outputs of its heads or units ``(n, length, width)``, and their gradient; both fp32."""


def _backward(
    network: SuperNetwork,
    batch: Batch,
    kind: Kind,
    subnetwork: SubNetwork,
    on_heads: _Note,
    on_units: _Note | None = None,
) -> None:
    """Run the summed loss of the examples forward and backward; pass activations and gradients to the callbacks."""
    slices = network.slices(subnetwork)
    last_attention = max((i for i, layer_slice in enumerate(slices) if layer_slice.head_rows is not None), default=-1)
    with torch.enable_grad(), _without_weight_gradients(network):
        hidden = network.embed(batch)
        if last_attention == -1:
            hidden = network.read(hidden, batch.attention_mask)
        for i, layer_slice in enumerate(slices):
            entering = hidden
            # As in SuperNetwork.encode: after the last attention block, only the tokens read influence the loss.
            if layer_slice.head_rows is not None:
                is_last = i == last_attention
                context = network.context(i, layer_slice, hidden, batch.attention_mask, read_only=is_last)
                _watch(context, i, on_heads)
                entering = network.read(hidden, batch.attention_mask) if is_last else hidden
                hidden = network.attention_output(i, layer_slice, context, entering)
            if layer_slice.units is not None:
                inner = network.inner(i, layer_slice, network.feed_forward_input(entering, hidden))
                if on_units is not None:
                    _watch(inner, i, on_units)
                hidden = network.feed_forward_output(i, layer_slice, inner, hidden)
        logits = network.classify(network.states(hidden), batch)
        cast(Any, summed_loss(kind, logits, batch.labels)).backward()


def _watch(output: Tensor, layer: int, note: _Note) -> None:
    if not output.requires_grad:
        output.requires_grad_()  # the first block: nothing before it requires a gradient
    values = output.detach()  # a reference to the tensor itself would keep the graph alive
    cast(Any, output).register_hook(lambda gradient: note(layer, values.float(), gradient.float()))


@contextmanager
def _without_weight_gradients(network: SuperNetwork) -> Iterator[None]:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()


def _kept(mask: BoolArray) -> Tensor:
    return torch.from_numpy(np.flatnonzero(mask))


def _by_example(gradients: Tensor, network: SuperNetwork) -> Tensor:
    """Sum over the choices of an example, which share their masks: ``(n_examples, ...)``."""
    return gradients.view(-1, network.n_choices, *gradients.shape[1:]).sum(1)
