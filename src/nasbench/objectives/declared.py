"""The declared objectives. All are minimised; all but the error are costs, as fractions of the full network's cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nasbench.arrays import FloatArray, IntArray
from nasbench.declarations.task import OBJECTIVES
from nasbench.errors import UnknownName, UserError
from nasbench.networks.factored.structure import projection_names
from nasbench.networks.subnetwork import Dimensions

USUAL = OBJECTIVES
"""Objectives of a run that names none, as in the paper."""
MAC_LENGTH = 128
"""Tokens of the text for which multiply-accumulate operations are counted."""
BYTES_PER_PARAMETER = 4
"""Exported weights are fp32."""
MOST_OBJECTIVES = 3

Source = Literal["evaluated", "counted", "modelled"]
"""Where a value comes from: an evaluation; or, known before it, a count of the network's parts, or a fitted model."""
Count = Callable[[Dimensions, IntArray, IntArray], IntArray]
"""From dimensions and the heads and units of each layer ``(n, n_layers)``, the amounts ``(n,)``."""


@dataclass(frozen=True)
class Objective:
    """One objective.

    Attributes:
        unit: unit of the amount; values are fractions of the full network's amount, except for the error.
        title: the label of an axis.
        source: where its values come from.
        summary: one line for lists.
        count: gives the amounts of a counted objective.
        per_weight: the amount of one weight of a projection, which a factored projection spares.
        per_position: what each relative position (DeBERTa) adds to that of a weight of query or key.
    """

    name: str
    unit: str
    title: str
    source: Source
    summary: str
    count: Count | None = None
    per_weight: int = 0
    per_position: int = 0

    def of_weights(self, dims: Dimensions) -> IntArray:
        """The amount of one weight of each projection, ``(n_projections,)``."""
        meets_positions = np.isin(projection_names(dims), ("query", "key"))
        return self.per_weight + self.per_position * dims.n_relative_positions * meets_positions.astype(np.int64)


def _params(dims: Dimensions, heads: IntArray, units: IntArray) -> IntArray:
    return dims.count_params(heads, units)


def _weight_bytes(dims: Dimensions, heads: IntArray, units: IntArray) -> IntArray:
    return BYTES_PER_PARAMETER * dims.count_params(heads, units)


def _macs(dims: Dimensions, heads: IntArray, units: IntArray) -> IntArray:
    """Multiply-accumulates of the layers for one text of :data:`MAC_LENGTH` tokens.

    Embeddings are look-ups, and a classifier reads one token: they are not counted. Nor is the head of a language
    model, which reads every token, but which no sub-network changes.
    """
    head, unit = int(dims.macs_of_head(MAC_LENGTH)), int(dims.macs_of_unit(MAC_LENGTH))
    return np.asarray(heads.sum(axis=-1) * head + units.sum(axis=-1) * unit, dtype=np.int64)


DECLARED: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("error", "1 - metric", "validation error", "evaluated", "1 - the task's metric"),
        Objective("params", "parameters", "parameters", "counted", "number of parameters", _params, 1),
        Objective(
            "macs",
            "multiply-accumulates",
            "multiply-accumulates",
            "counted",
            f"multiply-accumulates of the layers for a text of {MAC_LENGTH} tokens",
            _macs,
            MAC_LENGTH,
            per_position=1,
        ),
        Objective(
            "weight_bytes",
            "bytes",
            "bytes of the weights",
            "counted",
            "bytes of the weights",
            _weight_bytes,
            BYTES_PER_PARAMETER,
        ),
        Objective(
            "latency",
            "ratio to the full network's time",
            "latency",
            "modelled",
            "time of a pass beside the full network's; a model in the search, measured on the front",
        ),
        Objective(
            "peak_memory",
            "ratio to the full network's peak of memory",
            "peak memory",
            "modelled",
            "peak of the memory of a pass, weights included, beside the full network's; as latency",
        ),
        Objective(
            "energy",
            "ratio to the full network's joules",
            "energy",
            "modelled",
            "joules of a pass by the counter of a GPU, beside the full network's; as latency",
        ),
    )
}
"""All objectives by name, in the order in which a run names them."""


def choose_objectives(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """The objectives of a run, in the order of :data:`DECLARED`.

    Args:
        names: separated by commas, or several texts; None for error and parameters.

    Raises:
        UserError: for an unknown or repeated name, objectives without the error or without a cost, or more than
            :data:`MOST_OBJECTIVES`.
    """
    if names is None:
        return USUAL
    chosen = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in DECLARED:
            raise UnknownName("objective", name, DECLARED)
    text = ",".join(chosen)
    if len(set(chosen)) < len(chosen):
        raise UserError(f"--objectives {text} names an objective twice")
    if "error" not in chosen or not 2 <= len(chosen) <= MOST_OBJECTIVES:
        raise UserError(f"--objectives are error and one or two costs, such as error,macs; not {text!r}")
    return tuple(name for name in DECLARED if name in chosen)


def is_usual(names: Sequence[str] | None) -> bool:
    """Whether these are error and parameters, the objectives of the paper. None stands for them in records."""
    return names is None or tuple(names) == USUAL


def is_modelled(name: str) -> bool:
    """Whether an objective is measured, so that a search takes it from a fitted model."""
    return DECLARED[name].source == "modelled"


def full_amount(name: str, dims: Dimensions) -> int:
    """The full network's amount of a counted objective, in its unit."""
    return int(_amounts(name, dims, dims.most_heads[None], dims.most_units[None])[0])


def fractions(
    name: str, dims: Dimensions, heads: IntArray, units: IntArray, n_spared: IntArray | int = 0
) -> FloatArray:
    """The amounts of a counted objective as fractions of the full network's.

    Args:
        heads: heads that each layer keeps, ``(n, n_layers)``.
        units: units that each layer keeps, ``(n, n_layers)``.
        n_spared: weights that factors spare in each projection, ``(n, n_projections)``.

    Returns:
        ``(n,)``.
    """
    spared = (DECLARED[name].of_weights(dims) * n_spared).sum(axis=-1)
    return np.asarray((_amounts(name, dims, heads, units) - spared) / full_amount(name, dims))


def _amounts(name: str, dims: Dimensions, heads: IntArray, units: IntArray) -> IntArray:
    count = DECLARED[name].count
    if count is None:
        raise ValueError(f"objective {name!r} is not counted")
    return count(dims, heads, units)
