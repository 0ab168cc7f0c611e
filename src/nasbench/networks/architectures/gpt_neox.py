"""GPT-NeoX (Black et al. 2022), the architecture of Pythia: both blocks of a layer read what enters the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from nasbench.networks.architectures.pre_norm import RotaryDecoder
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock, Projection


class GPTNeoX(RotaryDecoder):
    """A GPT-NeoX: LayerNorm, rotary positions in a part of each head, and one layer for query, key and value."""

    attention_names: ClassVar[tuple[str, str]] = ("attention", "input_layernorm")
    last_norm_name: ClassVar[str] = "final_layer_norm"

    @property
    def is_parallel(self) -> bool:
        return bool(self.model.config.use_parallel_residual)

    def arrange(self) -> None:
        for layer in self.layers:
            attention: Any = layer.attention
            fused = getattr(attention, "query_key_value", None)  # None if the block has been removed
            if fused is not None and not isinstance(fused, ByPart):
                attention.query_key_value = ByPart(fused, attention.head_size)

    def attention_block(self, inner: Any, norm: nn.Module) -> AttentionBlock:
        query, key, value = (Projection(inner.query_key_value, i, 3) for i in range(3))
        return AttentionBlock(query, key, value, Projection(inner.dense), norm, norm_first=True)

    def feed_forward_block(self, inner: Any, norm: nn.Module) -> FeedForwardBlock:
        first, second = Projection(inner.dense_h_to_4h), Projection(inner.dense_4h_to_h)
        return FeedForwardBlock(first, inner.act, second, norm, norm_first=True)

    @property
    def hidden_dropout(self) -> float:
        return float(self.model.config.hidden_dropout)

    @property
    def attention_dropout(self) -> float:
        return float(self.model.config.attention_dropout)


class ByPart(nn.Linear):
    """The layer of query, key and value, with all queries in its first rows, then all keys, then all values.

    The stock layer has one head after the other: its query, its key and its value. So three equal parts are projections
    here, and are not there. Outputs and state have the stock order, so the stock attention block and files see no
    difference.

    Args:
        stock: the layer to replace.
        head_size: rows of a head in each part.
    """

    def __init__(self, stock: nn.Linear, head_size: int) -> None:
        super().__init__(stock.in_features, stock.out_features, stock.bias is not None, device="meta")
        self.head_size = head_size
        self.weight = self._ordered(stock.weight, self._by_part)
        if stock.bias is not None:
            self.bias = self._ordered(stock.bias, self._by_part)

    def forward(self, x: Tensor) -> Tensor:
        return self._by_head(super().forward(x).movedim(-1, 0)).movedim(0, -1)

    def _by_part(self, rows: Tensor) -> Tensor:
        """Rows ``(n, ...)`` in this layer's order, from the stock order."""
        return rows.unflatten(0, (-1, 3, self.head_size)).transpose(0, 1).flatten(0, 2)  # type: ignore[no-untyped-call, no-any-return]

    def _by_head(self, rows: Tensor) -> Tensor:
        """Rows ``(n, ...)`` in the stock order, from this layer's order."""
        return rows.unflatten(0, (3, -1, self.head_size)).transpose(0, 1).flatten(0, 2)  # type: ignore[no-untyped-call, no-any-return]

    @staticmethod
    def _ordered(parameter: Tensor, order: Callable[[Tensor], Tensor]) -> nn.Parameter:
        return nn.Parameter(order(parameter.detach()), requires_grad=parameter.requires_grad)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, _ in self.named_parameters():
            destination[prefix + name] = self._by_head(destination[prefix + name])

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        state = dict(state_dict)
        for name, value in self.named_parameters():
            stock = state.get(prefix + name)
            if stock is not None and stock.shape == value.shape:
                state[prefix + name] = self._by_part(stock)
        super()._load_from_state_dict(state, prefix, *others)
