"""Encoders whose layers differ in attention heads and feed-forward units.

`nasbench export` writes this file beside the weights of a pruned network, so that transformers can build the network:

    AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)

The file needs transformers and torch, and nothing else. In `config.json`, `num_attention_heads` and
`intermediate_size` are lists with one number for each layer. A layer without heads passes its input on to its
feed-forward block, and a layer without units ends after its attention block. `ranks`, if it is there, names the
projections that are products of two matrices, with the rank of each. The classes of transformers refuse such a
configuration.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMultipleChoice,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForMultipleChoice,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForMultipleChoice,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForMultipleChoice,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForMultipleChoice,
    ModernBertForSequenceClassification,
    MPNetConfig,
    MPNetForMultipleChoice,
    MPNetForSequenceClassification,
    RobertaConfig,
    RobertaForMultipleChoice,
    RobertaForSequenceClassification,
)
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention


class SkippedAttention(nn.Module):
    """Replaces the attention block of a layer without heads: hidden states pass unchanged."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        return hidden_states, None


class SkippedFeedForward(nn.Module):
    """Replaces the feed-forward output of a layer without units: hidden states pass unchanged."""

    def forward(self, _: Tensor, input_tensor: Tensor) -> Tensor:
        return input_tensor


class NoAttention(nn.Module):
    """Replaces the attention of a layer without heads that adds zeros in its place: of DistilBERT and ModernBERT."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        return torch.zeros_like(hidden_states), None


class NoFeedForward(nn.Module):
    """Replaces the feed-forward block of such a layer without units."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return torch.zeros_like(hidden_states)


class NarrowSelfAttention(MPNetSelfAttention):
    """The attention of an MPNet layer that has lost heads. It reads its heads' columns of the shared position bias.

    Args:
        stock: the attention that it replaces.
        heads: numbers of the heads in the full network.
    """

    def __init__(self, stock: Any, heads: list[int]) -> None:
        nn.Module.__init__(self)
        self.attention_head_size = stock.attention_head_size
        self.num_attention_heads = len(heads)
        self.all_head_size = len(heads) * stock.attention_head_size
        self.q, self.k, self.v, self.o, self.dropout = stock.q, stock.k, stock.v, stock.o, stock.dropout
        self.heads = heads

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, position_bias: Tensor | None = None,
        output_attentions: bool = False, **options: Any,
    ) -> Any:  # fmt: skip
        if position_bias is not None:
            position_bias = position_bias[:, self.heads]
        return super().forward(hidden_states, attention_mask, position_bias, output_attentions, **options)


def _uniform(options: dict[str, Any], layers: str, heads: str, units: str, width: str) -> dict[str, Any]:
    """The options of the full network's layers, from options with one number of heads and units for each layer.

    Args:
        layers: the option for the number of layers; ``heads``, ``units`` and ``width`` (of hidden states) likewise.
    """
    layer_heads, layer_units = options.pop(heads, ()), options.pop(units, ())
    hidden_size, head_size = options.get(width, 768), options.pop("head_size", 64)
    return {
        **options,
        layers: len(layer_heads),
        heads: hidden_size // head_size,
        units: max(layer_units, default=0) or 1,
        "head_size": head_size,
        "layer_heads": list(layer_heads),
        "layer_units": list(layer_units),
    }


def _by_layer(values: dict[str, Any], heads: str, units: str) -> dict[str, Any]:
    """The inverse of :func:`_uniform`, for saving."""
    values[heads] = values.pop("layer_heads", [])
    values[units] = values.pop("layer_units", [])
    return values


_BERT = ("num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_size")
_DISTILBERT = ("n_layers", "n_heads", "hidden_dim", "dim")


class PrunedBertConfig(BertConfig):
    """Configuration of a pruned BERT.

    Attributes:
        layer_heads: number of attention heads of each layer; ``num_attention_heads`` in ``config.json``.
        layer_units: number of feed-forward units of each layer; ``intermediate_size`` in ``config.json``.
        head_size: size of a head.
        ranks: the rank of each projection that is a product of two matrices, by its name; missing for none.
    """

    model_type = "pruned-bert"

    def __init__(self, **options: Any) -> None:
        super().__init__(**_uniform(options, *_BERT))

    def to_dict(self) -> dict[str, Any]:
        return _by_layer(super().to_dict(), *_BERT[1:3])


class PrunedRobertaConfig(RobertaConfig):
    """Configuration of a pruned RoBERTa, XLM-RoBERTa or CamemBERT: one architecture. Attributes as for BERT."""

    model_type = "pruned-roberta"

    def __init__(self, **options: Any) -> None:
        super().__init__(**_uniform(options, *_BERT))

    def to_dict(self) -> dict[str, Any]:
        return _by_layer(super().to_dict(), *_BERT[1:3])


