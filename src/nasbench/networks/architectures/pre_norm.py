"""Networks with the norm before each block: decoders such as Llama and GPT-2, and ModernBERT."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import ExitStack
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from nasbench.networks.adapter import Adapter
from nasbench.networks.architectures.modeling.modeling_decoders import EmptyAttention, EmptyFeedForward
from nasbench.networks.architectures.modeling.modeling_pruned import NoAttention, NoFeedForward
from nasbench.networks.attention import LongestTable
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock
from nasbench.networks.subnetwork import SubNetwork


class PreNorm(Adapter):
    """A network whose layers add the output of each block to its input. A removed block returns zeros."""

    can_pack: ClassVar[bool] = True
    attention_names: ClassVar[tuple[str, str]] = ("self_attn", "input_layernorm")
    """Names of the attention block of a layer and of its norm."""
    feed_forward_names: ClassVar[tuple[str, str]] = ("mlp", "post_attention_layernorm")
    """Names of the feed-forward block of a layer and of its norm."""
    last_norm_name: ClassVar[str] = "norm"
    """Name of the norm after the last layer."""

    @property
    def layers_name(self) -> str:
        return f"{self.model.base_model_prefix}.layers"

    @abstractmethod
    def attention_block(self, inner: Any, norm: nn.Module) -> AttentionBlock:
        """The projections of a stock attention block."""

    @abstractmethod
    def feed_forward_block(self, inner: Any, norm: nn.Module) -> FeedForwardBlock:
        """The projections of a stock feed-forward block."""

    def attention(self, layer: int) -> AttentionBlock | None:
        inner, norm = self._parts(layer, self.attention_names)
        return None if isinstance(inner, EmptyAttention | NoAttention) else self.attention_block(inner, norm)

    def feed_forward(self, layer: int) -> FeedForwardBlock | None:
        inner, norm = self._parts(layer, self.feed_forward_names)
        return None if isinstance(inner, EmptyFeedForward | NoFeedForward) else self.feed_forward_block(inner, norm)

    def skip_attention(self, layer: int) -> None:
        self._replace(layer, self.attention_names, EmptyAttention(layer))

    def skip_feed_forward(self, layer: int) -> None:
        self._replace(layer, self.feed_forward_names, EmptyFeedForward())

    def bypass_attention(self, hooks: ExitStack, layer: int) -> None:
        inner, _ = self._parts(layer, self.attention_names)
        hooks.callback(
            inner.register_forward_hook(lambda _module, _inputs, output: (torch.zeros_like(output[0]), None)).remove
        )

    def bypass_feed_forward(self, hooks: ExitStack, layer: int) -> None:
        inner, _ = self._parts(layer, self.feed_forward_names)
        hooks.callback(inner.register_forward_hook(lambda _module, _inputs, output: torch.zeros_like(output)).remove)

    @property
    def word_embeddings(self) -> nn.Embedding:
        return cast(nn.Embedding, self.model.get_input_embeddings())

    @property
    def has_token_types(self) -> bool:
        return False

    def last_norm(self, states: Tensor) -> Tensor:
        """Hidden states after the norm that follows the last layer."""
        return cast(Tensor, getattr(self.base, self.last_norm_name)(states))

    def layer_types(self, kept: list[int]) -> dict[str, Any]:
        """The kinds of the layers that are left, for architectures that have several."""
        kinds = getattr(self.model.config, "layer_types", None)
        return {} if kinds is None else {"layer_types": [kinds[i] for i in kept]}

    def _parts(self, layer: int, names: tuple[str, str]) -> tuple[Any, nn.Module]:
        inner, norm = (getattr(self.layers[layer], name) for name in names)
        return inner, norm

    def _replace(self, layer: int, names: tuple[str, str], empty: nn.Module) -> None:
        for name, module in zip(names, (empty, nn.Identity()), strict=True):
            setattr(self.layers[layer], name, module)


class PreNormDecoder(PreNorm):
    """A decoder with a language model head, or with a classifier that reads the last token."""

    is_causal: ClassVar[bool] = True
    embeds_positions: ClassVar[bool] = False

    @property
    def readout(self) -> Literal["first", "last", "every"]:
        return "last" if hasattr(self.model, "score") else "every"

    def embed(
        self, words: Tensor, token_type_ids: Tensor, mask: Tensor | None,  # noqa: ARG002
        places: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:  # fmt: skip
        """Word vectors ``(n, length, d)``: rotary positions act on queries and keys."""
        return words

    @property
    def output_layer(self) -> nn.Linear:
        return cast(nn.Linear, self.model.score if self.readout == "last" else self.model.get_output_embeddings())

    def center_output(self, mean: float, states: Tensor | None = None) -> None:
        """As for encoders. The classifiers of decoders have no bias, so the weights answer ``mean`` to a mean state."""
        assert states is not None
        weight = self.output_layer.weight
        with torch.no_grad():
            typical = self.last_norm(states.float()).mean(0)
            weight += (mean - weight @ typical) * typical / typical.square().sum()

    def classify(self, states: Tensor) -> Tensor:
        return cast(Tensor, self.output_layer(self.last_norm(states)))

    def pruned_options(self, subnetwork: SubNetwork, kept: list[int]) -> dict[str, Any]:
        heads, units = subnetwork.head_counts[kept].tolist(), subnetwork.unit_counts[kept].tolist()
        return {self.layers_key: len(kept), "layer_heads": heads, "layer_units": units}


class RotaryDecoder(PreNormDecoder):
    """A decoder whose layers all turn queries and keys by the same angles."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._rotary: LongestTable[tuple[Tensor, Tensor]] = LongestTable()

    def rotary(self, layer: int, length: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Cosines and sines ``(length, n)``, fp32, n = the turned elements of a head. Shorter texts share them."""
        device = self.word_embeddings.weight.device

        def make() -> tuple[Tensor, Tensor]:
            places = torch.arange(length, device=device)[None]
            cosines, sines = self.base.rotary_emb(torch.empty(0, device=device), places)
            return cosines[0], sines[0]

        cosines, sines = self._rotary.of(length, device, make)
        return cosines[:length], sines[:length]
