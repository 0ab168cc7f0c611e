"""Declarations, examples and networks as messages, and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nasbench.data.splits import Split
from nasbench.declarations.model import Model, TrainingConfiguration
from nasbench.declarations.task import DataSource, FileFormat, Task
from nasbench.errors import MethodError
from nasbench.isolation.protocol import Array, flatten, restore
from nasbench.networks.adapter import restore_output_biases
from nasbench.networks.architectures import adapt
from nasbench.networks.factored.structure import FactoredNetwork
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork

N_MASKS = 3
"""Arrays of :func:`masks`."""


def to_array(value: Any) -> Array | None:
    """The array of a tensor; None for anything else."""
    return value.detach().cpu().contiguous().numpy() if isinstance(value, Tensor) else None


def declarations(task: Task, model: Model) -> Any:
    """A task and a model as JSON, without the places of the user's files."""
    hidden = dataclasses.replace(task, data=dataclasses.replace(task.data, local_files={}, folder=None))
    values = dataclasses.asdict(hidden), dataclasses.asdict(dataclasses.replace(model, local_folder=None))
    return flatten(values, [])


def restore_declarations(node: Any) -> tuple[Task, Model]:
    """The inverse of :func:`declarations`."""
    task, model = restore(node, [])
    data = DataSource(**{**task["data"], "file_format": FileFormat(**task["data"]["file_format"])})
    trainings = {name: TrainingConfiguration(**model[name]) for name in ("fine_tuning", "super_network")}
    return Task(**{**task, "data": data}), Model(**{**model, **trainings})


def split_arrays(split: Split) -> list[Array]:
    """The arrays of a split, in the order of :func:`restore_split`."""
    return [split.tokens, split.segments, split.offsets, split.labels, split.ids]


def restore_split(arrays: Sequence[Array], n_choices: int) -> Split:
    """The inverse of :func:`split_arrays`."""
    tokens, segments, offsets, labels, ids = arrays
    return Split(tokens, segments, offsets, labels, n_choices, ids)


def architecture(network: SuperNetwork) -> dict[str, Any]:
    """What a network is, without its weights, as JSON."""
    model = network.model
    return {
        "class": type(model).__name__,
        "config": json.loads(model.config.to_json_string(use_diff=False)),
        "attention": model.config._attn_implementation,
        "precision": network.precision,
        "n_choices": network.n_choices,
    }


def make_network(header: Mapping[str, Any], weights: Sequence[Array], device: torch.device) -> SuperNetwork:
    """A network from :func:`architecture` and :func:`weights_of`."""
    import transformers

    cls = getattr(transformers, header["class"])
    config = cls.config_class.from_dict(header["config"])
    with torch.random.fork_rng(devices=[]):
        model = cls._from_config(config, attn_implementation=header["attention"]).float()
        restore_output_biases(adapt(model))
    network = SuperNetwork(model.to(device).eval(), header["precision"])
    network.n_choices = header["n_choices"]
    load_weights(network, weights)
    return network


def weights_of(network: SuperNetwork) -> list[Array]:
    """All parameters and buffers of a network, in the order of its state."""
    return [array for array in map(to_array, network.model.state_dict().values()) if array is not None]


def load_weights(network: SuperNetwork, weights: Sequence[Array]) -> None:
    """Overwrite a network's parameters with arrays from :func:`weights_of`.

    Raises:
        MethodError: if they are not those of such a network.
    """
    state: dict[str, Any] = network.model.state_dict()
    if len(state) != len(weights) or any(
        tuple(old.shape) != new.shape or str(old.dtype).removeprefix("torch.") != new.dtype.name
        for old, new in zip(state.values(), weights, strict=True)
    ):
        found = sum(array.size for array in weights)
        raise MethodError(
            f"evaluate() got a network or a configuration outside the space: a network of {found:,} numbers where "
            f"{sum(value.numel() for value in state.values()):,} are left of the original"
        )
    network.model.load_state_dict(dict(zip(state, map(torch.from_numpy, weights), strict=True)))
    network.refresh()


def masks(network: SuperNetwork) -> list[Array]:
    """What an extracted network holds: the masks of heads and units, and ranks; nothing for another network."""
    held = network.subnetwork
    ranks = np.array(held.ranks) if isinstance(held, FactoredNetwork) else np.empty((0, 0), dtype=np.int64)
    return [np.array(held.heads), np.array(held.units), ranks] if network.is_extracted else []


def restore_masks(arrays: Sequence[Array]) -> SubNetwork:
    """The inverse of :func:`masks`, for an extracted network.

    Raises:
        ValueError: if the arrays describe no network.
        MethodError: if the masks are not of bool.
    """
    heads, units, ranks = arrays
    if heads.dtype != np.bool_ or units.dtype != np.bool_:
        raise MethodError("the masks of an extracted network are arrays of bool")
    return FactoredNetwork(heads, units, ranks) if ranks.size else SubNetwork(heads, units)
