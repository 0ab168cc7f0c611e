"""The HTML page of a report: one file that works without a network.

``report.html`` is the template, ``report.css`` and ``report.js`` are written into it with Plotly's script. Names come
from strangers' files: the template escapes all text, the embedded data are JSON without a ``<``, and a content security
policy lets the browser run these scripts, known by their hashes, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from nasbench.analysis.experiments.missing import Shortfall
from nasbench.analysis.figures import style
from nasbench.analysis.reading.results import Results
from nasbench.analysis.report.explorer import n_dominated, script_data
from nasbench.analysis.report.leaderboard import PARAMETER_LIMITS, Section, interval, number
from nasbench.analysis.scoring.scores import Scores


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
    entries = sorted(runs["entry"].unique()) if len(runs) else []
    n_per_run = n_dominated(len(runs))
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    scripts = [get_plotlyjs(), (folder / "report.js").read_text(encoding="utf-8")] if len(runs) else []
    coverage = _coverage(runs, entries)
    payload = script_data(results, scores, entries, n_per_run) if len(runs) else {"ranks": []}
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
        leaderboards=[_board(board, entries, i >= n_official) for i, board in enumerate(boards)],
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
        (str(runs["entry"].nunique()), "entries"),
        (str(runs["task"].nunique()), "tasks"),
        (str(runs["model"].nunique()), "models"),
        (suite_version, "suite version"),
    ]


def _board(board: Section, entries: list[str], folded: bool) -> dict[str, Any]:
    rows = []
    for row in board.table.to_dict("records"):
        scenarios = [
            _place(row["place"], row["place_low"], row["place_high"]),
            interval(row["hypervolume"], row["hypervolume_low"], row["hypervolume_high"], 3)
            + ("*" if row["between_scenarios"] else ""),
            interval(row["rank"], row["rank_low"], row["rank_high"], 2),
        ]
        scenarios += [_percent(row[f"relative_{limit}"]) for limit in PARAMETER_LIMITS]
        scenarios += [str(row["n_runs"]), f"{row['n_scenarios']} of {board.n_scenarios}"]
        rows.append({"name": row["entry"], "entry": entries.index(row["entry"]), "scenarios": scenarios})
    limits = [f"At {100 * limit:.0f} % params" for limit in PARAMETER_LIMITS]
    columns = ["Method", "Place", "Hypervolume", "Average rank", *limits, "Runs", "Tasks x models"]
    return {
        "title": board.title,
        "columns": columns,
        "rows": rows,
        "folded": folded,
        "by_scenario": _by_scenario(board, entries),
        "lone": ", ".join(board.lone_scenarios),
    }


def _by_scenario(board: Section, entries: list[str]) -> dict[str, Any]:
    """Mean hypervolume of every entry in every scenario of a board."""
    means = board.by_scenario.set_index(["entry", "scenario"])["hypervolume"]
    scenarios = sorted(board.by_scenario["scenario"].unique())
    rows = [
        {
            "name": name,
            "entry": entries.index(name),
            "scenarios": [number(means.get((name, scenario), math.nan), 3) for scenario in scenarios],
        }
        for name in board.table["entry"]
    ]
    return {"columns": [scenario.rpartition("/")[0] for scenario in scenarios], "rows": rows}


def _place(place: float, low: float, high: float) -> str:
    if np.isnan(place):
        return "-"
    return f"{place:.0f}" if np.isnan(low) else f"{place:.0f} [{low:.0f}, {high:.0f}]"


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{number(100 * value, 1)} %"


def _coverage(runs: pd.DataFrame, entries: list[str]) -> dict[str, Any]:
    """Finished runs of each entry in each scenario, with a shade by their share of the most any has."""
    if not len(runs):
        return {"columns": [], "rows": []}
    titles = style.panel_titles(runs)
    counts = runs.groupby(["entry", "scenario"]).size()
    failed = runs[runs["status"] == "failed"].groupby(["entry", "scenario"]).size()
    most = int(counts.max())
    rows = []
    for i, name in enumerate(entries):
        scenarios = []
        for scenario in titles:
            n, n_failed = int(counts.get((name, scenario), 0)), int(failed.get((name, scenario), 0))
            text = f"{n} ({n_failed})" if n_failed else str(n) if n else "-"
            scenarios.append({"text": text, "level": -(-4 * n // most)})
        rows.append({"name": name, "entry": i, "scenarios": scenarios})
    places = runs.drop_duplicates("scenario").set_index("scenario")
    columns = [
        {
            "task": places.loc[scenario, "task"],
            "model": places.loc[scenario, "model"],
            "device": places.loc[scenario, "device_class"],
        }
        for scenario in titles
    ]
    return {"columns": columns, "rows": rows}


def _figure(figure: PageFigure) -> dict[str, Any]:
    shown: dict[str, Any] = vars(figure) | {"image": "", "wide": figure.name in ("5", "7", "8", "9", "10", "11", "12")}
    if figure.image is not None:
        kind = {".svg": "image/svg+xml", ".png": "image/png"}[figure.image.suffix]
        shown["image"] = f"data:{kind};base64,{base64.b64encode(figure.image.read_bytes()).decode()}"
    return shown
