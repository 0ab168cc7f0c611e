"""The architectures that can be pruned: one file each, with a subclass of :class:`~nasbench.networks.adapter.Adapter`.

A file says where the blocks, projections and embeddings of a stock model are, how its classifier reads the first
token, and what its heads add to attention scores. Code outside uses :func:`adapt` only.

May import: ``networks.adapter``, ``networks.blocks``, ``networks.modeling_pruned``.
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
}
"""Module and class of the adapter for each family of classes in transformers."""


def adapt(model: nn.Module) -> Adapter:
    """The adapter of a stock model, or of a model that :mod:`nasbench.networks.modeling_pruned` built.

    Raises:
        UserError: for a model of another class.
    """
    family, _, head = type(model).__name__.removeprefix("Pruned").partition("For")
    if family not in _ADAPTERS or head not in ("SequenceClassification", "MultipleChoice"):
        raise UserError(f"cannot prune a {type(model).__name__}; families that can be pruned: {', '.join(_ADAPTERS)}")
    module, name = _ADAPTERS[family].split(":")
    adapter = getattr(importlib.import_module(f"nasbench.networks.architectures.{module}"), name)
    return cast(Adapter, adapter(model))
