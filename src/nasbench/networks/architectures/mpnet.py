"""MPNet (Song et al. 2020): BERT's blocks, and a bias of attention scores by relative position.

All layers share one table of the bias, with one column for each head. A layer that has lost heads keeps the table and
reads the columns of the heads that it has.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor

from nasbench.networks.adapter import AttentionBlock
from nasbench.networks.architectures.bert import Bert
from nasbench.networks.modeling_pruned import NarrowSelfAttention, SkippedAttention


class MPNet(Bert):
    """An MPNet."""

    def attention(self, layer: int) -> AttentionBlock | None:
        block = cast(Any, self.layers[layer]).attention
        if isinstance(block, SkippedAttention):
            return None
        return AttentionBlock(block.attn.q, block.attn.k, block.attn.v, block.attn.o, block.LayerNorm)

    def bypass_attention(self, hooks: ExitStack, layer: int) -> None:
        block = cast(Any, self.layers[layer]).attention
        hooks.callback(block.register_forward_hook(lambda _module, inputs, _output: (inputs[0], None)).remove)

    def keep_heads(self, layer: int, heads: list[int]) -> None:
        block = cast(Any, self.layers[layer]).attention
        before = getattr(block.attn, "heads", None)
        block.attn = NarrowSelfAttention(block.attn, heads if before is None else [before[i] for i in heads])

    def position_bias(self, layer: int, length: int) -> Tensor | None:
        encoder = self.base.encoder
        positions = torch.arange(length, device=encoder.relative_attention_bias.weight.device)
        buckets = encoder.relative_position_bucket(positions[None, :] - positions[:, None])
        bias = encoder.relative_attention_bias(buckets).permute(2, 0, 1)
        heads = getattr(cast(Any, self.layers[layer]).attention.attn, "heads", None)
        return cast(Tensor, bias if heads is None else bias[heads])

    @property
    def first_position(self) -> int:
        return int(self.base.embeddings.padding_idx) + 1

    def classify(self, first_token: Tensor) -> Tensor:
        if self.is_multiple_choice:
            return super().classify(first_token)
        return cast(Tensor, self.model.classifier(first_token[:, None]))
