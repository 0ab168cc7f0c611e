"""The architectures that can be pruned: one file each, with a subclass of :class:`~nasbench.networks.adapter.Adapter`.

A file says where the blocks, projections and embeddings of a stock model are, which tokens its
head reads, and how positions enter attention. Code outside uses :func:`adapt` only.

May import: ``networks.adapter``, ``networks.attention``, ``networks.blocks``, ``networks.factored.modules``,
``networks.pretrained``, ``networks.subnetwork``, and of ``networks.architectures.modeling`` ``modeling_pruned`` and
``modeling_decoders``.
"""

from __future__ import annotations

import importlib
from typing import cast

from torch import nn

from nasbench.errors import UserError
from nasbench.networks.adapter import Adapter

_ADAPTERS = {
    "Bert": "bert:Bert",
    "Roberta": "roberta:Roberta",
    "XLMRoberta": "roberta:Roberta",
    "Camembert": "roberta:Roberta",
    "Electra": "electra:Electra",
    "DistilBert": "distilbert:DistilBert",
    "MPNet": "mpnet:MPNet",
    "ModernBert": "modernbert:ModernBert",
    "DebertaV2": "deberta_v2:DebertaV2",
    "Llama": "llama:Llama",
    "Mistral": "llama:Llama",
    "Qwen2": "llama:Llama",
    "GPT2": "gpt2:GPT2",
    "GPTNeoX": "gpt_neox:GPTNeoX",
}
"""Module and class of the adapter for each family of classes in transformers."""
_HEADS = ("SequenceClassification", "MultipleChoice", "CausalLM")


def adapt(model: nn.Module) -> Adapter:
    """The adapter of a stock model, or of a pruned one of :mod:`nasbench.networks.architectures.modeling`.

    Raises:
        UserError: for a model of another class.
    """
    name = type(model).__name__.removeprefix("Pruned").replace("LMHeadModel", "ForCausalLM")
    family, _, head = name.partition("For")
    if family not in _ADAPTERS or head not in _HEADS:
        raise UserError(f"cannot prune a {type(model).__name__}; families that can be pruned: {', '.join(_ADAPTERS)}")
    module, adapter_name = _ADAPTERS[family].split(":")
    adapter = getattr(importlib.import_module(f"nasbench.networks.architectures.{module}"), adapter_name)
    return cast(Adapter, adapter(model))
