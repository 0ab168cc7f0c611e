"""DistilBERT (Sanh et al. 2019): BERT without token types and pooler, and with other names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasbench.networks.adapter import Adapter
from nasbench.networks.architectures.modeling.modeling_pruned import NoAttention, NoFeedForward
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock, Projection


class DistilBert(Adapter):
    """A DistilBERT. A layer adds the outputs of its blocks itself, so a removed block returns zeros."""

    layers_key: ClassVar[str] = "n_layers"
    heads_key: ClassVar[str] = "n_heads"
    units_key: ClassVar[str] = "hidden_dim"
    can_pack: ClassVar[bool] = True

    @property
    def layers_name(self) -> str:
        return "distilbert.transformer.layer"

    def attention(self, layer: int) -> AttentionBlock | None:
        block = cast(Any, self.layers[layer])
        inner = block.attention
        if isinstance(inner, NoAttention):
            return None
        return AttentionBlock(
            Projection(inner.q_lin), Projection(inner.k_lin), Projection(inner.v_lin), Projection(inner.out_lin),
            block.sa_layer_norm, has_dropout=False,
        )  # fmt: skip

    def feed_forward(self, layer: int) -> FeedForwardBlock | None:
        block = cast(Any, self.layers[layer])
        inner = block.ffn
        if isinstance(inner, NoFeedForward):
            return None
        return FeedForwardBlock(
            Projection(inner.lin1), inner.activation, Projection(inner.lin2), block.output_layer_norm
        )

    def skip_attention(self, layer: int) -> None:
        block = cast(Any, self.layers[layer])
        block.attention, block.sa_layer_norm = NoAttention(), nn.Identity()

    def skip_feed_forward(self, layer: int) -> None:
        block = cast(Any, self.layers[layer])
        block.ffn, block.output_layer_norm = NoFeedForward(), nn.Identity()

    def bypass_attention(self, hooks: ExitStack, layer: int) -> None:
        block = cast(Any, self.layers[layer])
        _replace(hooks, block.attention, lambda inputs: (torch.zeros_like(inputs), None))
        _replace(hooks, block.sa_layer_norm, lambda inputs: inputs)

    def bypass_feed_forward(self, hooks: ExitStack, layer: int) -> None:
        block = cast(Any, self.layers[layer])
        hooks.callback(
            block.ffn.register_forward_hook(lambda _module, _inputs, output: torch.zeros_like(output)).remove
        )
        _replace(hooks, block.output_layer_norm, lambda inputs: inputs)

    def classify(self, states: Tensor) -> Tensor:
        pooled = functional.relu(self.model.pre_classifier(states))
        return cast(Tensor, self.model.classifier(self.model.dropout(pooled)))

    @property
    def hidden_dropout(self) -> float:
        return float(self.model.config.dropout)

    @property
    def attention_dropout(self) -> float:
        return float(self.model.config.attention_dropout)


def _replace(hooks: ExitStack, module: nn.Module, result: Callable[[Tensor], Any]) -> None:
    """Make a module return a function of its first input, until ``hooks`` is closed."""
    hooks.callback(module.register_forward_hook(lambda _module, inputs, _output: result(inputs[0])).remove)
