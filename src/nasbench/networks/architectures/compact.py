"""A sub-network as a module whose configuration says its true sizes, so that transformers can build it.

Empty layers are left out and the others are renumbered. If the stock configuration can say the sizes of the remaining
layers (:meth:`~nasbench.networks.adapter.Adapter.stock_options`), no projection is factored and no biases were added to
outputs, the module is of the same stock class as the full network. Otherwise its class is in ``modeling_pruned.py`` or
``modeling_decoders.py``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.errors import UserError
from nasbench.networks.adapter import OUTPUT_BIASES, WIDTHS, Adapter, restore_output_biases
from nasbench.networks.architectures import adapt
from nasbench.networks.factored.modules import Factors
from nasbench.networks.pretrained import pruned_configurations
from nasbench.networks.subnetwork import SubNetwork

MARK = "nasbench"
"""Key in ``config.json`` of an exported network."""
FORMAT_VERSION = 2
_NOT_COPIED = (
    "model_type", "architectures", "auto_map", "transformers_version", "_name_or_path", "torch_dtype", WIDTHS,
)  # fmt: skip
_SAME_CODE = {"xlm-roberta": "roberta", "camembert": "roberta"}


def compact(model: nn.Module, subnetwork: SubNetwork, labels: tuple[str, ...]) -> nn.Module:
    """The module of a sub-network without its empty layers.

    Args:
        model: the stock model after :func:`nasbench.networks.adapter.shrink`. Its tensors are shared.
        labels: names of the outputs; empty to keep the names that the model has.

    Raises:
        UserError: if there are more or fewer names than outputs.
    """
    adapter = adapt(model)
    kept = kept_layers(subnetwork) or ([0] if adapter.needs_a_layer else [])
    place = {old: new for new, old in enumerate(kept)}
    names = re.compile(rf"({re.escape(adapter.layers_name)}\.)(\d+)(\..*)")

    def renumbered(name: str) -> str | None:
        """The name of a module or tensor in the new network, None for those of empty layers."""
        if (found := names.fullmatch(name)) is None:
            return name
        return f"{found[1]}{place[int(found[2])]}{found[3]}" if int(found[2]) in place else None

    config = _config(adapter, subnetwork, kept, _ranks(model, renumbered))
    if labels:
        if len(labels) != adapter.output_layer.out_features:
            raise UserError(
                f"the record names {len(labels)} outputs, and the network has {adapter.output_layer.out_features}; "
                "its label_names in run.json are damaged"
            )
        config.id2label, config.label2id = dict(enumerate(labels)), {name: i for i, name in enumerate(labels)}
    setattr(config, MARK, {"format_version": FORMAT_VERSION})
    small = empty(config, _class_name(type(model).__name__, config))
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if (new_name := renumbered(name)) is not None:
            tensors[new_name] = value
    small.load_state_dict(tensors, assign=True)
    cast(Any, small).tie_weights()
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

    is_pruned = str(config.model_type).startswith("pruned-")
    constructor = getattr(sys.modules[type(config).__module__] if is_pruned else transformers, class_name)
    if is_pruned:  # so that `save_pretrained` of the network copies its code
        type(config).register_for_auto_class()
        constructor.register_for_auto_class(f"AutoModelFor{head_of(class_name)}")
    with torch.device("meta"):
        model = constructor(config)
        if not is_pruned:
            restore_output_biases(adapt(model))
    _make_buffers(model)
    module: nn.Module = model.eval()
    return module


def _ranks(model: nn.Module, renumbered: Callable[[str], str | None]) -> dict[str, int]:
    """The rank of each factored projection, by its name in the new network."""
    ranks: dict[str, int] = {}
    for name, module in model.named_modules():
        new_name = renumbered(name)
        if isinstance(module, Factors) and new_name is not None:
            ranks[new_name] = module.rank
    return ranks


def _config(adapter: Adapter, subnetwork: SubNetwork, kept: list[int], ranks: dict[str, int]) -> Any:
    stock = adapter.model.config
    values = {name: value for name, value in stock.to_dict().items() if name not in _NOT_COPIED}
    is_stock = not ranks and not getattr(stock, OUTPUT_BIASES, False)
    options = adapter.stock_options(subnetwork, kept) if is_stock else None
    if options is not None:
        return type(stock)(**values | options)
    family = _SAME_CODE.get(stock.model_type, stock.model_type)
    values |= adapter.pruned_options(subnetwork, kept) | ({"ranks": ranks} if ranks else {})
    return pruned_configurations()[f"pruned-{family}"](**values)


def _class_name(stock: str, config: Any) -> str:
    """The class of a configuration that has the head of a stock class."""
    if not config.model_type.startswith("pruned-"):
        return stock
    family = type(config).__name__.removesuffix("Config")
    return family + ("LMHeadModel" if stock.endswith("LMHeadModel") else f"For{head_of(stock)}")


def head_of(class_name: str) -> str:
    """The head of a class, as the auto classes of transformers name it."""
    return "CausalLM" if class_name.endswith("LMHeadModel") else class_name.partition("For")[2]


def _make_buffers(model: nn.Module) -> None:
    """Fill the buffers that are in no file: positions, token types and rotary frequencies."""
    values = {"position_ids": lambda n: torch.arange(n)[None], "token_type_ids": lambda n: torch.zeros(1, n).long()}
    for module in model.modules():
        buffers = dict(module.named_buffers(recurse=False))
        if any(name.endswith("inv_freq") for name in buffers):
            made: Any = type(module)(config=module.config)
            for name in buffers:
                setattr(module, name, getattr(made, name))
            continue
        for name, buffer in buffers.items():
            if name not in values:
                raise UserError(f"{type(module).__name__} has a buffer {name!r} that this version cannot restore")
            setattr(module, name, values[name](buffer.shape[1]))