class PrunedElectraConfig(ElectraConfig):
    """Configuration of a pruned ELECTRA. Attributes as for BERT."""

    model_type = "pruned-electra"

    def __init__(self, **options: Any) -> None:
        super().__init__(**_uniform(options, *_BERT))

    def to_dict(self) -> dict[str, Any]:
        return _by_layer(super().to_dict(), *_BERT[1:3])


class PrunedMPNetConfig(MPNetConfig):
    """Configuration of a pruned MPNet. Attributes as for BERT, and

    Attributes:
        kept_heads: numbers of the kept heads of each layer in the full network, which choose columns of the position
            bias.
    """

    model_type = "pruned-mpnet"

    def __init__(self, **options: Any) -> None:
        super().__init__(**_uniform(options, *_BERT))

    def to_dict(self) -> dict[str, Any]:
        return _by_layer(super().to_dict(), *_BERT[1:3])


class PrunedDebertaV2Config(DebertaV2Config):
    """Configuration of a pruned DeBERTa-v2. Attributes as for BERT."""

    model_type = "pruned-deberta-v2"

    def __init__(self, **options: Any) -> None:
        super().__init__(**_uniform(options, *_BERT))

    def to_dict(self) -> dict[str, Any]:
        return _by_layer(super().to_dict(), *_BERT[1:3])


class PrunedDistilBertConfig(DistilBertConfig):
    """Configuration of a pruned DistilBERT. ``n_heads`` and ``hidden_dim`` are lists in ``config.json``."""

    model_type = "pruned-distilbert"

    def __init__(self, **options: Any) -> None:
        super().__init__(**_uniform(options, *_DISTILBERT))

    def to_dict(self) -> dict[str, Any]:
        return _by_layer(super().to_dict(), *_DISTILBERT[1:3])


class PrunedModernBertConfig(ModernBertConfig):
    """Configuration of a pruned ModernBERT. Attributes as for BERT, and

    Attributes:
        has_first_layer: whether the first layer is that of the full network, whose attention block has no norm.
        output_biases: whether both blocks of a layer add a bias to their outputs that the full network lacks.
    """

    model_type = "pruned-modernbert"

    def __init__(self, has_first_layer: bool = True, output_biases: bool = False, **options: Any) -> None:
        own: dict[str, Any] = {"has_first_layer": has_first_layer, "output_biases": output_biases}
        super().__init__(**_uniform(options, *_BERT), **own)

    def to_dict(self) -> dict[str, Any]:
        return _by_layer(super().to_dict(), *_BERT[1:3])


def _narrow(model: Any, config: Any) -> None:
    """Give the layers of a model their widths, after it has been built and before its weights are loaded."""
    base = getattr(model, model.base_model_prefix)
    narrow: Callable[..., None] = _narrow_bert
    if hasattr(base, "layers"):
        layers, narrow = base.layers, _narrow_modernbert
    elif hasattr(base, "transformer"):
        layers, narrow = base.transformer.layer, _narrow_distilbert
    else:
        layers = base.encoder.layer
    for i, (layer, n_heads, n_units) in enumerate(zip(layers, config.layer_heads, config.layer_units, strict=True)):
        narrow(layer, config, n_heads, n_units)
        if hasattr(config, "kept_heads") and n_heads > 0:
            layer.attention.attn = NarrowSelfAttention(layer.attention.attn, config.kept_heads[i])
    _factor(model, getattr(config, "ranks", {}))


def _narrow_bert(layer: Any, config: Any, n_heads: int, n_units: int) -> None:
    width, size = n_heads * config.head_size, config.hidden_size
    if n_heads == 0:
        layer.attention = SkippedAttention()
    elif hasattr(layer.attention, "attn"):
        _narrow_projections(layer.attention.attn, ("q", "k", "v"), "o", size, width)
    else:
        attention = layer.attention.self
        attention.num_attention_heads, attention.all_head_size = n_heads, width
        names = ("query", "key", "value") if hasattr(attention, "query") else ("query_proj", "key_proj", "value_proj")
        _narrow_projections(attention, names, "", size, width)
        layer.attention.output.dense = nn.Linear(width, size)
    if n_units == 0:
        layer.intermediate, layer.output = nn.Identity(), SkippedFeedForward()
    else:
        layer.intermediate.dense = nn.Linear(size, n_units)
        layer.output.dense = nn.Linear(n_units, size)


def _narrow_distilbert(layer: Any, config: Any, n_heads: int, n_units: int) -> None:
    size = config.dim
    if n_heads == 0:
        layer.attention, layer.sa_layer_norm = NoAttention(), nn.Identity()
    else:
        layer.attention.n_heads = n_heads
        _narrow_projections(layer.attention, ("q_lin", "k_lin", "v_lin"), "out_lin", size, n_heads * config.head_size)
    if n_units == 0:
        layer.ffn, layer.output_layer_norm = NoFeedForward(), nn.Identity()
    else:
        layer.ffn.lin1, layer.ffn.lin2 = nn.Linear(size, n_units), nn.Linear(n_units, size)


