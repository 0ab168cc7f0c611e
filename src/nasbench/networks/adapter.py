"""The layers, projections and heads of a stock model. All other code is independent of the architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.errors import UserError
from nasbench.networks.subnetwork import Dimensions, SubNetwork

_FAMILIES = {"Bert": "bert", "Roberta": "roberta", "XLMRoberta": "roberta", "Camembert": "roberta"}
_BASES = {
    f"{family}For{head}": base
    for family, base in _FAMILIES.items()
    for head in ("SequenceClassification", "MultipleChoice")
}
"""Name of the encoder in each class that can be pruned."""


@dataclass(frozen=True)
class AttentionBlock:
    """Attention block of one layer. Rows of query, key and value and columns of output belong to heads, in order."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    norm: nn.LayerNorm


@dataclass(frozen=True)
class FeedForwardBlock:
    """Feed-forward block of one layer. Each row of ``intermediate`` and each column of ``output`` belongs to a unit."""

    intermediate: nn.Linear
    activation: Any
    output: nn.Linear
    norm: nn.LayerNorm


class SkippedAttention(nn.Module):
    """Replaces the attention block of a stock layer without heads: hidden states pass unchanged."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        return hidden_states, None


class SkippedFeedForward(nn.Module):
    """Replaces the feed-forward output of a stock layer without units: hidden states pass unchanged."""

    def forward(self, _: Tensor, input_tensor: Tensor) -> Tensor:
        return input_tensor


class Adapter:
    """A BERT, RoBERTa, XLM-RoBERTa or CamemBERT of transformers.

    BERT and the others differ in the name of the encoder, the positions and the classifier.

    Raises:
        UserError: for a model of another class.
    """

    def __init__(self, model: nn.Module) -> None:
        name = type(model).__name__
        self.model = cast(Any, model)
        self.base_name = _BASES.get(name, "")
        if not self.base_name:
            raise UserError(f"cannot prune a {name}; supported: {', '.join(_BASES)}")

    @property
    def base(self) -> Any:
        """The encoder with its embeddings."""
        return getattr(self.model, self.base_name)

    @property
    def layers(self) -> nn.ModuleList:
        """The stock layers."""
        return cast(nn.ModuleList, self.base.encoder.layer)

    @property
    def is_multiple_choice(self) -> bool:
        """Whether the classifier gives one logit for each choice."""
        return type(self.model).__name__.endswith("MultipleChoice")

    def attention(self, layer: int) -> AttentionBlock | None:
        """The attention block of a layer, None if it has been removed."""
        block = cast(Any, self.layers[layer]).attention
        if isinstance(block, SkippedAttention):
            return None
        inner, output = block.self, block.output
        return AttentionBlock(inner.query, inner.key, inner.value, output.dense, output.LayerNorm)

    def feed_forward(self, layer: int) -> FeedForwardBlock | None:
        """The feed-forward block of a layer, None if it has been removed."""
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
        """The table of word vectors."""
        return cast(nn.Embedding, self.base.embeddings.word_embeddings)

    def embed(self, words: Tensor, token_type_ids: Tensor) -> Tensor:
        """Normalised sum of word vectors ``(n, length, d)``, positions and types, *before* dropout.

        Dropout is left to the caller, which may run several sub-networks on the same embeddings. RoBERTa counts
        positions from the padding index + 1. Positions of padding do not matter: no token attends to padding.
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
        """Set the bias of the untrained output layer of a regression to the mean label.

        With a bias of zero, the first few hundred steps change all weights only to reach the mean. A super-network does
        not recover from this, because most of its sub-networks can learn little else. On STS-B with MiniLM and strategy
        ``full``, the validation Spearman correlation was 0.24 after three epochs with a bias of zero. With the mean as
        bias it was 0.85 in less than half of that time.
        """
        output = getattr(self.model.classifier, "out_proj", self.model.classifier)
        with torch.no_grad():
            output.bias.fill_(mean)

    @property
    def hidden_dropout(self) -> float:
        """Dropout rate of hidden states in training."""
        return float(self.model.config.hidden_dropout_prob)

    @property
    def attention_dropout(self) -> float:
        """Dropout rate of attention weights in training."""
        return float(self.model.config.attention_probs_dropout_prob)

    def dimensions(self) -> Dimensions:
        """Dimensions of a network from which nothing has been pruned. Also works on the meta device."""
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
    """Row indices ``(n * head_size,)`` of the heads ``(n,)`` in a projection."""
    return (heads[:, None] * head_size + torch.arange(head_size, device=heads.device)).reshape(-1)


def shrink(adapter: Adapter, subnetwork: SubNetwork, head_size: int) -> None:
    """Reduce the stock model to a sub-network, in place. Also works on the meta device."""
    for i in range(len(adapter.layers)):
        attention, feed_forward = adapter.attention(i), adapter.feed_forward(i)
        heads = torch.from_numpy(np.flatnonzero(subnetwork.heads[i]))
        units = torch.from_numpy(np.flatnonzero(subnetwork.units[i]))
        if attention is not None and len(heads) == 0:
            adapter.skip_attention(i)
        elif attention is not None:
            rows = head_rows(heads, head_size)
            for projection in (attention.query, attention.key, attention.value):
                _keep(projection, rows, dim=0)
            _keep(attention.output, rows, dim=1)
        if feed_forward is not None and len(units) == 0:
            adapter.skip_feed_forward(i)
        elif feed_forward is not None:
            _keep(feed_forward.intermediate, units, dim=0)
            _keep(feed_forward.output, units, dim=1)


def _keep(layer: nn.Linear, indices: Tensor, dim: int) -> None:
    indices = indices.to(layer.weight.device)
    layer.weight = nn.Parameter(layer.weight.detach().index_select(dim, indices))
    if dim == 0:
        layer.bias = nn.Parameter(layer.bias.detach().index_select(0, indices))
    layer.out_features, layer.in_features = layer.weight.shape
