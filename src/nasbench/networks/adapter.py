"""Where an architecture keeps its layers, projections and heads. Everything else is written once, on top of this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from nasbench.errors import UserError
from nasbench.networks.subnetwork import Dimensions


@dataclass(frozen=True)
class AttentionBlock:
    """Multi-head attention of one layer. Rows of query, key, value and columns of output belong to heads, in order."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    norm: nn.LayerNorm


@dataclass(frozen=True)
class FeedForwardBlock:
    """Feed-forward block of one layer. Rows of ``intermediate`` and columns of ``output`` belong to units."""

    intermediate: nn.Linear
    activation: Any
    output: nn.Linear
    norm: nn.LayerNorm


class SkippedAttention(nn.Module):
    """Stands in a stock layer where all heads are pruned: the residual stream passes unchanged."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        return hidden_states, None


class SkippedFeedForward(nn.Module):
    """Stands in a stock layer where all units are pruned: the residual stream passes unchanged."""

    def forward(self, _: Tensor, input_tensor: Tensor) -> Tensor:
        return input_tensor


class Adapter:
    """BERT and RoBERTa as transformers builds them: the two differ in the base's name, positions and classifier."""

    def __init__(self, model: nn.Module) -> None:
        kinds = {"bert": ("BertForSequenceClassification", "BertForMultipleChoice"),
                 "roberta": ("RobertaForSequenceClassification", "RobertaForMultipleChoice")}  # fmt: skip
        name = type(model).__name__
        self.model = cast(Any, model)
        self.base_name = next((base for base, classes in kinds.items() if name in classes), "")
        if not self.base_name:
            raise UserError(f"cannot prune a {name}; supported: {', '.join(sum(kinds.values(), ()))}")

    @property
    def base(self) -> Any:
        """The encoder with its embeddings."""
        return getattr(self.model, self.base_name)

    @property
    def layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.base.encoder.layer)

    @property
    def is_multiple_choice(self) -> bool:
        return type(self.model).__name__.endswith("MultipleChoice")

    def attention(self, layer: int) -> AttentionBlock | None:
        """The attention block of a layer, None where it has been pruned away."""
        block = cast(Any, self.layers[layer]).attention
        if isinstance(block, SkippedAttention):
            return None
        inner, output = block.self, block.output
        return AttentionBlock(inner.query, inner.key, inner.value, output.dense, output.LayerNorm)

    def feed_forward(self, layer: int) -> FeedForwardBlock | None:
        """The feed-forward block of a layer, None where it has been pruned away."""
        block = cast(Any, self.layers[layer])
        if isinstance(block.output, SkippedFeedForward):
            return None
        return FeedForwardBlock(
            block.intermediate.dense, block.intermediate.intermediate_act_fn, block.output.dense, block.output.LayerNorm
        )

    def skip_attention(self, layer: int) -> None:
        """Remove the attention block of a layer with its bias and LayerNorm."""
        cast(Any, self.layers[layer]).attention = SkippedAttention()

    def skip_feed_forward(self, layer: int) -> None:
        """Remove the feed-forward block of a layer with its bias and LayerNorm."""
        block = cast(Any, self.layers[layer])
        block.intermediate = nn.Identity()
        block.output = SkippedFeedForward()

    @property
    def word_embeddings(self) -> nn.Embedding:
        return cast(nn.Embedding, self.base.embeddings.word_embeddings)

    def embed(self, words: Tensor, token_type_ids: Tensor) -> Tensor:
        """Word vectors ``(n, length, d)`` plus positions and types, normalised, *before* dropout.

        Dropout is left to the caller, who may run several sub-networks on one lookup. RoBERTa counts positions from the
        padding index + 1; padded places never reach a real one, so their positions do not matter.
        """
        embeddings = self.base.embeddings
        first = embeddings.padding_idx + 1 if self.base_name == "roberta" else 0
        positions = embeddings.position_embeddings.weight[first : first + words.shape[1]]
        types = embeddings.token_type_embeddings(token_type_ids)
        return cast(Tensor, embeddings.LayerNorm(words + types + positions))

    def classify(self, first_token: Tensor) -> Tensor:
        """Logits ``(n, n_logits)`` from the last hidden state of the first token ``(n, d)``."""
        if self.base_name == "roberta" and not self.is_multiple_choice:
            return cast(Tensor, self.model.classifier(first_token[:, None]))
        pooled = self.base.pooler(first_token[:, None])
        return cast(Tensor, self.model.classifier(self.model.dropout(pooled)))

    def center_output(self, mean: float) -> None:
        """Start a regression at the mean label, by the bias of the untrained output layer.

        From zero, the first few hundred steps move all weights just to reach the mean, and a super-network, most of
        whose sub-networks can do little else, does not recover. STS-B with MiniLM, strategy ``full``: a validation
        Spearman correlation of 0.24 after three epochs without it; with it, 0.85 before half of them are over.
        """
        output = getattr(self.model.classifier, "out_proj", self.model.classifier)
        with torch.no_grad():
            output.bias.fill_(mean)

    @property
    def hidden_dropout(self) -> float:
        return float(self.model.config.hidden_dropout_prob)

    @property
    def attention_dropout(self) -> float:
        return float(self.model.config.attention_probs_dropout_prob)

    def dimensions(self) -> Dimensions:
        """Of a network from which nothing has been pruned yet; works on the meta device."""
        config = self.model.config
        n_layers = len(self.layers)
        n_block_params = sum(p.numel() for p in self.layers.parameters())
        return Dimensions(
            n_layers=n_layers,
            n_heads=config.num_attention_heads,
            n_units=config.intermediate_size,
            hidden_size=config.hidden_size,
            head_size=config.hidden_size // config.num_attention_heads,
            n_fixed_params=sum(p.numel() for p in self.model.parameters()) - n_block_params,
        )


def head_rows(heads: Tensor, head_size: int) -> Tensor:
    """Row indices of the given heads ``(n,)`` in a projection: ``(n * head_size,)``."""
    return (heads[:, None] * head_size + torch.arange(head_size, device=heads.device)).reshape(-1)
