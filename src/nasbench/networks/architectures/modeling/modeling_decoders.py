"""Decoders whose layers differ in attention heads and feed-forward units.

`nasbench export` writes this file beside the weights of a pruned decoder, so that transformers can build the network:

    AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)

The file needs transformers and torch, and nothing else. In `config.json`, `layer_heads` and `layer_units` have one
number for each layer: its groups of query heads with their key and value (for GPT-2, its heads) and its feed-forward
units. All other sizes are those of the full network. A layer without heads or units adds nothing in their place.
`ranks` names the projections that are products of two matrices, with the rank of each.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GPTNeoXForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
    MistralForSequenceClassification,
    MistralModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
    Qwen2Model,
)
from transformers.pytorch_utils import Conv1D


class EmptyAttention(nn.Module):
    """Replaces the attention block of a layer without heads: the layer adds zeros to the hidden states.

    Args:
        layer_idx: number of the layer in the cache, from which transformers reads how many tokens it holds.
    """

    def __init__(self, layer_idx: int) -> None:
        super().__init__()
        self.layer_idx = layer_idx

    def forward(
        self, hidden_states: Tensor, *_: Any, past_key_values: Any = None, layer_past: Any = None, **__: Any
    ) -> tuple[Tensor, None]:
        cache = layer_past if past_key_values is None else past_key_values  # GPT-NeoX has a name of its own for it
        if cache is not None:
            tokens = hidden_states[:, None, :, :1]
            cache.update(tokens, tokens, self.layer_idx)
        return torch.zeros_like(hidden_states), None


class EmptyFeedForward(nn.Module):
    """Replaces the feed-forward block of a layer without units: the layer adds zeros."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return torch.zeros_like(hidden_states)


@dataclass(kw_only=True)
class PrunedConfig:
    """What the configuration of a pruned decoder says beside that of the full network.

    Configurations of transformers are data classes, so these fields become theirs.

    Attributes:
        layer_heads: number of key-value groups of each layer; of heads for GPT-2 and GPT-NeoX.
        layer_units: number of feed-forward units of each layer.
        output_biases: whether both blocks of a layer add a bias to their outputs that the full network lacks.
        ranks: the rank of each projection that is a product of two matrices, by its name in the network.
    """

    layer_heads: list[int] = field(default_factory=list)
    layer_units: list[int] = field(default_factory=list)
    output_biases: bool = False
    ranks: dict[str, int] = field(default_factory=dict)


class PrunedLlamaConfig(PrunedConfig, LlamaConfig):
    """Configuration of a pruned Llama."""

    model_type = "pruned-llama"


class PrunedMistralConfig(PrunedConfig, MistralConfig):
    """Configuration of a pruned Mistral."""

    model_type = "pruned-mistral"


class PrunedQwen2Config(PrunedConfig, Qwen2Config):
    """Configuration of a pruned Qwen2."""

    model_type = "pruned-qwen2"


class PrunedGPT2Config(PrunedConfig, GPT2Config):
    """Configuration of a pruned GPT-2."""

    model_type = "pruned-gpt2"


class PrunedGPTNeoXConfig(PrunedConfig, GPTNeoXConfig):
    """Configuration of a pruned GPT-NeoX."""

    model_type = "pruned-gpt_neox"


