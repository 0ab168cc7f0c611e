"""The data that the page's script reads: points, curves and ranks of all runs, small enough for a browser."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasbench.analysis.experiments.selection import largest_complete_table, subset, unchanged
from nasbench.analysis.figures import style
from nasbench.analysis.reading.entries import short_names
from nasbench.analysis.reading.objectives import columns, in_use, of_rows
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring.fronts import front_mask
from nasbench.analysis.scoring.ranks import average_ranks
from nasbench.analysis.scoring.relative_performance import full_metric
from nasbench.analysis.scoring.scores import Scores, block_table, horizon_s
from nasbench.analysis.scoring.tracks import TRACKS, section_title
from nasbench.arrays import BoolArray, FloatArray
from nasbench.objectives.declared import DECLARED

MAX_POINTS = 12_000
"""Maximum number of dominated sub-networks on the page, divided among its runs. Fronts are always complete."""
_N_TIMES = 50
_NAME = r"\w+="
_SYMBOLS = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "d": "diamond-tall",
    "^": "triangle-up",
    "v": "triangle-down",
    "<": "triangle-left",
    ">": "triangle-right",
    "P": "cross",
    "X": "x",
    "p": "pentagon",
    "h": "hexagon",
    "H": "hexagon2",
    "8": "octagon",
}
_SPLITS = {"validation": "error", "test": "test_error"}
_DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}


def n_dominated(n_runs: int) -> int:
    """Maximum number of dominated sub-networks of one run on the page."""
    return min(max(MAX_POINTS // max(n_runs, 1), 5), 500)


def script_data(results: Results, scores: Scores, entries: list[str], n_per_run: int) -> dict[str, Any]:
    """The data for ``report.js`` as JSON values: entries, scenarios, runs with their points, ranks over time.

    Args:
        entries: names of the entries; the page refers to an entry by its index in this list.
        n_per_run: maximum number of dominated sub-networks of a run, see :func:`n_dominated`.
    """
    runs = scores.runs
    titles = style.panel_titles(runs)
    scenarios = list(titles)
    first = runs.drop_duplicates("scenario").set_index("scenario")
    steps = np.unique(np.linspace(0, len(scores.grid) - 1, min(_N_TIMES, len(scores.grid))).astype(np.int64))
    provenance: dict[str, int] = {}
    usual_names = set(runs.loc[unchanged(runs), "entry"])
    finished = results.finished()
    points = _points(finished.evaluations, len(runs), n_per_run)
    horizons = horizon_s(runs)
    full_errors = {split: _full_errors(finished, column) for split, column in _SPLITS.items()}
    listed = []
    for i, run in enumerate(runs.to_dict("records")):
        origin = json.dumps(_plain(run["provenance"]), sort_keys=True)
        listed.append(
            {
                "scenario": scenarios.index(run["scenario"]),
                "entry": entries.index(run["entry"]),
                "seed": int(run["seed"]),
                "folder": run["run"],
                "status": run["status"],
                "reason": _plain(run["reason"]),
                "official": bool(run["official"]),
                "unofficial": _plain(run["unofficial"]),
                "n_evaluations": int(run["n_evaluations"]),
                "n_params": int(run["n_params_full"]),
                "elapsed_s": _short(run["elapsed_s"]),
                "started_at": _plain(run["started_at"]),
                "provenance": provenance.setdefault(origin, len(provenance)),
                "record": {
                    name: _plain(json.loads(run[name]) if name == "options" else run[name])
                    for name in ("options", "budget_s", "suite_version", "charged_s", "uncharged_s", "dimensions")
                },
                "horizon_s": _short(horizons[i]),
                # Hypervolume 0 means that nothing was evaluated yet.
                "hypervolume": [_short(value) if value > 0 else None for value in scores.hypervolume[i, steps]],
                "points": points[i],
            }
        )
    short = short_names(entries)
    return {
        "entries": [_look(name) | {"short": short[name][0], "usual": name in usual_names} for name in entries],
        "scenarios": [
            {
                "title": scenario,
                "task": first.loc[scenario, "task"],
                "model": first.loc[scenario, "model"],
                "device": str(scenario).rpartition("/")[2],
                "metric": first.loc[scenario, "metric"],
                "cost": _title(str(first.loc[scenario, "objectives"])),
                "n_objectives": str(first.loc[scenario, "objectives"]).count(",") + 1,
                "full_error": {split: _short(errors.get(scenario, math.nan)) for split, errors in full_errors.items()},
            }
            for scenario in scenarios
        ],
        "grid": [_short(value) for value in scores.grid[steps]],
        "runs": listed,
        "ranks": _ranks(scores, entries, steps),
        "provenance": [json.loads(text) for text in provenance],
    }


def _title(objectives: str) -> str:
    """The title of the horizontal axis for some objectives."""
    name = objectives.split(",")[1]
    return DECLARED[name].title if name in DECLARED else name


def _full_errors(results: Results, column: str) -> dict[Any, float]:
    """The full network's error in each scenario, as in figures 8 and 9.

    Runs with default options and the usual budget decide. A scenario in which no such run has it takes all its runs.
    """
    # Selecting runs copies their evaluations. Keep only the columns that are needed.
    slim = dataclasses.replace(results, evaluations=results.evaluations[["run_row", "n_params", column]])
    of_usual, of_all = (
        pd.Series(1.0 - full_metric(kept, column)).groupby(kept.runs["scenario"].to_numpy()).mean()
        for kept in (slim.select(unchanged(results.runs)), slim)
    )
    return of_usual.combine_first(of_all).to_dict()


def _look(entry: str) -> dict[str, Any]:
    look = style.look(entry)
    return {
        "name": entry,
        "colour": look.colour,
        "symbol": _SYMBOLS[look.marker],
        "dash": _DASHES[look.dash],
        "filled": look.filled,
    }


def _points(evaluations: pd.DataFrame, n_runs: int, n_per_run: int) -> list[dict[str, list[Any]]]:
    """For each run the points to show: its whole front and some dominated points.

    Each run has a list for each column, ordered by the first cost; ``names`` has the names in its configurations.
    """
    names = ["run_row", "index", "params", "error", "test_error", "elapsed_s", "config", "objectives"]
    names += [name for name in in_use(evaluations) if name not in names]
    on_front = front_mask(evaluations)
    dominated = evaluations["error"].notna().to_numpy() & ~on_front
    keep = on_front | spread(evaluations["run_row"].to_numpy(), dominated, n_per_run)
    shown = evaluations.loc[keep, names].assign(front=on_front[keep])
    shown = shown.assign(cost=_first_costs(shown)).sort_values(["run_row", "cost", "error", "index"])
    lists = {
        "index": shown["index"].tolist(),
        "params": [_short(value) for value in shown["params"]],
        "cost": [_short(value) for value in shown["cost"]],
        "error": [_short(value) for value in shown["error"]],
        "test": [_short(value) for value in shown["test_error"].astype(float)],
        "elapsed": [_short(value) for value in shown["elapsed_s"]],
        "front": [int(value) for value in shown["front"]],
        # All configurations of a run have the same names, so ``names`` has them once for each run.
        "config": shown["config"].astype(str).str.replace(_NAME, "", regex=True).str.slice(0, 400).tolist(),
    }
    configs = shown["config"].astype(str).to_numpy()
    ends = np.searchsorted(shown["run_row"].to_numpy(), np.arange(n_runs + 1))
    return [
        {
            name: values[a:b]
            for name, values in lists.items()
            if name != "cost" or values[a:b] != lists["params"][a:b]  # the script falls back on the parameters
        }
        | {"names": re.findall(_NAME, configs[a]) if b > a else []}
        for a, b in pairwise(ends)
    ]


def _first_costs(evaluations: pd.DataFrame) -> FloatArray:
    """The first cost of each evaluation, the horizontal axis of the page: the parameters of usual runs, ``(n,)``."""
    found, names = np.full(len(evaluations), np.nan), of_rows(evaluations).astype(str).to_numpy()
    for text in np.unique(names):
        found[names == text] = evaluations[columns(text)[1]].to_numpy(dtype=np.float64)[names == text]
    return found


def spread(runs: npt.NDArray[Any], candidates: BoolArray, n_per_run: int) -> BoolArray:
    """Mask of at most ``n_per_run`` candidates of each run, evenly spaced in the given order; ``(n,)``.

    Args:
        runs: ``(n,)``, the run of each row, ascending.
        candidates: ``(n,)``, mask of the rows to choose from.
    """
    rows = np.flatnonzero(candidates)
    _, start, count = np.unique(runs[rows], return_index=True, return_counts=True)
    position = np.arange(len(rows)) - np.repeat(start, count)
    size = np.repeat(count, count)
    share = np.minimum(size, n_per_run)
    chosen = position * share // np.maximum(size, 1) != (position - 1) * share // np.maximum(size, 1)
    keep = np.zeros(len(candidates), dtype=np.bool_)
    keep[rows[chosen]] = True
    return keep


def _ranks(scores: Scores, entries: list[str], steps: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Average ranks over time for each track and device class; only runs with default options and the usual budget.

    Entries are ranked in the blocks in which every entry has run. Where no such block exists, only the entries of the
    largest complete table are ranked; ``left_out`` names the others.
    """
    found = []
    runs = scores.runs
    keep = unchanged(runs)
    places = {(str(track), str(device)) for track, device in zip(runs["track"], runs["device_class"], strict=True)}
    order = {track: place for place, track in enumerate(TRACKS)}
    for track, device in sorted(places, key=lambda place: (order.get(place[0], len(order)), place)):
        chosen = keep & ((runs["track"] == track) & (runs["device_class"] == device)).to_numpy(dtype=np.bool_)
        if not chosen.any():
            continue
        blocks = block_table(subset(scores, chosen))
        complete = ~np.isnan(blocks.final).any(axis=0)
        left_out: list[str] = []
        if not complete.any():
            names, _ = largest_complete_table(runs[chosen])
            if not names:
                continue
            left_out = sorted(set(blocks.names) - set(names))
            blocks = block_table(subset(scores, chosen & runs["entry"].isin(names).to_numpy(dtype=np.bool_)))
            complete = ~np.isnan(blocks.final).any(axis=0)
        ranks = average_ranks(blocks.hypervolume[:, complete][:, :, steps], blocks.scenarios[complete])
        lines = [
            {
                "entry": entries.index(name),
                **{bound: [_short(value) for value in getattr(ranks, bound)[i]] for bound in ("mean", "low", "high")},
            }
            for i, name in enumerate(blocks.names)
            if ranks.n_blocks[i]
        ]
        if lines:
            found.append({"title": section_title(track, device), "lines": lines, "left_out": left_out})
    return found


def _short(value: float) -> float | None:
    """A number with five significant digits, more than a screen shows; None for NaN, which JSON lacks."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """A value of a record as a JSON value; None for NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
