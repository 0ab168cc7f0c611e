"""Selection of the runs that a figure shows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nasbench.analysis.experiments.definitions import (
    DECODER_ENTRIES,
    FIVE_METHODS,
    N_INITIAL,
    N_LAYER,
    N_RANDOM,
    TRAININGS,
)
from nasbench.analysis.reading.entries import option
from nasbench.analysis.reading.objectives import USUAL, of_rows
from nasbench.analysis.reading.scenarios import of_language_models
from nasbench.analysis.scoring.scores import Scores
from nasbench.arrays import BoolArray
from nasbench.networks.space import PAPER_SPACES
from nasbench.plugins import options
from nasbench.training.strategies import TrainingStrategy

_VARIED = ("strategy", "temperature", "t_squared")
"""Options of super-network training that differ between the :data:`TRAININGS`."""


def subset(scores: Scores, keep: BoolArray) -> Scores:
    """The scores of the selected runs, normalised as among all runs.

    Args:
        scores: the scores of all runs.
        keep: ``(n_runs,)``.
    """
    runs = scores.runs[keep].reset_index(drop=True)
    return dataclasses.replace(scores, runs=runs, hypervolume=scores.hypervolume[keep], test=scores.test[keep])


def usual(runs: pd.DataFrame) -> BoolArray:
    """Unchanged runs (:func:`unchanged`) with error and parameters as objectives, as in the paper, ``(n_runs,)``."""
    return unchanged(runs) & has_usual_objectives(runs)


def has_usual_objectives(runs: pd.DataFrame) -> BoolArray:
    """Runs with error and parameters as objectives, ``(n_runs,)``."""
    return np.asarray(of_rows(runs).to_numpy(dtype=object) == USUAL, dtype=np.bool_)


def unchanged(runs: pd.DataFrame) -> BoolArray:
    """Runs with default options, the scenario's usual budget and no limit on the evaluations, ``(n_runs,)``.

    The names of their entries have no brackets, see :func:`nasbench.analysis.reading.entries.name_entries`.
    """
    plain = runs["algorithm"].astype(str) + "@" + runs["space"].astype(str)
    return (runs["entry"].astype(str) == plain).to_numpy(dtype=np.bool_, copy=True)


def differ_only_in(runs: pd.DataFrame, names: Sequence[str]) -> BoolArray:
    """Runs whose options, apart from ``names``, are the most frequent ones among these runs, ``(n_runs,)``."""
    rest = [json.dumps(_without(json.loads(text), set(names)), sort_keys=True) for text in runs["options"]]
    counts = pd.Series(rest, dtype=str).value_counts()
    most = min(counts.index[counts == counts.max()], default="")
    return np.array([text == most for text in rest], dtype=np.bool_)


def trainings(runs: pd.DataFrame) -> list[str | None]:
    """The name in :data:`TRAININGS` of the training of each run's super-network; None for another training."""
    values = [option(runs, name) for name in _VARIED]
    defaults = [getattr(TrainingStrategy(), name) for name in _VARIED]
    own = [
        tuple(default if value is None else value for value, default in zip(row, defaults, strict=True))
        for row in zip(*values, strict=True)
    ]
    known = {
        tuple(getattr(options.parse(TrainingStrategy, texts, name), field) for field in _VARIED): name
        for name, texts in TRAININGS.items()
    }
    return [known.get(key) for key in own]


def random_samples(runs: pd.DataFrame, shared: bool = False) -> BoolArray:
    """Runs that evaluated random sub-networks of a super-network, as made by the experiments, ``(n_runs,)``.

    Figures 5 and 7 compare spaces and trainings only on such runs. Runs with a time limit belong to other entries.

    Args:
        shared: the super-network was trained in SMALL, whatever the space of the run (``fig5-shared``). Otherwise it
            was trained in the space of the run, as in the paper.
    """
    trained_in = option(runs, "training_space")
    as_asked = [
        trained == ("small" if shared and space != "small" else None)
        for trained, space in zip(trained_in, runs["space"], strict=True)
    ]
    keep = (
        (runs["method"] == "ws-nas")
        & runs["space"].isin(PAPER_SPACES)
        & (runs["searcher"] == "random")
        & (runs["max_evaluations"] == N_INITIAL + N_RANDOM).fillna(False)
        & runs["budget_s"].isna()
        & (runs["status"] == "complete")
        & has_usual_objectives(runs)
        & np.array(as_asked, dtype=np.bool_)
        & np.array([name is not None for name in trainings(runs)], dtype=np.bool_)
    ).to_numpy(dtype=np.bool_)
    keep[keep] = differ_only_in(runs[keep], (*_VARIED, "training_space"))
    return keep


def every_layer_network(runs: pd.DataFrame) -> BoolArray:
    """Complete runs of the study of weight sharing: the networks of LAYER, with default options, ``(n_runs,)``."""
    plain = runs["algorithm"].astype(str) + f"@layer [max_evaluations={N_LAYER}]"
    keep = (runs["searcher"] == "exhaustive") & (runs["entry"].astype(str) == plain) & (runs["status"] == "complete")
    return keep.to_numpy(dtype=np.bool_, copy=True) & has_usual_objectives(runs)


def _without(values: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {
        key: _without(value, names) if isinstance(value, dict) else value
        for key, value in values.items()
        if key not in names
    }


def five_methods(runs: pd.DataFrame) -> BoolArray:
    """Usual runs of the five methods of section 4.2, each in its space, ``(n_runs,)``."""
    names = {
        f"{method if searcher is None else f'{method}/{searcher}'}@{space}" for method, searcher, space in FIVE_METHODS
    }
    return usual(runs) & runs["entry"].isin(names).to_numpy(dtype=np.bool_)


def compared_entries(runs: pd.DataFrame) -> BoolArray:
    """Runs that figures 8 and 10 compare, ``(n_runs,)``.

    They are those of :func:`five_methods`, and on language modelling those of :data:`DECODER_ENTRIES`.
    """
    of_decoders = runs["entry"].isin(DECODER_ENTRIES).to_numpy(dtype=np.bool_) & has_usual_objectives(runs)
    return np.where(of_language_models(runs), of_decoders, five_methods(runs))


def largest_complete_table(runs: pd.DataFrame) -> tuple[tuple[str, ...], frozenset[str]]:
    """The largest complete table: at least two entries, and the scenarios that all of them ran in; else empty.

    The size of a table is the number of entries times the number of scenarios. Of equally large tables, the one with
    more entries wins. A run counts only if it has the scenario's most frequent seed, so that all entries share a data
    split.
    """
    counts = runs.groupby(["scenario", "seed"]).size().reset_index(name="n")
    usual_seed = counts.sort_values(["n", "seed"], ascending=[False, True]).drop_duplicates("scenario")
    shared = runs.merge(usual_seed[["scenario", "seed"]], on=["scenario", "seed"])
    own = {str(name): frozenset(scenarios) for name, scenarios in shared.groupby("entry")["scenario"]}
    # The scenarios of the largest table are the intersection of its entries' scenarios. There are few such
    # intersections: at most two to the power of the number of scenarios.
    common: set[frozenset[str]] = set()
    for scenarios in own.values():
        common |= {scenarios & other for other in common} | {scenarios}
    tables = [(tuple(name for name in sorted(own) if own[name] >= scenarios), scenarios) for scenarios in common]
    tables = [(names, scenarios) for names, scenarios in tables if len(names) > 1]
    return min(
        tables,
        key=lambda table: (-len(table[0]) * len(table[1]), -len(table[0]), sorted(table[1])),
        default=((), frozenset()),
    )
