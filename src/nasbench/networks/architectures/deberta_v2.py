"""DeBERTa-v2 and v3 (He et al. 2021): a BERT whose attention scores compare content with relative positions.

All layers share one table of relative positions. The projections of query and key are applied to it as to the hidden
states (``share_att_key``), so a head owns nothing else. The classifier has a pooler of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from nasbench.networks.architectures.bert import Bert
from nasbench.networks.architectures.modeling.modeling_pruned import SkippedAttention
from nasbench.networks.attention import LongestTable
from nasbench.networks.blocks import AttentionBlock, Projection, RelativePositions


class DebertaV2(Bert):
    """A DeBERTa-v2 with relative positions in both directions and shared projections, as published."""

    needs_a_layer: ClassVar[bool] = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._places: LongestTable[Tensor] = LongestTable()

    def prepare(self, output_is_new: bool) -> str | None:  # noqa: ARG002
        config = self.model.config
        if self.base.encoder.conv is not None:
            return "a DeBERTa-v2 with a convolution cannot be pruned"
        is_published = config.relative_attention and getattr(config, "share_att_key", False)
        if not is_published or {"p2c", "c2p"} != set(config.pos_att_type or ()):
            return "a DeBERTa-v2 needs relative_attention, share_att_key and pos_att_type p2c|c2p to be pruned"
        return None

    def attention(self, layer: int) -> AttentionBlock | None:
        block = cast(Any, self.layers[layer]).attention
        if isinstance(block, SkippedAttention):
            return None
        inner, output = block.self, block.output
        return AttentionBlock(
            Projection(inner.query_proj), Projection(inner.key_proj), Projection(inner.value_proj),
            Projection(output.dense), output.LayerNorm, scale=(3 * inner.attention_head_size) ** -0.5,
        )  # fmt: skip

    def keep_heads(self, layer: int, heads: list[int]) -> None:
        inner = cast(Any, self.layers[layer]).attention.self
        inner.num_attention_heads, inner.all_head_size = len(heads), len(heads) * inner.attention_head_size

    @property
    def n_relative_positions(self) -> int:
        return len(self.base.encoder.rel_embeddings.weight)

    def relative_positions(self, layer: int, length: int) -> RelativePositions:  # noqa: ARG002
        encoder, span = self.base.encoder, self.n_relative_positions // 2
        device = encoder.rel_embeddings.weight.device

        def make() -> Tensor:
            distances = encoder.get_rel_pos(torch.empty(1, length, 1, device=device))[0]
            return cast(Tensor, (distances + span).clamp(0, 2 * span - 1))

        places = self._places.of(length, device, make)[:length, :length]
        return RelativePositions(encoder.get_rel_embedding(), places)

    @property
    def has_token_types(self) -> bool:
        return self.base.embeddings.token_type_embeddings is not None

    def embed(
        self, words: Tensor, token_type_ids: Tensor, mask: Tensor | None,  # noqa: ARG002
        places: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Normalised word vectors ``(n, length, d)``, with types and absolute positions where the network has them."""
        embeddings = self.base.embeddings
        if embeddings.position_embeddings is not None:
            table = embeddings.position_embeddings.weight
            words = words + (table[: words.shape[1]] if places is None else table[places])
        if self.has_token_types:
            words = words + embeddings.token_type_embeddings(token_type_ids)
        if embeddings.embed_proj is not None:
            words = embeddings.embed_proj(words)
        return cast(Tensor, embeddings.LayerNorm(words))

    def classify(self, states: Tensor) -> Tensor:
        return cast(Tensor, self.model.classifier(self.model.dropout(self.model.pooler(states[:, None]))))
