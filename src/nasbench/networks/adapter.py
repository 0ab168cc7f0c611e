"""What the engine asks of a stock model: its layers, projections, embeddings and classifier.

Each architecture is one file in ``networks/architectures`` with a subclass of :class:`Adapter`. All other code is
independent of the architecture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.networks.blocks import (
    AttentionBlock,
    FeedForwardBlock,
    Projection,
    RelativePositions,
    head_rows,
    keep_inputs,
    keep_outputs,
)
from nasbench.networks.factored.modules import split_projections
from nasbench.networks.factored.structure import FactoredNetwork
from nasbench.networks.subnetwork import Dimensions, SubNetwork

WIDTHS = "nasbench_widths"
"""Key in the configuration of a network that was pruned before and filled up with zeros, see
:func:`nasbench.networks.pretrained.load_pretrained`: ``heads_by_layer`` and ``units_by_layer``."""
OUTPUT_BIASES = "output_biases"
"""Key in the configuration of a network that was given biases by :func:`add_output_biases`."""


class Adapter(ABC):
    """A stock model of transformers with a head: a classifier or a language model.

    Each layer has an attention block and a feed-forward block, which add their outputs to the hidden states. An
    architecture is a subclass.
    """

    layers_key: ClassVar[str] = "num_hidden_layers"
    """Name of the number of layers in the configuration."""
    heads_key: ClassVar[str] = "num_attention_heads"
    """Name of the number of heads in the configuration."""
    units_key: ClassVar[str] = "intermediate_size"
    """Name of the number of feed-forward units in the configuration."""
    is_causal: ClassVar[bool] = False
    """Whether tokens attend to earlier tokens only."""
    needs_a_layer: ClassVar[bool] = False
    """Whether the stock class cannot run without layers. A network without any is then saved with an empty one."""
    can_pack: ClassVar[bool] = False
    """Whether :meth:`embed` takes ``places``."""
    embeds_positions: ClassVar[bool] = True
    """Whether what :meth:`embed` gives a token depends on its place."""

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

    @property
    def readout(self) -> Literal["first", "last", "every"]:
        """Which tokens the head reads."""
        return "first"

    @property
    def is_parallel(self) -> bool:
        """Whether both blocks of a layer read what enters the layer, instead of one after the other."""
        return False

    def prepare(self, output_is_new: bool) -> str | None:  # noqa: ARG002
        """Change a loaded network so that it can be pruned; says why it cannot be. Most networks need nothing."""
        return None

    def arrange(self) -> None:  # noqa: B027  # most models need nothing
        """Change the model in place so that slices of it can run. Its outputs and its state stay as they are."""

    # -- blocks ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def attention(self, layer: int) -> AttentionBlock | None:
        """The attention block of a layer, None if it has been removed."""

    @abstractmethod
    def feed_forward(self, layer: int) -> FeedForwardBlock | None:
        """The feed-forward block of a layer, None if it has been removed."""

    @abstractmethod
    def skip_attention(self, layer: int) -> None:
        """Remove the attention block of a layer with its bias and norm."""

    @abstractmethod
    def skip_feed_forward(self, layer: int) -> None:
        """Remove the feed-forward block of a layer with its bias and norm."""

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

    def relative_positions(self, layer: int, length: int) -> RelativePositions | None:  # noqa: ARG002
        """Relative positions that queries and keys of a layer are compared with; None for nothing."""
        return None

    def rotary(self, layer: int, length: int) -> tuple[Tensor, Tensor] | None:  # noqa: ARG002
        """Cosines and sines that turn queries and keys, each ``(length, head_size)``; None for nothing."""
        return None

    def window(self, layer: int) -> int | None:  # noqa: ARG002
        """Tokens attend to tokens less than this many places away; None for all."""
        return None

    # -- embeddings and head -----------------------------------------------------------------------------------------

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

    def embed(
        self, words: Tensor, token_type_ids: Tensor, mask: Tensor | None,  # noqa: ARG002
        places: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Normalised sum of word vectors ``(n, length, d)``, positions and types, *before* dropout.

        Dropout is left to the caller, which may run several sub-networks on the same embeddings. Positions of padding
        do not matter: no token attends to padding.

        Args:
            token_type_ids: ``(n, length)``.
            mask: ``(n, length)``, True = a token; None if nothing is padded. Only causal architectures take
                padding on the left.
            places: places of the tokens in their sequences, ``(length,)``, if sequences are packed one after the other
                into a row; None if each row is a sequence.
        """
        embeddings, first = self.base.embeddings, self.first_position
        if self.has_token_types:
            words = words + embeddings.token_type_embeddings(token_type_ids)
        table = embeddings.position_embeddings.weight
        positions = table[first : first + words.shape[1]] if places is None else table[first + places]
        return cast(Tensor, embeddings.LayerNorm(words + positions))

    @abstractmethod
    def classify(self, states: Tensor) -> Tensor:
        """Logits ``(..., n_logits)`` from hidden states ``(..., d)`` after the last layer."""

    @property
    def output_layer(self) -> nn.Linear:
        """The last layer of the classifier."""
        return cast(nn.Linear, getattr(self.model.classifier, "out_proj", self.model.classifier))

    def center_output(self, mean: float, states: Tensor | None = None) -> None:  # noqa: ARG002
        """Set the bias of the untrained output layer of a regression to the mean label.

        With a bias of zero, the first few hundred steps change all weights only to reach the mean. A super-network does
        not recover from this, because most of its sub-networks can learn little else. On STS-B with MiniLM and strategy
        ``full``, the validation Spearman correlation was 0.24 after three epochs with a bias of zero. With the mean as
        bias it was 0.85 in less than half of that time.

        Args:
            states: hidden states of some examples after the last layer, ``(n, d)``; needed for an output layer without
                a bias.
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

    # -- configurations of pruned networks -----------------------------------------------------------------------------

    def stock_options(self, subnetwork: SubNetwork, kept: list[int]) -> dict[str, Any] | None:
        """Options of the stock configuration with which the stock class is a sub-network; None if there are none.

        Args:
            kept: numbers of the layers that are left.
        """
        config = self.model.config
        heads, units = {*subnetwork.head_counts[kept].tolist()}, {*subnetwork.unit_counts[kept].tolist()}
        if heads - {config.num_attention_heads} or len(units) > 1 or 0 in units:
            return None
        return {self.layers_key: len(kept), self.units_key: max(units, default=getattr(config, self.units_key))}

    def pruned_options(self, subnetwork: SubNetwork, kept: list[int]) -> dict[str, Any]:
        """Options of the configuration of the pruned class for a sub-network; ``kept`` as in :meth:`stock_options`."""
        config = self.model.config
        return {
            self.heads_key: subnetwork.head_counts[kept].tolist(),
            self.units_key: subnetwork.unit_counts[kept].tolist(),
            "head_size": config.hidden_size // config.num_attention_heads,
        }

    # -- sizes -------------------------------------------------------------------------------------------------------

    @property
    def n_heads(self) -> int:
        """Number of heads that can be pruned in each layer; with grouped queries, of groups."""
        return int(self.model.config.num_attention_heads)

    @property
    def n_queries(self) -> int:
        """Query heads that share a key and a value."""
        return 1

    @property
    def n_relative_positions(self) -> int:
        """Rows of the table of :meth:`relative_positions`."""
        return 0

    def dimensions(self) -> Dimensions:
        """Dimensions of a network from which nothing has been pruned. Also works on the meta device."""
        config, n_layers = self.model.config, len(self.layers)
        attention, feed_forward = self.attention(0), self.feed_forward(0)
        assert attention is not None
        assert feed_forward is not None
        n_heads, n_units = self.n_heads, len(feed_forward.intermediate.weight)
        head_size = len(attention.key.weight) // n_heads
        blocks = [block for block in map(self.attention, range(n_layers)) if block is not None]
        rest = [_n_biases(block.output) + _n_params(block.norm) for block in blocks]
        counted = {
            "n_head_biases": _n_biases(attention.query, attention.key, attention.value) // n_heads,
            "n_attention_rest": rest[-1],
            "n_feed_forward_rest": _n_biases(feed_forward.output) + _n_params(feed_forward.norm),
        }
        as_bert = {"n_head_biases": 3 * head_size} | dict.fromkeys(list(counted)[1:], 3 * config.hidden_size)
        others: dict[str, Any] = {} if counted == as_bert else dict(counted)
        if rest[0] != rest[-1]:
            others["n_first_attention_rest"] = rest[0]
        others |= getattr(config, WIDTHS, {})
        return Dimensions(
            n_layers=n_layers,
            n_heads=n_heads,
            n_units=n_units,
            hidden_size=config.hidden_size,
            head_size=head_size,
            n_fixed_params=_n_params(self.model) - _n_params(self.layers),
            n_queries=self.n_queries,
            n_inputs=len(feed_forward.inputs),
            n_unit_biases=_n_biases(*feed_forward.inputs) // n_units,
            n_relative_positions=self.n_relative_positions,
            **others,
        )


def add_output_biases(adapter: Adapter) -> int:
    """Give the output projections of all blocks biases of 0 where they have none. They count as parameters.

    The configuration says so, and :func:`restore_output_biases` makes them again. Also works on the meta device.

    Returns:
        Number of added parameters.
    """
    n_added = 0
    for i in range(len(adapter.layers)):
        for block in (adapter.attention(i), adapter.feed_forward(i)):
            if block is not None and block.output.bias is None:
                block.output.module.bias = nn.Parameter(torch.zeros_like(block.output.weight[:, 0]))
                setattr(adapter.model.config, OUTPUT_BIASES, True)
                n_added += len(block.output.weight)
    return n_added


def restore_output_biases(adapter: Adapter) -> None:
    """Give a stock model that was built from its configuration the biases that the configuration speaks of."""
    if getattr(adapter.model.config, OUTPUT_BIASES, False):
        add_output_biases(adapter)


def _n_biases(*projections: Projection) -> int:
    return sum(0 if projection.bias is None else len(projection.bias) for projection in projections)


def _n_params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def shrink(adapter: Adapter, subnetwork: SubNetwork, dims: Dimensions) -> None:
    """Reduce the stock model to a sub-network, in place. Also works on the meta device.

    Projections that the sub-network has as factors become factors of zeros, for the caller to fill.

    Args:
        dims: sizes of the full network.

    Raises:
        UserError: if a projection that is to be factored is part of a layer that computes several.
    """
    adapter.arrange()
    for i in range(len(adapter.layers)):
        attention, feed_forward = adapter.attention(i), adapter.feed_forward(i)
        heads = torch.from_numpy(np.flatnonzero(subnetwork.heads[i]))
        units = torch.from_numpy(np.flatnonzero(subnetwork.units[i]))
        if attention is not None and len(heads) == 0:
            adapter.skip_attention(i)
        elif attention is not None:
            rows, query_rows = head_rows(heads, dims.head_size), head_rows(heads, dims.head_width)
            keep_outputs([(attention.query, query_rows), (attention.key, rows), (attention.value, rows)])
            keep_inputs(attention.output, query_rows)
            adapter.keep_heads(i, heads.tolist())
        if feed_forward is not None and len(units) == 0:
            adapter.skip_feed_forward(i)
        elif feed_forward is not None:
            keep_outputs([(projection, units) for projection in feed_forward.inputs])
            keep_inputs(feed_forward.output, units)
    if isinstance(subnetwork, FactoredNetwork):
        split_projections(adapter, subnetwork, dims)
