"""The masked pass: the full-size stock model with masks over heads and units, as published code does it.

It shares no arithmetic with the sliced pass, so tests compare the two. Methods that watch the stock modules of a
language model run it by :func:`stock_likelihood`, because all logits of a large vocabulary take too much memory.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from nasbench.data.batching import Batch
from nasbench.networks.blocks import Projection
from nasbench.networks.passes.likelihood import log_likelihood
from nasbench.networks.subnetwork import SubNetwork

if TYPE_CHECKING:
    from nasbench.networks.supernet import SuperNetwork


def masked_logits(
    network: SuperNetwork, batch: Batch, subnetwork: SubNetwork, head_mask: Tensor | None, unit_mask: Tensor | None
) -> Tensor:
    """Logits of a sub-network; see :meth:`nasbench.networks.supernet.SuperNetwork.masked`."""
    if head_mask is None:
        head_mask = torch.from_numpy(subnetwork.heads.copy()).float().to(network.device)
    if unit_mask is None:
        unit_mask = torch.from_numpy(subnetwork.units.copy()).float().to(network.device)
    adapter = network.adapter
    with ExitStack() as hooks:
        for i in range(len(adapter.layers)):
            attention, feed_forward = adapter.attention(i), adapter.feed_forward(i)
            if attention is not None:
                _scale_input(hooks, attention.output, head_mask[i].repeat_interleave(network.dims.head_width))
                if not subnetwork.heads[i].any():
                    adapter.bypass_attention(hooks, i)
            if feed_forward is not None:
                _scale_input(hooks, feed_forward.output, unit_mask[i])
                if not subnetwork.units[i].any():
                    adapter.bypass_feed_forward(hooks, i)
        return stock_logits(network, batch)


def stock_logits(network: SuperNetwork, batch: Batch) -> Tensor:
    """Logits of the stock model, without slices or masks."""
    adapter = network.adapter
    inputs = _stock_inputs(network, batch)
    if adapter.is_multiple_choice:
        inputs = {name: value.view(-1, network.n_choices, value.shape[-1]) for name, value in inputs.items()}
    logits = cast(Tensor, network.model(**inputs).logits)
    if adapter.readout == "every":
        logits = _log_likelihood(logits, batch)
    return logits.view(-1, network.n_choices) if network.n_choices > 1 else logits


def stock_likelihood(network: SuperNetwork, batch: Batch) -> Tensor:
    """:func:`stock_logits` of a language model. Only one chunk of tokens has its logits in memory at a time."""
    states = cast(Tensor, network.adapter.base(**_stock_inputs(network, batch), use_cache=False).last_hidden_state)
    logits = log_likelihood(network.adapter.output_layer, states, batch)
    return logits.view(-1, network.n_choices) if network.n_choices > 1 else logits


def _stock_inputs(network: SuperNetwork, batch: Batch) -> dict[str, Tensor]:
    adapter = network.adapter
    inputs = {"input_ids": batch.input_ids}
    if adapter.has_token_types:
        inputs["token_type_ids"] = batch.token_type_ids
    inputs["attention_mask"] = (
        torch.ones_like(batch.input_ids) if batch.attention_mask is None else batch.attention_mask.long()
    )
    if adapter.is_causal:  # the stock models would count padding on the left of a text
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    return inputs


def _log_likelihood(logits: Tensor, batch: Batch) -> Tensor:
    """Base-2 log-likelihood of the marked tokens ``(n, 1)``, from logits of all tokens ``(n, length, n_words)``."""
    shares = logits[:, :-1].log_softmax(-1).gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    counts = (batch.token_type_ids[:, 1:] == 1).to(shares.dtype)
    if batch.attention_mask is not None:
        counts = counts * batch.attention_mask[:, 1:]
    return (shares * counts).sum(1, keepdim=True) / math.log(2)


def _scale_input(hooks: ExitStack, projection: Projection, scale: Tensor) -> None:
    """Multiply the input of a stock projection by real values, until ``hooks`` is closed."""
    handle = projection.module.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * scale, *inputs[1:]))
    hooks.callback(handle.remove)
