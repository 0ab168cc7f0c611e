"""The HTML page of a report: one file that works without a network.

``report.html`` is the template, ``report.css`` and ``report.js`` are written into it with Plotly's script. Names come
from strangers' files: the template escapes all text, the embedded data are JSON without a ``<``, and a content security
policy lets the browser run these scripts, known by their hashes, and load nothing.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from nasbench.subnetwork import BoolArray

from . import style
from .frame import Results
from .fronts import front_mask
from .leaderboard import PARAMETER_LIMITS, TRACKS, Section, interval, number, section_title
from .missing import Shortfall
from .ranks import bootstrap_ranks
from .relative import unpruned_metric
from .scores import Scores, block_table, horizon_s
from .selection import subset, usual

MAX_POINTS = 12_000
"""Dominated sub-networks on the page, shared out among its runs; fronts are always whole."""
_N_TIMES = 50
_SEED = 0
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


@dataclass(frozen=True)
class PageFigure:
    """A figure on the page.

    Attributes:
        image: the file to embed, SVG or PNG; None if there is nothing to show.
        lacks: the runs that it lacks.
    """

    name: str
    heading: str
    title: str
    image: Path | None = None
    lacks: Shortfall | None = None


def write_page(
    path: Path,
    results: Results,
    scores: Scores,
    boards: list[Section],
    n_official: int,
    figures: list[PageFigure],
    warnings: list[str],
    suite_version: str,
) -> None:
    """Write the page; everything it shows is inside it.

    Args:
        boards: the leaderboard's sections, the first ``n_official`` of them official; the others are folded.
    """
    runs = scores.runs
    contestants = sorted(runs["contestant"].unique()) if len(runs) else []
    n_per_run = _n_dominated(len(runs))
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    scripts = [get_plotlyjs(), (folder / "report.js").read_text(encoding="utf-8")] if len(runs) else []
    coverage = _coverage(runs, contestants)
    payload = _payload(results, scores, contestants, n_per_run) if len(runs) else {"ranks": []}
    rows = {"Leaderboard": True, "Explore": len(runs), "Ranks": len(runs), "Coverage": len(runs), "Figures": True}
    page = environment.get_template("report.html").render(
        title="Benchmark report",
        lead="Structural pruning of pre-trained language models by multi-objective neural architecture search.",
        policy=_policy(scripts),
        css=_verbatim((folder / "report.css").read_text(encoding="utf-8")),
        scripts=[_verbatim(script) for script in scripts],
        payload=embed(payload),
        interactive=bool(len(runs)),
        ranked=bool(payload["ranks"]),
        sections=[(name.lower(), name) for name, shown in {**rows, "Provenance": len(runs)}.items() if shown],
        facts=_facts(results, scores, suite_version),
        warnings=warnings,
        leaderboards=[_board(board, contestants, i >= n_official) for i, board in enumerate(boards)],
        leaderboard_note=_LEADERBOARD_NOTE,
        points_note=(
            "Test errors are known for members of the validation front only. Of the other sub-networks the page holds "
            f"at most {n_per_run} a run, evenly spread over it; the records and the tables hold all."
        ),
        ranks_note=(
            "Mean rank by hypervolume over all blocks of task, model and seed, with 95 % bootstrap bands from "
            "resampling tasks and repetitions. Runs with default options and the usual budget."
        ),
        coverage=coverage,
        figures=[_figure(figure) for figure in figures],
        footer=f"Written by nasbench, suite version {suite_version}. This page loads nothing from outside.",
    )
    path.write_text(page, encoding="utf-8")


_LEADERBOARD_NOTE = (
    "Hypervolume of validation error and parameter count, both quantile-normalised per task and model, with reference "
    "point (2, 2); at most 4. Only tasks and models count on which two methods have run with one seed; hypervolumes, "
    "test metrics and places are those of methods that have run on all of them. Brackets hold 95 % intervals; an "
    "asterisk marks one from the differences between tasks and models, for want of repetitions. Test metrics under a "
    "limit on the parameters are relative to the unpruned network's."
)


def embed(data: Any) -> Markup:
    """JSON that can stand inside a script element whatever the strings in it are."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _verbatim(text: str) -> Markup:
    """One of the project's own scripts or styles, which the template must not escape."""
    if "</" in text and ("</script" in text.lower() or "</style" in text.lower()):
        raise ValueError("a script or style that closes its own element cannot be embedded")
    return Markup(text)


