"""The HTML page of a report: one file that works without a network.

``report.html`` is the template. ``report.css``, ``report.js`` and Plotly's script are written into it. Names on the
page may come from untrusted files. Therefore the template escapes all text, the embedded data are JSON without a
``<``, and a content security policy makes the browser run only these scripts, identified by their hashes, and load
nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from nasbench.analysis.experiments.missing import Shortfall
from nasbench.analysis.figures import style
from nasbench.analysis.reading.entries import short_names
from nasbench.analysis.reading.results import Results
from nasbench.analysis.report.explorer import n_dominated, script_data
from nasbench.analysis.report.formatting import bounds, count, interval, number, percent_over, runs_of
from nasbench.analysis.report.leaderboard import scenario_cells
from nasbench.analysis.report.sections import NOT_DECLARED, PARAMETER_LIMITS, Ranking
from nasbench.analysis.report.tables import zero_shot_choices
from nasbench.analysis.scoring.ranks import MIN_RANKED_TASKS
from nasbench.analysis.scoring.scores import Scores

Named = dict[str, dict[str, Any]]
"""How the page shows each entry, by its whole name."""


@dataclass(frozen=True)
class PageFigure:
    """A figure on the page.

    Attributes:
        name: key of the figure in the catalogue.
        heading, title: ``Figure 6`` and its title.
        image: the file to embed, SVG or PNG; None if there is nothing to show.
        lacks: the runs that the figure lacks; None if it lacks none.
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
    boards: list[Ranking],
    n_official: int,
    figures: list[PageFigure],
    warnings: list[str],
    suite_version: str,
) -> None:
    """Write the page as one self-contained file.

    Args:
        boards: the leaderboard's sections. The first ``n_official`` are official; the others are collapsed.
        figures: all figures of the catalogue, also those without an image.
    """
    runs = scores.runs
    entries = sorted(runs["entry"].unique()) if len(runs) else []
    n_per_run = n_dominated(len(runs))
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    scripts = [get_plotlyjs(), (folder / "report.js").read_text(encoding="utf-8")] if len(runs) else []
    named = _named(entries)
    coverage = _coverage(runs, named)
    payload = script_data(results, scores, entries, n_per_run) if len(runs) else {"ranks": []}
    zero_shot = _zero_shot(runs, named)
    rows = {"Leaderboard": True, "Explore": len(runs), "Ranks": len(runs), "Coverage": len(runs)}
    rows |= {"Zero-shot": len(zero_shot["rows"]), "Figures": True}
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
        leaderboards=[_board(board, named, i >= n_official) for i, board in enumerate(boards)],
        leaderboard_note=_LEADERBOARD_NOTE,
        points_note=(
            "Only sub-networks on the validation front have a test error. Of the dominated sub-networks, the page "
            f"contains at most {n_per_run} per run, spread evenly over the run. The records contain all of them."
        ),
        ranks_note=(
            "Average rank by validation hypervolume: the mean over seeds, then over the models of a task, then over "
            "tasks, in the scenarios and seeds in which all shown entries have run. From "
            f"{MIN_RANKED_TASKS} tasks on, bands are 95 % intervals for tasks like these. Only runs with default "
            "options and the usual budget count."
        ),
        coverage=coverage,
        zero_shot=zero_shot,
        zero_shot_note=_ZERO_SHOT_NOTE,
        legend=[(each["name"], each["differences"]) for each in named.values() if each["differences"]],
        figures=[_figure(figure) for figure in figures],
        footer=f"Written by nasbench, suite version {suite_version}. This page loads nothing from outside.",
    )
    path.write_text(page, encoding="utf-8")


_PIXELS_PER_POINT = 2.0
"""Of a figure on the page: a page-wide figure has 972 pixels."""
_NARROW = ("front", "ranks", "2", "3", "4", "6")
"""Figures that share a row with another one."""
_LEADERBOARD_NOTE = (
    "An entry is an algorithm with its search space and changed options. A scenario is one task with one model on one "
    "device class. Each section has a list of scenarios and seeds; it was declared before anyone ran it, unless the "
    "section says that it was not and has no places. Entries are ordered by the test hypervolume of the front that "
    "they chose on validation data; both objectives are quantile-normalised within the scenario, and the largest "
    "possible value is 4 (with three objectives: 8). A missing run counts as the worst possible front; the mean over "
    "an entry's own runs stands beside. An entry shares the place of the entry above it unless it is separated at 95 "
    "% from that entry or from the first one with this place, or lacks a run of theirs, or failed where they did not. "
    "Networks are chosen by validation errors, so these are too low; their hypervolume may still be below that of the "
    "test, where test examples are easier. Intervals are for other seeds of these tasks, and for other tasks like "
    "these; the hypervolume of an entry with a missing run has none. Test metrics under a limit are relative to the "
    "full network's. The limit is a share of the parameters that can be pruned, those of the layers."
)


_ZERO_SHOT_NOTE = (
    "Networks of language model runs on tasks for which nothing was trained (nasbench zero-shot). Brackets are 95 % "
    "intervals over examples like these. By chance: the metric of a network that gives every example the same answer."
)


