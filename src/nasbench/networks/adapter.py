"""What the engine asks of a stock model: its layers, projections, embeddings and classifier.

Each architecture is one file in ``networks/architectures`` with a subclass of :class:`Adapter`. All other code is
independent of the architecture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.networks.subnetwork import Dimensions, SubNetwork


@dataclass(frozen=True)
class AttentionBlock:
    """Attention block of one layer. Rows of query, key and value and columns of output belong to heads, in order.

    Attributes:
        has_dropout: whether training drops elements of the output.
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    norm: nn.LayerNorm
    has_dropout: bool = True


@dataclass(frozen=True)
class FeedForwardBlock:
    """Feed-forward block of one layer. Each row of ``intermediate`` and each column of ``output`` belongs to a unit."""

    intermediate: nn.Linear
    activation: Any
    output: nn.Linear
    norm: nn.LayerNorm


class Adapter(ABC):
    """A stock encoder of transformers with a classifier that reads the first token.

    Each layer has an attention block and a feed-forward block. A block adds its output to its input and normalises the
    sum (LayerNorm). An architecture is a subclass.
    """

    units_key: ClassVar[str] = "intermediate_size"
    """Name of the number of feed-forward units in the configuration."""

    def __init__(self, model: nn.Module) -> None:
        self.model = cast(Any, model)

    @property
    def base(self) -> Any:
        """The encoder with its embeddings."""
        return getattr(self.model, self.model.base_model_prefix)

    @property
    def layers_name(self) -> str:
        """Name of the list of layers in the model's ``state_dict``."""
        return f"{self.model.base_model_prefix}.encoder.layer"

    @property
    def layers(self) -> nn.ModuleList:
        """The stock layers."""
        return cast(nn.ModuleList, self.model.get_submodule(self.layers_name))

    @property
    def is_multiple_choice(self) -> bool:
        """Whether the classifier gives one logit for each choice."""
        return type(self.model).__name__.endswith("MultipleChoice")

    # -- blocks ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def attention(self, layer: int) -> AttentionBlock | None:
        """The attention block of a layer, None if it has been removed."""

    @abstractmethod
    def feed_forward(self, layer: int) -> FeedForwardBlock | None:
        """The feed-forward block of a layer, None if it has been removed."""

    @abstractmethod
    def skip_attention(self, layer: int) -> None:
        """Remove the attention block of a layer with its bias and LayerNorm."""

    @abstractmethod
    def skip_feed_forward(self, layer: int) -> None:
        """Remove the feed-forward block of a layer with its bias and LayerNorm."""

    @abstractmethod
    def bypass_attention(self, hooks: ExitStack, layer: int) -> None:
        """Pass hidden states around the attention block of a layer until ``hooks`` is closed."""

    @abstractmethod
    def bypass_feed_forward(self, hooks: ExitStack, layer: int) -> None:
        """Pass hidden states around the feed-forward block of a layer until ``hooks`` is closed."""

    def keep_heads(self, layer: int, heads: list[int]) -> None:  # noqa: B027  # most layers hold nothing else
        """Reduce what a layer holds for each head beside its projections.

        Args:
            heads: the heads that the layer keeps, at least one.
        """

    def position_bias(self, layer: int, length: int) -> Tensor | None:  # noqa: ARG002
        """What a layer adds to the attention scores of its heads, ``(n_heads, length, length)``; None for nothing."""
        return None

    # -- embeddings and classifier -----------------------------------------------------------------------------------

    @property
    def word_embeddings(self) -> nn.Embedding:
        """The table of word vectors."""
        return cast(nn.Embedding, self.base.embeddings.word_embeddings)

    @property
    def first_position(self) -> int:
        """Number of the first token's position. RoBERTa and MPNet count from the padding index + 1."""
        return 0

    @property
    def has_token_types(self) -> bool:
        """Whether the model distinguishes the first and the second text of a pair by an embedding."""
        return hasattr(self.base.embeddings, "token_type_embeddings")

    def embed(self, words: Tensor, token_type_ids: Tensor) -> Tensor:
        """Normalised sum of word vectors ``(n, length, d)``, positions and types, *before* dropout.

        Dropout is left to the caller, which may run several sub-networks on the same embeddings. Positions of padding
        do not matter: no token attends to padding.
        """
        embeddings, first = self.base.embeddings, self.first_position
        if self.has_token_types:
            words = words + embeddings.token_type_embeddings(token_type_ids)
        positions = embeddings.position_embeddings.weight[first : first + words.shape[1]]
        return cast(Tensor, embeddings.LayerNorm(words + positions))

    @abstractmethod
    def classify(self, first_token: Tensor) -> Tensor:
        """Logits ``(n, n_logits)`` from the last hidden state of the first token ``(n, d)``."""

    @property
    def output_layer(self) -> nn.Linear:
        """The last layer of the classifier."""
        return cast(nn.Linear, getattr(self.model.classifier, "out_proj", self.model.classifier))

    def center_output(self, mean: float) -> None:
        """Set the bias of the untrained output layer of a regression to the mean label.

        With a bias of zero, the first few hundred steps change all weights only to reach the mean. A super-network does
        not recover from this, because most of its sub-networks can learn little else. On STS-B with MiniLM and strategy
        ``full``, the validation Spearman correlation was 0.24 after three epochs with a bias of zero. With the mean as
        bias it was 0.85 in less than half of that time.
        """
        with torch.no_grad():
            self.output_layer.bias.fill_(mean)

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
            n_units=getattr(config, self.units_key),
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
            adapter.keep_heads(i, heads.tolist())
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