def _policy(scripts: list[str]) -> str:
    """A content security policy: these scripts and nothing from any network."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _facts(results: Results, scores: Scores, suite_version: str) -> list[tuple[str, str]]:
    runs = scores.runs
    return [
        (f"{len(runs):,}", "finished runs"),
        (f"{len(results.evaluations):,}", "evaluations"),
        (str(runs["contestant"].nunique()), "contestants"),
        (str(runs["task"].nunique()), "tasks"),
        (str(runs["model"].nunique()), "models"),
        (suite_version, "suite version"),
    ]


def _board(board: Section, contestants: list[str], folded: bool) -> dict[str, Any]:
    rows = []
    for row in board.table.to_dict("records"):
        cells = [
            _place(row["place"], row["place_low"], row["place_high"]),
            interval(row["hypervolume"], row["hypervolume_low"], row["hypervolume_high"], 3)
            + ("*" if row["between_cells"] else ""),
            interval(row["rank"], row["rank_low"], row["rank_high"], 2),
        ]
        cells += [_percent(row[f"relative_{limit}"]) for limit in PARAMETER_LIMITS]
        cells += [str(row["n_runs"]), f"{row['n_cells']} of {board.n_cells}"]
        rows.append({"name": row["contestant"], "contestant": contestants.index(row["contestant"]), "cells": cells})
    limits = [f"At {100 * limit:.0f} % params" for limit in PARAMETER_LIMITS]
    columns = ["Method", "Place", "Hypervolume", "Average rank", *limits, "Runs", "Tasks x models"]
    return {
        "title": board.title,
        "columns": columns,
        "rows": rows,
        "folded": folded,
        "by_cell": _by_cell(board, contestants),
        "lone": ", ".join(board.lone_cells),
    }


def _by_cell(board: Section, contestants: list[str]) -> dict[str, Any]:
    """Mean hypervolume of every contestant in every cell of a board."""
    means = board.by_cell.set_index(["contestant", "cell"])["hypervolume"]
    cells = sorted(board.by_cell["cell"].unique())
    rows = [
        {
            "name": name,
            "contestant": contestants.index(name),
            "cells": [number(means.get((name, cell), math.nan), 3) for cell in cells],
        }
        for name in board.table["contestant"]
    ]
    return {"columns": [cell.rpartition("/")[0] for cell in cells], "rows": rows}


def _place(place: float, low: float, high: float) -> str:
    if np.isnan(place):
        return "-"
    return f"{place:.0f}" if np.isnan(low) else f"{place:.0f} [{low:.0f}, {high:.0f}]"


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{number(100 * value, 1)} %"


def _coverage(runs: pd.DataFrame, contestants: list[str]) -> dict[str, Any]:
    """Finished runs of each contestant in each cell, with a shade by their share of the most any has."""
    if not len(runs):
        return {"columns": [], "rows": []}
    titles = style.panel_titles(runs)
    counts = runs.groupby(["contestant", "cell"]).size()
    failed = runs[runs["status"] == "failed"].groupby(["contestant", "cell"]).size()
    most = int(counts.max())
    rows = []
    for i, name in enumerate(contestants):
        cells = []
        for cell in titles:
            n, n_failed = int(counts.get((name, cell), 0)), int(failed.get((name, cell), 0))
            text = f"{n} ({n_failed})" if n_failed else str(n) if n else "-"
            cells.append({"text": text, "level": -(-4 * n // most)})
        rows.append({"name": name, "contestant": i, "cells": cells})
    places = runs.drop_duplicates("cell").set_index("cell")
    columns = [
        {
            "task": places.loc[cell, "task"],
            "model": places.loc[cell, "model"],
            "device": places.loc[cell, "device_class"],
        }
        for cell in titles
    ]
    return {"columns": columns, "rows": rows}


def _figure(figure: PageFigure) -> dict[str, Any]:
    shown: dict[str, Any] = vars(figure) | {"image": "", "wide": figure.name in ("5", "7", "8", "9", "10", "11", "12")}
    if figure.image is not None:
        kind = {".svg": "image/svg+xml", ".png": "image/png"}[figure.image.suffix]
        shown["image"] = f"data:{kind};base64,{base64.b64encode(figure.image.read_bytes()).decode()}"
    return shown


# ---- what the script reads ----


def _n_dominated(n_runs: int) -> int:
    return min(max(MAX_POINTS // max(n_runs, 1), 5), 500)


def _payload(results: Results, scores: Scores, contestants: list[str], n_per_run: int) -> dict[str, Any]:
    runs = scores.runs
    titles = style.panel_titles(runs)
    cells = list(titles)
    first = runs.drop_duplicates("cell").set_index("cell")
    steps = np.unique(np.linspace(0, len(scores.grid) - 1, min(_N_TIMES, len(scores.grid))).astype(np.int64))
    provenance: dict[str, int] = {}
    usual_names = set(runs.loc[usual(runs), "contestant"])
    finished = results.finished()
    points = _points(finished.evaluations, len(runs), n_per_run)
    horizons = horizon_s(runs)
    unpruned = {split: _unpruned(finished, column) for split, column in _SPLITS.items()}
    listed = []
    for i, run in enumerate(runs.to_dict("records")):
        origin = json.dumps(_plain(run["provenance"]), sort_keys=True)
        listed.append(
            {
                "cell": cells.index(run["cell"]),
                "contestant": contestants.index(run["contestant"]),
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
                # A set of evaluated networks has a hypervolume above 0; before the first one there is no set.
                "hypervolume": [_short(value) if value > 0 else None for value in scores.hypervolume[i, steps]],
                "points": points[i],
            }
        )
    return {
        "contestants": [_look(name) | {"usual": name in usual_names} for name in contestants],
        "cells": [
            {
                "title": cell,
                "task": first.loc[cell, "task"],
                "model": first.loc[cell, "model"],
                "device": first.loc[cell, "device_class"],
                "metric": first.loc[cell, "metric"],
                "unpruned": {split: _short(errors.get(cell, math.nan)) for split, errors in unpruned.items()},
            }
            for cell in cells
        ],
        "grid": [_short(value) for value in scores.grid[steps]],
        "runs": listed,
        "ranks": _ranks(scores, contestants, steps),
        "provenance": [json.loads(text) for text in provenance],
    }


def _unpruned(results: Results, column: str) -> dict[Any, float]:
    """The unpruned network's error by cell, as in figures 8 and 9: of usual runs where any of a cell's has it."""
    # Selecting runs copies their evaluations: only the columns that count.
    slim = dataclasses.replace(results, evaluations=results.evaluations[["run_row", "n_params", column]])
    of_usual, of_all = (
        pd.Series(1.0 - unpruned_metric(kept, column)).groupby(kept.runs["cell"].to_numpy()).mean()
        for kept in (slim.select(usual(results.runs)), slim)
    )
    return of_usual.combine_first(of_all).to_dict()


def _look(contestant: str) -> dict[str, Any]:
    look = style.look(contestant)
    return {
        "name": contestant,
        "colour": look.colour,
        "symbol": _SYMBOLS[look.marker],
        "dash": _DASHES[look.dash],
        "filled": look.filled,
    }


def _points(evaluations: pd.DataFrame, n_runs: int, n_per_run: int) -> list[dict[str, list[Any]]]:
    """The fronts of all runs and a part of the rest, in columns, by run; ``names`` of their configurations."""
    names = ["run_row", "index", "params", "error", "test_error", "elapsed_s", "config"]
    on_front = front_mask(evaluations)
    dominated = evaluations["error"].notna().to_numpy() & ~on_front
    keep = on_front | spread(evaluations["run_row"].to_numpy(), dominated, n_per_run)
    shown = evaluations.loc[keep, names].assign(front=on_front[keep])
    shown = shown.sort_values(["run_row", "params", "error", "index"])
    columns = {
        "index": shown["index"].tolist(),
        "params": [_short(value) for value in shown["params"]],
        "error": [_short(value) for value in shown["error"]],
        "test": [_short(value) for value in shown["test_error"].astype(float)],
        "elapsed": [_short(value) for value in shown["elapsed_s"]],
        "front": [int(value) for value in shown["front"]],
        # The names of a configuration are those of its run's space: once a run instead of once a point.
        "config": shown["config"].astype(str).str.replace(_NAME, "", regex=True).str.slice(0, 400).tolist(),
    }
    configs = shown["config"].astype(str).to_numpy()
    ends = np.searchsorted(shown["run_row"].to_numpy(), np.arange(n_runs + 1))
    return [
        {name: values[a:b] for name, values in columns.items()}
        | {"names": re.findall(_NAME, configs[a]) if b > a else []}
        for a, b in pairwise(ends)
    ]


def spread(runs: npt.NDArray[Any], candidates: BoolArray, n_per_run: int) -> BoolArray:
    """At most ``n_per_run`` of each run's candidates, evenly spaced in the order they stand; ``(n,)``.

    Args:
        runs: ``(n,)`` ascending.
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


