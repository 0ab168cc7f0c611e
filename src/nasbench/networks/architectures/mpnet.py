"""MPNet (Song et al. 2020): a RoBERTa with a bias of attention scores by relative position.

All layers share one table of the bias, with one column for each head. A layer that has lost heads keeps the table and
reads the columns of the heads that it has.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.networks.architectures.modeling.modeling_pruned import NarrowSelfAttention, SkippedAttention
from nasbench.networks.architectures.roberta import Roberta
from nasbench.networks.attention import LongestTable
from nasbench.networks.blocks import AttentionBlock, Projection
from nasbench.networks.subnetwork import SubNetwork


class MPNet(Roberta):
    """An MPNet."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._buckets: LongestTable[Tensor] = LongestTable()
        self._indices: dict[tuple[torch.device, tuple[int, ...]], Tensor] = {}

    def attention(self, layer: int) -> AttentionBlock | None:
        block = cast(Any, self.layers[layer]).attention
        if isinstance(block, SkippedAttention):
            return None
        inner = block.attn
        return AttentionBlock(
            Projection(inner.q), Projection(inner.k), Projection(inner.v), Projection(inner.o), block.LayerNorm
        )

    def bypass_attention(self, hooks: ExitStack, layer: int) -> None:
        block = cast(Any, self.layers[layer]).attention
        hooks.callback(block.register_forward_hook(lambda _module, inputs, _output: (inputs[0], None)).remove)

    def keep_heads(self, layer: int, heads: list[int]) -> None:
        block = cast(Any, self.layers[layer]).attention
        before = getattr(block.attn, "heads", None)
        block.attn = NarrowSelfAttention(block.attn, heads if before is None else [before[i] for i in heads])

    def pruned_options(self, subnetwork: SubNetwork, kept: list[int]) -> dict[str, Any]:
        heads = [np.flatnonzero(subnetwork.heads[i]).tolist() for i in kept]
        return super().pruned_options(subnetwork, kept) | {"kept_heads": heads}

    def position_bias(self, layer: int, length: int) -> Tensor | None:
        bias = self.base.encoder.relative_attention_bias(self._bucket(length))
        heads = getattr(cast(Any, self.layers[layer]).attention.attn, "heads", None)
        if heads is not None:
            bias = bias.index_select(2, self._index(heads, bias.device))
        return cast(Tensor, bias.permute(2, 0, 1).contiguous())  # fused attention of a GPU needs rows without gaps

    def _index(self, heads: list[int], device: torch.device) -> Tensor:
        """The heads that a layer has kept, copied to the device once: a recording refuses copies."""
        key = device, tuple(heads)
        if key not in self._indices:
            with torch.inference_mode(False):
                self._indices[key] = torch.tensor(heads, device=device)
        return self._indices[key]

    def _bucket(self, length: int) -> Tensor:
        """Row of the table for each pair of positions, ``(length, length)``. All layers and shorter texts share it."""
        encoder = self.base.encoder
        device = encoder.relative_attention_bias.weight.device

        def make() -> Tensor:
            positions = torch.arange(length, device=device)
            return cast(Tensor, encoder.relative_position_bucket(positions[None, :] - positions[:, None]))

        return self._buckets.of(length, device, make)[:length, :length]
