"""Which runs a figure is made of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nasbench.analysis.experiments.definitions import FIVE_METHODS, N_INITIAL, N_RANDOM
from nasbench.analysis.scoring.scores import Scores
from nasbench.arrays import BoolArray


def subset(scores: Scores, keep: BoolArray) -> Scores:
    """The scores of some runs, ``keep`` of shape ``(n_runs,)``, with the normalisation they had among all."""
    runs = scores.runs[keep].reset_index(drop=True)
    return dataclasses.replace(scores, runs=runs, hypervolume=scores.hypervolume[keep])


def usual(runs: pd.DataFrame) -> BoolArray:
    """Runs with default options and the scenario's usual budget, not limited in evaluations; ``(n_runs,)``.

    Their entries' names are plain, see :func:`nasbench.analysis.reading.results.name_entries`.
    """
    plain = runs["algorithm"].astype(str) + "@" + runs["space"].astype(str)
    return (runs["entry"].astype(str) == plain).to_numpy(dtype=np.bool_, copy=True)


def option(runs: pd.DataFrame, name: str) -> list[Any]:
    """An option of the method in each run, None where it has no such option."""
    return [_find(json.loads(text), name) for text in runs["options"]]


def _find(options: dict[str, Any], name: str) -> Any:
    if name in options:
        return options[name]
    return next((value[name] for value in options.values() if isinstance(value, dict) and name in value), None)


def differ_only_in(runs: pd.DataFrame, names: Sequence[str]) -> BoolArray:
    """Runs whose options other than ``names`` are those that most of these runs have; ``(n_runs,)``."""
    rest = [json.dumps(_without(json.loads(text), set(names)), sort_keys=True) for text in runs["options"]]
    counts = pd.Series(rest, dtype=str).value_counts()
    most = min(counts.index[counts == counts.max()], default="")
    return np.array([text == most for text in rest], dtype=np.bool_)


def random_samples(runs: pd.DataFrame) -> BoolArray:
    """Runs that evaluated random sub-networks of a super-network trained in SMALL, ``(n_runs,)``.

    Figures 5 and 7 compare spaces and strategies on such runs only, as their experiments make them: a super-network
    trained elsewhere or a limit on the time makes another entry.
    """
    trained_in = option(runs, "training_space")
    in_small = [
        trained == (None if space == "small" else "small")
        for trained, space in zip(trained_in, runs["space"], strict=True)
    ]
    keep = (
        (runs["method"] == "ws-nas")
        & (runs["searcher"] == "random")
        & (runs["max_evaluations"] == N_INITIAL + N_RANDOM).fillna(False)
        & runs["budget_s"].isna()
        & (runs["status"] == "complete")
        & np.array(in_small, dtype=np.bool_)
    ).to_numpy(dtype=np.bool_)
    keep[keep] = differ_only_in(runs[keep], ("strategy", "training_space"))
    return keep


def _without(options: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {
        key: _without(value, names) if isinstance(value, dict) else value
        for key, value in options.items()
        if key not in names
    }


def five_methods(runs: pd.DataFrame) -> BoolArray:
    """Usual runs of the five methods of section 4.2, each in its space; ``(n_runs,)``."""
    names = {
        f"{method if searcher is None else f'{method}/{searcher}'}@{space}" for method, searcher, space in FIVE_METHODS
    }
    return usual(runs) & runs["entry"].isin(names).to_numpy(dtype=np.bool_)
