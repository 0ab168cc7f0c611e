"""Llama (Touvron et al. 2023) and decoders with the same blocks: Mistral, Qwen2 and SmolLM2."""

from __future__ import annotations

from typing import Any

from torch import nn

from nasbench.networks.architectures.pre_norm import RotaryDecoder
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock, Projection
from nasbench.networks.subnetwork import SubNetwork


class Llama(RotaryDecoder):
    """A Llama: RMSNorm, rotary positions, a gate, and groups of query heads that share a key and a value."""

    @property
    def n_heads(self) -> int:
        return int(self.model.config.num_key_value_heads)

    @property
    def n_queries(self) -> int:
        return int(self.model.config.num_attention_heads) // self.n_heads

    def attention_block(self, inner: Any, norm: nn.Module) -> AttentionBlock:
        query, key, value, output = map(Projection, (inner.q_proj, inner.k_proj, inner.v_proj, inner.o_proj))
        return AttentionBlock(query, key, value, output, norm, norm_first=True, has_dropout=False)

    def feed_forward_block(self, inner: Any, norm: nn.Module) -> FeedForwardBlock:
        gate, up, down = map(Projection, (inner.gate_proj, inner.up_proj, inner.down_proj))
        return FeedForwardBlock(gate, inner.act_fn, down, norm, gate=up, norm_first=True, has_dropout=False)

    def window(self, layer: int) -> int | None:
        config = self.model.config
        kinds = getattr(config, "layer_types", None)
        is_local = kinds is None or kinds[layer] == "sliding_attention"
        return getattr(config, "sliding_window", None) if is_local else None

    @property
    def hidden_dropout(self) -> float:
        return 0.0

    @property
    def attention_dropout(self) -> float:
        return float(self.model.config.attention_dropout)

    def stock_options(self, subnetwork: SubNetwork, kept: list[int]) -> dict[str, Any] | None:
        """Llama's own class takes any number of heads and units, the same in all layers."""
        heads, units = {*subnetwork.head_counts[kept].tolist()}, {*subnetwork.unit_counts[kept].tolist()}
        if len(heads) > 1 or len(units) > 1 or 0 in heads | units:
            return None
        config = self.model.config
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        options = {self.layers_key: len(kept), "head_dim": head_size, **self.layer_types(kept)}
        for n_heads, n_units in zip(heads, units, strict=True):
            options |= {"num_key_value_heads": n_heads, "num_attention_heads": n_heads * self.n_queries}
            options |= {self.units_key: n_units}
        return options

    def pruned_options(self, subnetwork: SubNetwork, kept: list[int]) -> dict[str, Any]:
        return super().pruned_options(subnetwork, kept) | self.layer_types(kept)