def embed(data: Any) -> Markup:
    """JSON that is safe inside a script element, whatever strings it contains."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _verbatim(text: str) -> Markup:
    """A script or style of the project, which the template must not escape."""
    if "</" in text and ("</script" in text.lower() or "</style" in text.lower()):
        raise ValueError("a script or style that closes its own element cannot be embedded")
    return Markup(text)


def _policy(scripts: list[str]) -> str:
    """A content security policy that allows these scripts and no network access."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _facts(results: Results, scores: Scores, suite_version: str) -> list[tuple[str, str]]:
    runs = scores.runs
    return [
        _fact(len(runs), "finished run"),
        _fact(len(results.evaluations), "evaluation"),
        _fact(runs["entry"].nunique(), "entry", "entries"),
        _fact(runs["task"].nunique(), "task"),
        _fact(runs["model"].nunique(), "model"),
        (suite_version, "suite version"),
    ]


def _fact(n: int, singular: str, plural: str | None = None) -> tuple[str, str]:
    return f"{n:,}", count(n, singular, plural).partition(" ")[2]


def _board(board: Ranking, named: Named, folded: bool) -> dict[str, Any]:
    rows = []
    for row in board.table.to_dict("records"):
        cells = [
            number(row["place"], 0),
            number(row["test"], 3),
            bounds(row["test_low"], row["test_high"], 3),
            bounds(row["test_task_low"], row["test_task_high"], 3),
            number(row["own_test"], 3),
            number(row["validation"], 3),
            interval(row["rank"], row["rank_low"], row["rank_high"], 2),
        ]
        cells += [percent_over(row[f"relative_{b}"], row[f"n_relative_{b}"], row["n_runs"]) for b in PARAMETER_LIMITS]
        cells.append(runs_of(row["n_runs"], board.n_blocks, row["n_failed"]))
        rows.append({**named[row["entry"]], "cells": cells})
    limits = [f"At {100 * limit:.0f} % of prunable" for limit in PARAMETER_LIMITS]
    columns = ["Entry", "Place", "Test hypervolume", "On these tasks", "On tasks like these", "Own runs"]
    columns += ["Validation", "Average rank", *limits, "Runs"]
    note = "" if board.is_declared else f" {NOT_DECLARED}"
    return {
        "title": board.title,
        "columns": columns,
        "rows": rows,
        "folded": folded,
        "by_scenario": _by_scenario(board, named),
        "listed": f"{', '.join(board.scenarios)}; seeds {', '.join(map(str, board.seeds))}.{note}",
    }


def _named(entries: list[str]) -> Named:
    """How the page names each entry: its short name, the differences in a tooltip, and its index for the colour."""
    short = short_names(entries)
    return {name: {"name": short[name][0], "differences": short[name][1], "entry": i} for i, name in enumerate(entries)}


def _by_scenario(board: Ranking, named: Named) -> dict[str, Any]:
    """The cells of every entry in every scenario of a board."""
    rows = [{**named[name], "cells": cells} for name, cells in scenario_cells(board).items()]
    return {"columns": list(board.scenarios), "rows": rows}


def _zero_shot(runs: pd.DataFrame, named: Named) -> dict[str, Any]:
    """Metrics of every network on every zero-shot task; no rows if nothing was measured."""
    table = zero_shot_choices(runs) if len(runs) else pd.DataFrame()
    rows = [{**named[row[0]], "cells": row[1:]} for row in table.itertuples(index=False, name=None)]
    return {"columns": [name.capitalize() if i < 4 else name for i, name in enumerate(table.columns)], "rows": rows}


def _coverage(runs: pd.DataFrame, named: Named) -> dict[str, Any]:
    """Finished runs of each entry in each scenario, with a shade from 0 to 4."""
    if not len(runs):
        return {"columns": [], "rows": []}
    titles = style.panel_titles(runs)
    counts = runs.groupby(["entry", "scenario"]).size()
    failed = runs[runs["status"] == "failed"].groupby(["entry", "scenario"]).size()
    most = int(counts.max())
    rows = []
    for name, shown in named.items():
        cells = []
        for scenario in titles:
            n, n_failed = int(counts.get((name, scenario), 0)), int(failed.get((name, scenario), 0))
            text = f"{n} ({n_failed})" if n_failed else str(n) if n else "-"
            cells.append({"text": text, "level": -(-4 * n // most)})
        rows.append({**shown, "cells": cells})
    places = runs.drop_duplicates("scenario").set_index("scenario")
    columns = [
        {
            "task": places.loc[scenario, "task"],
            "model": places.loc[scenario, "model"],
            "device": str(scenario).rpartition("/")[2],
        }
        for scenario in titles
    ]
    return {"columns": columns, "rows": rows}


def _figure(figure: PageFigure) -> dict[str, Any]:
    shown: dict[str, Any] = vars(figure) | {"image": "", "wide": figure.name.partition("-")[0] not in _NARROW}
    if figure.image is not None:
        shown["width"] = _width(figure.image)
        kind = {".svg": "image/svg+xml", ".png": "image/png"}[figure.image.suffix]
        shown["image"] = f"data:{kind};base64,{base64.b64encode(figure.image.read_bytes()).decode()}"
    return shown


def _width(image: Path) -> int | None:
    """Width of a figure on the page, in pixels: letters of all figures have one size. None if it is not known."""
    vector = image.with_suffix(".svg")
    points = re.search(r'width="([\d.]+)pt"', vector.read_text(encoding="utf-8")[:2000]) if vector.exists() else None
    return None if points is None else round(_PIXELS_PER_POINT * float(points[1]))