def _narrow_modernbert(layer: Any, config: Any, n_heads: int, n_units: int) -> None:
    size, width = config.hidden_size, n_heads * layer.attn.head_dim
    if n_heads == 0:
        layer.attn, layer.attn_norm = NoAttention(), nn.Identity()
    else:
        layer.attn.Wqkv = nn.Linear(size, 3 * width, bias=config.attention_bias)
        layer.attn.Wo = nn.Linear(width, size, bias=config.attention_bias or config.output_biases)
        if layer.attn.layer_idx == 0 and not config.has_first_layer:
            layer.attn_norm = nn.LayerNorm(size, eps=config.norm_eps, bias=config.norm_bias)
    if n_units == 0:
        layer.mlp, layer.mlp_norm = NoFeedForward(), nn.Identity()
    else:
        layer.mlp.Wi = nn.Linear(size, 2 * n_units, bias=config.mlp_bias)
        layer.mlp.Wo = nn.Linear(n_units, size, bias=config.mlp_bias or config.output_biases)


def _factor(model: nn.Module, ranks: dict[str, int]) -> None:
    """Put two linear layers in the place of each named projection: to ``rank`` features, and on to its outputs."""
    for name, rank in ranks.items():
        whole: Any = model.get_submodule(name)
        second = nn.Linear(rank, whole.out_features, bias=whole.bias is not None)
        model.set_submodule(name, nn.Sequential(nn.Linear(whole.in_features, rank, bias=False), second))


def _narrow_projections(attention: Any, inputs: tuple[str, ...], output: str, size: int, width: int) -> None:
    for name in inputs:
        setattr(attention, name, nn.Linear(size, width))
    if output:
        setattr(attention, output, nn.Linear(width, size))


class Narrowed:
    """Gives the layers of a network their widths, after it has been built and before its weights are loaded."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        _narrow(self, config)


class PrunedBertForSequenceClassification(Narrowed, BertForSequenceClassification):
    """A pruned BERT for classification and regression."""

    config_class = PrunedBertConfig


class PrunedBertForMultipleChoice(Narrowed, BertForMultipleChoice):
    """A pruned BERT for multiple choice."""

    config_class = PrunedBertConfig


class PrunedRobertaForSequenceClassification(Narrowed, RobertaForSequenceClassification):
    """A pruned RoBERTa for classification and regression."""

    config_class = PrunedRobertaConfig


class PrunedRobertaForMultipleChoice(Narrowed, RobertaForMultipleChoice):
    """A pruned RoBERTa for multiple choice."""

    config_class = PrunedRobertaConfig


class PrunedElectraForSequenceClassification(Narrowed, ElectraForSequenceClassification):
    """A pruned ELECTRA for classification and regression."""

    config_class = PrunedElectraConfig


class PrunedElectraForMultipleChoice(Narrowed, ElectraForMultipleChoice):
    """A pruned ELECTRA for multiple choice."""

    config_class = PrunedElectraConfig


class PrunedMPNetForSequenceClassification(Narrowed, MPNetForSequenceClassification):
    """A pruned MPNet for classification and regression."""

    config_class = PrunedMPNetConfig


class PrunedMPNetForMultipleChoice(Narrowed, MPNetForMultipleChoice):
    """A pruned MPNet for multiple choice."""

    config_class = PrunedMPNetConfig


class PrunedDistilBertForSequenceClassification(Narrowed, DistilBertForSequenceClassification):
    """A pruned DistilBERT for classification and regression."""

    config_class = PrunedDistilBertConfig


class PrunedDistilBertForMultipleChoice(Narrowed, DistilBertForMultipleChoice):
    """A pruned DistilBERT for multiple choice."""

    config_class = PrunedDistilBertConfig


class PrunedDebertaV2ForSequenceClassification(Narrowed, DebertaV2ForSequenceClassification):
    """A pruned DeBERTa-v2 for classification and regression."""

    config_class = PrunedDebertaV2Config


class PrunedDebertaV2ForMultipleChoice(Narrowed, DebertaV2ForMultipleChoice):
    """A pruned DeBERTa-v2 for multiple choice."""

    config_class = PrunedDebertaV2Config


class PrunedModernBertForSequenceClassification(Narrowed, ModernBertForSequenceClassification):
    """A pruned ModernBERT for classification and regression."""

    config_class = PrunedModernBertConfig


class PrunedModernBertForMultipleChoice(Narrowed, ModernBertForMultipleChoice):
    """A pruned ModernBERT for multiple choice."""

    config_class = PrunedModernBertConfig
