"""A sub-network as a module whose configuration says its true sizes, so that transformers can build it.

Empty layers are left out and the others are renumbered. If all remaining layers have all heads and equally many units,
the module is of the same stock class as the full network. Otherwise its class is in ``modeling_pruned.py``.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.errors import UserError
from nasbench.networks.adapter import Adapter
from nasbench.networks.subnetwork import SubNetwork

MARK = "nasbench"
"""Key in ``config.json`` of an exported network."""
FORMAT_VERSION = 2
_NOT_COPIED = ("model_type", "architectures", "auto_map", "transformers_version", "_name_or_path", "torch_dtype")
_AUTO_CLASSES = ("AutoModelForSequenceClassification", "AutoModelForMultipleChoice")


def compact(model: nn.Module, subnetwork: SubNetwork, labels: tuple[str, ...]) -> nn.Module:
    """The module of a sub-network without its empty layers.

    Args:
        model: the stock model after :func:`nasbench.networks.adapter.shrink`. Its tensors are shared.
        labels: names of the outputs; empty to keep the names that the model has.
    """
    kept = kept_layers(subnetwork)
    adapter = Adapter(model)
    config = _config(adapter, subnetwork, kept)
    if labels:
        config.id2label, config.label2id = dict(enumerate(labels)), {name: i for i, name in enumerate(labels)}
    setattr(config, MARK, {"format_version": FORMAT_VERSION})
    small = empty(config, _class_name(type(model).__name__, config))
    place = {old: new for new, old in enumerate(kept)}
    names = re.compile(rf"({adapter.base_name}\.encoder\.layer\.)(\d+)(\..*)")
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if (found := names.fullmatch(name)) is None:
            tensors[name] = value
        elif int(found[2]) in place:
            tensors[f"{found[1]}{place[int(found[2])]}{found[3]}"] = value
    small.load_state_dict(tensors, assign=True)
    return small


def kept_layers(subnetwork: SubNetwork) -> list[int]:
    """Numbers of the layers that have at least one head or unit."""
    return [int(i) for i in np.flatnonzero((subnetwork.head_counts > 0) | (subnetwork.unit_counts > 0))]


def empty(config: Any, class_name: str) -> nn.Module:
    """A network in eval mode with parameters that take no memory.

    Raises:
        AttributeError: if there is no such class.
    """
    import transformers

    from nasbench.export import modeling_pruned

    is_pruned = str(config.model_type).startswith("pruned-")
    constructor = getattr(modeling_pruned if is_pruned else transformers, class_name)
    if is_pruned:  # so that `save_pretrained` of the network copies its code
        type(config).register_for_auto_class()
        constructor.register_for_auto_class(_AUTO_CLASSES[class_name.endswith("MultipleChoice")])
    with torch.device("meta"):
        model = constructor(config)
    _make_buffers(model)
    module: nn.Module = model.eval()
    return module


def _config(adapter: Adapter, subnetwork: SubNetwork, kept: list[int]) -> Any:
    from nasbench.export import modeling_pruned

    stock = adapter.model.config
    heads = [int(n) for n in subnetwork.head_counts[kept]]
    units = [int(n) for n in subnetwork.unit_counts[kept]]
    values = {name: value for name, value in stock.to_dict().items() if name not in _NOT_COPIED}
    if set(heads) <= {stock.num_attention_heads} and len(set(units)) <= 1 and 0 not in units:
        values |= {"num_hidden_layers": len(kept), "intermediate_size": units[0] if units else stock.intermediate_size}
        return type(stock)(**values)
    config_class = {
        "bert": modeling_pruned.PrunedBertConfig,
        "roberta": modeling_pruned.PrunedRobertaConfig,
    }[adapter.base_name]
    head_size = stock.hidden_size // stock.num_attention_heads
    return config_class(**values | {"num_attention_heads": heads, "intermediate_size": units, "head_size": head_size})


def _class_name(stock: str, config: Any) -> str:
    """The class of a configuration that has the head of a stock class."""
    if not config.model_type.startswith("pruned-"):
        return stock
    family = {"pruned-bert": "PrunedBert", "pruned-roberta": "PrunedRoberta"}[config.model_type]
    return f"{family}For{stock.partition('For')[2]}"


def _make_buffers(model: nn.Module) -> None:
    """Fill the buffers that are in no file: positions count up, token types are 0."""
    values = {"position_ids": lambda n: torch.arange(n)[None], "token_type_ids": lambda n: torch.zeros(1, n).long()}
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in values:
                raise UserError(f"{type(module).__name__} has a buffer {name!r} that this version cannot restore")
            setattr(module, name, values[name](buffer.shape[1]))
