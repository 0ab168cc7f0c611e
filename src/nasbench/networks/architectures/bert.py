"""BERT (Devlin et al. 2019). The blocks of RoBERTa and ELECTRA have the same layout."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from nasbench.networks.adapter import Adapter
from nasbench.networks.architectures.modeling.modeling_pruned import SkippedAttention, SkippedFeedForward
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock, Projection


class Bert(Adapter):
    """A BERT; its classifier reads a pooled first token."""

    can_pack: ClassVar[bool] = True

    def attention(self, layer: int) -> AttentionBlock | None:
        block = cast(Any, self.layers[layer]).attention
        if isinstance(block, SkippedAttention):
            return None
        inner, output = block.self, block.output
        return AttentionBlock(
            Projection(inner.query), Projection(inner.key), Projection(inner.value), Projection(output.dense),
            output.LayerNorm,
        )  # fmt: skip

    def feed_forward(self, layer: int) -> FeedForwardBlock | None:
        block = cast(Any, self.layers[layer])
        if isinstance(block.output, SkippedFeedForward):
            return None
        return FeedForwardBlock(
            Projection(block.intermediate.dense), block.intermediate.intermediate_act_fn,
            Projection(block.output.dense), block.output.LayerNorm,
        )  # fmt: skip

    def skip_attention(self, layer: int) -> None:
        cast(Any, self.layers[layer]).attention = SkippedAttention()

    def skip_feed_forward(self, layer: int) -> None:
        block = cast(Any, self.layers[layer])
        block.intermediate = nn.Identity()
        block.output = SkippedFeedForward()

    def bypass_attention(self, hooks: ExitStack, layer: int) -> None:
        _bypass(hooks, cast(Any, self.layers[layer]).attention.output)

    def bypass_feed_forward(self, hooks: ExitStack, layer: int) -> None:
        _bypass(hooks, cast(Any, self.layers[layer]).output)

    def classify(self, states: Tensor) -> Tensor:
        pooled = self.base.pooler(states[:, None])
        return cast(Tensor, self.model.classifier(self.model.dropout(pooled)))


def _bypass(hooks: ExitStack, output: nn.Module) -> None:
    """Make an output block return the residual that it gets as second argument."""
    hooks.callback(output.register_forward_hook(lambda _module, inputs, _output: inputs[1]).remove)
