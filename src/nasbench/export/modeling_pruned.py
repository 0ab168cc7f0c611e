"""Encoders whose layers differ in attention heads and feed-forward units.

`nasbench export` writes this file beside the weights of a pruned network, so that transformers can build the network:

    AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)

The file needs transformers and torch, and nothing else. In `config.json`, `num_attention_heads` and
`intermediate_size` are lists with one number for each layer. A layer without heads passes its input on to its
feed-forward block, and a layer without units ends after its attention block. The classes of transformers refuse such a
configuration.
"""

from typing import Any

from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMultipleChoice,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForMultipleChoice,
    RobertaForSequenceClassification,
)


class SkippedAttention(nn.Module):
    """Replaces the attention block of a layer without heads: hidden states pass unchanged."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        return hidden_states, None


class SkippedFeedForward(nn.Module):
    """Replaces the feed-forward output of a layer without units: hidden states pass unchanged."""

    def forward(self, _: Tensor, input_tensor: Tensor) -> Tensor:
        return input_tensor


def _uniform(options: dict[str, Any]) -> dict[str, Any]:
    """The options of the full network's layers, from options with one width for each layer."""
    heads, units = options.pop("num_attention_heads", ()), options.pop("intermediate_size", ())
    hidden_size, head_size = options.get("hidden_size", 768), options.pop("head_size", 64)
    return {
        **options,
        "num_hidden_layers": len(heads),
        "num_attention_heads": hidden_size // head_size,
        "intermediate_size": max(units, default=0) or 1,
        "head_size": head_size,
        "layer_heads": list(heads),
        "layer_units": list(units),
    }


def _by_layer(values: dict[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`_uniform`, for saving."""
    values["num_attention_heads"] = values.pop("layer_heads", [])
    values["intermediate_size"] = values.pop("layer_units", [])
    return values


class PrunedBertConfig(BertConfig):
    """Configuration of a pruned BERT.

    Attributes:
        layer_heads: number of attention heads of each layer; ``num_attention_heads`` in ``config.json``.
        layer_units: number of feed-forward units of each layer; ``intermediate_size`` in ``config.json``.
        head_size: size of a head.
    """

    model_type = "pruned-bert"

    def __init__(self, **options: Any) -> None:
        super().__init__(**_uniform(options))

    def to_dict(self) -> dict[str, Any]:
        return _by_layer(super().to_dict())


class PrunedRobertaConfig(RobertaConfig):
    """Configuration of a pruned RoBERTa, XLM-RoBERTa or CamemBERT: one architecture. Attributes as for BERT."""

    model_type = "pruned-roberta"

    def __init__(self, **options: Any) -> None:
        super().__init__(**_uniform(options))

    def to_dict(self) -> dict[str, Any]:
        return _by_layer(super().to_dict())


def _narrow(model: Any, config: Any) -> None:
    """Give the layers of a model their widths, after it has been built and before its weights are loaded."""
    layers = getattr(model, model.base_model_prefix).encoder.layer
    for layer, n_heads, n_units in zip(layers, config.layer_heads, config.layer_units, strict=True):
        width = n_heads * config.head_size
        if n_heads == 0:
            layer.attention = SkippedAttention()
        else:
            attention = layer.attention.self
            attention.num_attention_heads, attention.all_head_size = n_heads, width
            for name in ("query", "key", "value"):
                setattr(attention, name, nn.Linear(config.hidden_size, width))
            layer.attention.output.dense = nn.Linear(width, config.hidden_size)
        if n_units == 0:
            layer.intermediate, layer.output = nn.Identity(), SkippedFeedForward()
        else:
            layer.intermediate.dense = nn.Linear(config.hidden_size, n_units)
            layer.output.dense = nn.Linear(n_units, config.hidden_size)


class PrunedBertForSequenceClassification(BertForSequenceClassification):
    """A pruned BERT for classification and regression."""

    config_class = PrunedBertConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        _narrow(self, config)


class PrunedBertForMultipleChoice(BertForMultipleChoice):
    """A pruned BERT for multiple choice."""

    config_class = PrunedBertConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        _narrow(self, config)


class PrunedRobertaForSequenceClassification(RobertaForSequenceClassification):
    """A pruned RoBERTa for classification and regression."""

    config_class = PrunedRobertaConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        _narrow(self, config)


class PrunedRobertaForMultipleChoice(RobertaForMultipleChoice):
    """A pruned RoBERTa for multiple choice."""

    config_class = PrunedRobertaConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        _narrow(self, config)