def _ranks(scores: Scores, contestants: list[str], steps: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Average ranks over time of the usual contestants, for each track and device class."""
    found = []
    runs = scores.runs
    keep = usual(runs)
    places = {(str(track), str(device)) for track, device in zip(runs["track"], runs["device_class"], strict=True)}
    order = {track: place for place, track in enumerate(TRACKS)}
    for track, device in sorted(places, key=lambda place: (order.get(place[0], len(order)), place)):
        chosen = keep & ((runs["track"] == track) & (runs["device_class"] == device)).to_numpy(dtype=np.bool_)
        blocks = block_table(subset(scores, chosen))
        bands = bootstrap_ranks(blocks.hypervolume[:, :, steps], blocks.cells, np.random.default_rng(_SEED))
        lines = [
            {
                "contestant": contestants.index(name),
                **{bound: [_short(value) for value in getattr(bands, bound)[i]] for bound in ("mean", "low", "high")},
            }
            for i, name in enumerate(blocks.names)
            if bands.n_blocks[i]
        ]
        if lines:
            found.append({"title": section_title(track, device), "lines": lines})
    return found


def _short(value: float) -> float | None:
    """Five significant digits are more than a screen shows; NaN has no JSON."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """A value out of a record, which may hold NaN, as JSON allows it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
