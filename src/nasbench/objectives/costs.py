"""The costs that a search minimises beside the error. They are known before a network is evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nasbench.arrays import FloatArray, IntArray
from nasbench.networks.space import SearchSpace
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.objectives.declared import DECLARED, fractions, full_amount, is_modelled
from nasbench.objectives.modelled import Modelled


class CostModel(Protocol):
    """Gives one cost of sub-networks."""

    @property
    def name(self) -> str:
        """The name of the objective."""

    def of(self, dims: Dimensions, heads: IntArray, units: IntArray, n_spared: IntArray | int = 0) -> FloatArray:
        """Fractions of the full network's cost ``(n,)``, from heads and units of each layer, ``(n, n_layers)`` each.

        Args:
            n_spared: weights that factors spare in each projection, ``(n, n_projections)``.
        """

    def describe(self, dims: Dimensions) -> dict[str, Any]:
        """JSON values for the record."""


@dataclass(frozen=True)
class Counted:
    """A cost that is counted exactly."""

    name: str

    def of(self, dims: Dimensions, heads: IntArray, units: IntArray, n_spared: IntArray | int = 0) -> FloatArray:
        return fractions(self.name, dims, heads, units, n_spared)

    def describe(self, dims: Dimensions) -> dict[str, Any]:
        return {"unit": DECLARED[self.name].unit, "source": "counted", "full": full_amount(self.name, dims)}


@dataclass(frozen=True)
class Costs:
    """The costs of a run, in the order of its objectives."""

    models: tuple[CostModel, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objectives beside the error."""
        return tuple(model.name for model in self.models)

    def of(self, space: SearchSpace, configs: IntArray) -> FloatArray:
        """Costs of configurations ``(n, n_dims)`` as fractions of the full network's, ``(n, n_costs)``."""
        configs = np.atleast_2d(configs)
        return self.of_counts(space.dims, *space.counts(configs), space.n_spared(configs))

    def of_counts(self, dims: Dimensions, heads: IntArray, units: IntArray, n_spared: IntArray | int = 0) -> FloatArray:
        """As :meth:`of`, from the heads and units that each layer keeps, ``(n, n_layers)`` each, and spared weights."""
        return np.column_stack([model.of(dims, heads, units, n_spared) for model in self.models])

    def of_subnetwork(self, dims: Dimensions, subnetwork: SubNetwork) -> dict[str, float]:
        """Costs of one sub-network by name."""
        heads, units = subnetwork.head_counts[None], subnetwork.unit_counts[None]
        costs = self.of_counts(dims, heads, units, subnetwork.n_spared(dims))[0]
        return dict(zip(self.names, costs.tolist(), strict=True))

    def describe(self, dims: Dimensions) -> dict[str, Any]:
        """JSON values for the record, by name."""
        return {model.name: model.describe(dims) for model in self.models}


def counted_costs(names: Sequence[str]) -> Costs:
    """The costs of objectives that are all counted."""
    return Costs(tuple(Counted(name) for name in names if name != "error"))


def restored_costs(described: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Costs:
    """The costs that :meth:`Costs.describe` has described.

    Args:
        names: the objectives of the run, whose order a record of sorted names has lost.

    Raises:
        KeyError, TypeError, ValueError: for other values.
    """
    return Costs(tuple(_restored(name, described[name]) for name in names if name != "error"))


def _restored(name: str, described: Mapping[str, Any]) -> CostModel:
    if described["source"] != DECLARED[name].source:
        raise ValueError(f"{name} is not {described['source']}")
    return Modelled.from_json(name, described) if is_modelled(name) else Counted(name)


PARAMETERS = counted_costs(("params",))
"""The cost of usual runs."""
