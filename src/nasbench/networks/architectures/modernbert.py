"""ModernBERT (Warner et al. 2024): an encoder with a norm before each block, gates, and rotary positions.

Query, key and value are one layer, and so are both inputs of the feed-forward block. Some layers see all tokens, the
others a window; the two kinds have rotary positions of different bases. The attention block of the first layer has no
norm: the embeddings have just passed one.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from nasbench.networks.architectures.pre_norm import PreNorm
from nasbench.networks.attention import LongestTable
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock, Projection
from nasbench.networks.subnetwork import SubNetwork


class ModernBert(PreNorm):
    """A ModernBERT whose classifier reads the first token."""

    needs_a_layer: ClassVar[bool] = True
    attention_names: ClassVar[tuple[str, str]] = ("attn", "attn_norm")
    feed_forward_names: ClassVar[tuple[str, str]] = ("mlp", "mlp_norm")
    last_norm_name: ClassVar[str] = "final_norm"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._rotary: dict[str, LongestTable[tuple[Tensor, Tensor]]] = {}

    def prepare(self, output_is_new: bool) -> str | None:
        """A new classifier reads the first token, also where the network would read the mean of all tokens."""
        config = self.model.config
        if config.classifier_pooling != "cls" and not output_is_new:
            return "its trained classifier reads the mean of all tokens, and only the first token can be read"
        config.classifier_pooling = "cls"
        return None

    def attention_block(self, inner: Any, norm: nn.Module) -> AttentionBlock:
        query, key, value = (Projection(inner.Wqkv, i, 3) for i in range(3))
        return AttentionBlock(query, key, value, Projection(inner.Wo), norm, norm_first=True, has_dropout=False)

    def feed_forward_block(self, inner: Any, norm: nn.Module) -> FeedForwardBlock:
        activated, gate = (Projection(inner.Wi, i, 2) for i in range(2))
        return FeedForwardBlock(
            activated, inner.act, Projection(inner.Wo), norm, gate=gate, norm_first=True, has_dropout=False
        )

    def rotary(self, layer: int, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines ``(length, head_size)``, fp32. Layers of a kind and shorter texts share them."""
        device, kind = self.word_embeddings.weight.device, self.model.config.layer_types[layer]

        def make() -> tuple[Tensor, Tensor]:
            places = torch.arange(length, device=device)[None]
            cosines, sines = self.base.rotary_emb(torch.empty(0, device=device), places, kind)
            return cosines[0], sines[0]

        cosines, sines = self._rotary.setdefault(kind, LongestTable()).of(length, device, make)
        return cosines[:length], sines[:length]

    def window(self, layer: int) -> int | None:
        config = self.model.config
        return int(config.sliding_window) + 1 if config.layer_types[layer] == "sliding_attention" else None

    def embed(
        self, words: Tensor, token_type_ids: Tensor, mask: Tensor | None,  # noqa: ARG002
        places: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:  # fmt: skip
        """Normalised word vectors ``(n, length, d)``: rotary positions act on queries and keys."""
        return cast(Tensor, self.base.embeddings.norm(words))

    def classify(self, states: Tensor) -> Tensor:
        pooled = self.model.head(self.last_norm(states))
        return cast(Tensor, self.model.classifier(self.model.drop(pooled)))

    @property
    def hidden_dropout(self) -> float:
        """Dropout of the embeddings. Published networks have none after their blocks."""
        return float(self.model.config.embedding_dropout)

    @property
    def attention_dropout(self) -> float:
        return float(self.model.config.attention_dropout)

    def stock_options(self, subnetwork: SubNetwork, kept: list[int]) -> dict[str, Any] | None:
        """As for BERT, if the first layer stays: the stock class gives any first layer no norm."""
        options = super().stock_options(subnetwork, kept)
        return None if options is None or kept[:1] != [0] else options | self.layer_types(kept)

    def pruned_options(self, subnetwork: SubNetwork, kept: list[int]) -> dict[str, Any]:
        options = super().pruned_options(subnetwork, kept) | self.layer_types(kept)
        return options | {"has_first_layer": kept[:1] == [0]}