class Narrowed:
    """Gives the layers of a decoder their widths, after it has been built and before its weights are loaded."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        _narrow(self, config)


class NarrowedClassifier:
    """A classifier whose stock class would ask for the base model of its configuration, which transformers lacks.

    Attributes:
        base_class: class of the base model.
    """

    base_class: Any

    def __init__(self, config: Any) -> None:
        PreTrainedModel.__init__(self, config)  # type: ignore[arg-type]
        self.num_labels = config.num_labels
        self.model = self.base_class(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        _narrow(self, config)
        PreTrainedModel.post_init(self)  # type: ignore[arg-type]


def _narrow(model: Any, config: Any) -> None:
    base = getattr(model, model.base_model_prefix)
    for i, layer in enumerate(base.h if hasattr(base, "h") else base.layers):
        if hasattr(layer, "attn"):
            _narrow_gpt2(layer, i, config.layer_heads[i], config.layer_units[i])
        elif hasattr(layer, "attention"):
            _narrow_gpt_neox(layer, i, config.layer_heads[i], config.layer_units[i], config.output_biases)
        else:
            _narrow_llama(layer, i, config.layer_heads[i], config.layer_units[i], config.output_biases)
    _factor(model, config.ranks)


def _narrow_llama(layer: Any, i: int, n_heads: int, n_units: int, biases: bool) -> None:
    attention, mlp = layer.self_attn, layer.mlp
    if n_heads == 0:
        layer.self_attn, layer.input_layernorm = EmptyAttention(i), nn.Identity()
    else:
        width = n_heads * attention.head_dim
        attention.q_proj = _with_outputs(attention.q_proj, width * attention.num_key_value_groups)
        attention.k_proj, attention.v_proj = (_with_outputs(p, width) for p in (attention.k_proj, attention.v_proj))
        attention.o_proj = _with_inputs(attention.o_proj, width * attention.num_key_value_groups, biases)
    if n_units == 0:
        layer.mlp, layer.post_attention_layernorm = EmptyFeedForward(), nn.Identity()
    else:
        mlp.gate_proj, mlp.up_proj = (_with_outputs(p, n_units) for p in (mlp.gate_proj, mlp.up_proj))
        mlp.down_proj = _with_inputs(mlp.down_proj, n_units, biases)


def _narrow_gpt2(layer: Any, i: int, n_heads: int, n_units: int) -> None:
    attention, size = layer.attn, layer.attn.embed_dim
    if n_heads == 0:
        layer.attn, layer.ln_1 = EmptyAttention(i), nn.Identity()
    else:
        width = n_heads * attention.head_dim
        attention.num_heads, attention.split_size = n_heads, width
        attention.c_attn, attention.c_proj = Conv1D(3 * width, size), Conv1D(size, width)
    if n_units == 0:
        layer.mlp, layer.ln_2 = EmptyFeedForward(), nn.Identity()
    else:
        layer.mlp.c_fc, layer.mlp.c_proj = Conv1D(n_units, size), Conv1D(size, n_units)


def _narrow_gpt_neox(layer: Any, i: int, n_heads: int, n_units: int, biases: bool) -> None:
    attention, mlp = layer.attention, layer.mlp
    if n_heads == 0:
        layer.attention, layer.input_layernorm = EmptyAttention(i), nn.Identity()
    else:
        width = n_heads * attention.head_size
        attention.query_key_value = _with_outputs(attention.query_key_value, 3 * width)
        attention.dense = _with_inputs(attention.dense, width, biases)
    if n_units == 0:
        layer.mlp, layer.post_attention_layernorm = EmptyFeedForward(), nn.Identity()
    else:
        mlp.dense_h_to_4h = _with_outputs(mlp.dense_h_to_4h, n_units)
        mlp.dense_4h_to_h = _with_inputs(mlp.dense_4h_to_h, n_units, biases)


def _factor(model: nn.Module, ranks: dict[str, int]) -> None:
    """Put two linear layers in the place of each named projection: to ``rank`` features, and on to its outputs."""
    for name, rank in ranks.items():
        whole: Any = model.get_submodule(name)
        second = nn.Linear(rank, whole.out_features, bias=whole.bias is not None)
        model.set_submodule(name, nn.Sequential(nn.Linear(whole.in_features, rank, bias=False), second))


def _with_outputs(layer: nn.Linear, n: int) -> nn.Linear:
    return nn.Linear(layer.in_features, n, bias=layer.bias is not None)


def _with_inputs(layer: nn.Linear, n: int, bias: bool) -> nn.Linear:
    return nn.Linear(n, layer.out_features, bias=bias or layer.bias is not None)


class PrunedLlamaForCausalLM(Narrowed, LlamaForCausalLM):
    """A pruned Llama that predicts the next token."""

    config_class = PrunedLlamaConfig


class PrunedLlamaForSequenceClassification(NarrowedClassifier, LlamaForSequenceClassification):
    """A pruned Llama for classification and regression."""

    config_class = PrunedLlamaConfig
    base_class = LlamaModel


class PrunedMistralForCausalLM(Narrowed, MistralForCausalLM):
    """A pruned Mistral that predicts the next token."""

    config_class = PrunedMistralConfig


class PrunedMistralForSequenceClassification(NarrowedClassifier, MistralForSequenceClassification):
    """A pruned Mistral for classification and regression."""

    config_class = PrunedMistralConfig
    base_class = MistralModel


class PrunedQwen2ForCausalLM(Narrowed, Qwen2ForCausalLM):
    """A pruned Qwen2 that predicts the next token."""

    config_class = PrunedQwen2Config


class PrunedQwen2ForSequenceClassification(NarrowedClassifier, Qwen2ForSequenceClassification):
    """A pruned Qwen2 for classification and regression."""

    config_class = PrunedQwen2Config
    base_class = Qwen2Model


class PrunedGPT2LMHeadModel(Narrowed, GPT2LMHeadModel):
    """A pruned GPT-2 that predicts the next token."""

    config_class = PrunedGPT2Config


class PrunedGPT2ForSequenceClassification(Narrowed, GPT2ForSequenceClassification):
    """A pruned GPT-2 for classification and regression."""

    config_class = PrunedGPT2Config


class PrunedGPTNeoXForCausalLM(Narrowed, GPTNeoXForCausalLM):
    """A pruned GPT-NeoX that predicts the next token."""

    config_class = PrunedGPTNeoXConfig


class PrunedGPTNeoXForSequenceClassification(Narrowed, GPTNeoXForSequenceClassification):
    """A pruned GPT-NeoX for classification and regression."""

    config_class = PrunedGPTNeoXConfig
