"""GPT-2 (Radford et al. 2019): learnt positions, and query, key and value in one transposed layer."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from torch import Tensor, nn

from nasbench.networks.architectures.pre_norm import PreNormDecoder
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock, Projection


class GPT2(PreNormDecoder):
    """A GPT-2."""

    embeds_positions: ClassVar[bool] = True
    layers_key: ClassVar[str] = "n_layer"
    units_key: ClassVar[str] = "n_inner"
    attention_names: ClassVar[tuple[str, str]] = ("attn", "ln_1")
    feed_forward_names: ClassVar[tuple[str, str]] = ("mlp", "ln_2")
    last_norm_name: ClassVar[str] = "ln_f"

    @property
    def layers_name(self) -> str:
        return "transformer.h"

    def attention_block(self, inner: Any, norm: nn.Module) -> AttentionBlock:
        query, key, value = (Projection(inner.c_attn, i, 3) for i in range(3))
        return AttentionBlock(query, key, value, Projection(inner.c_proj), norm, norm_first=True, scale=inner.scaling)

    def feed_forward_block(self, inner: Any, norm: nn.Module) -> FeedForwardBlock:
        return FeedForwardBlock(Projection(inner.c_fc), inner.act, Projection(inner.c_proj), norm, norm_first=True)

    def keep_heads(self, layer: int, heads: list[int]) -> None:
        attention = cast(Any, self.layers[layer]).attn
        attention.split_size = len(heads) * attention.head_dim

    def embed(
        self, words: Tensor, token_type_ids: Tensor, mask: Tensor | None,  # noqa: ARG002
        places: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Sum of word vectors and positions. Positions count tokens, so padding on the left does not move a text."""
        positions = self.base.wpe
        if places is None and mask is None:
            return words + cast(Tensor, positions.weight[: words.shape[1]])
        if places is None:
            places = (cast(Tensor, mask).cumsum(1) - 1).clamp(min=0)
        return words + cast(Tensor, positions(places))

    @property
    def hidden_dropout(self) -> float:
        return float(self.model.config.resid_pdrop)

    @property
    def attention_dropout(self) -> float:
        return float(self.model.config.attn_pdrop)
