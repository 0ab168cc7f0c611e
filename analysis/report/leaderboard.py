"""``leaderboard.md``: the sections of the leaderboard as Markdown.

The text depends on nothing but the records and the frozen quantiles. It contains no date, and numbers are rounded so
that every machine writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.report.formatting import count, escape, interval, number, percent, place
from nasbench.analysis.report.sections import MIN_BLOCKS, PARAMETER_LIMITS, Section, sections
from nasbench.analysis.scoring.intervals import MIN_VALUES
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.analysis.scoring.tracks import DEVICE_CLASSES, TRACKS
from nasbench.errors import NasbenchError

_HEAD = f"""\
# Leaderboard

`nasbench leaderboard` writes this file from the official runs in `results/`. Do not edit it: `nasbench leaderboard`
overwrites every edit, and `nasbench leaderboard --check` fails on it.

An *entry* is an algorithm with its search space and its changed options. A *scenario* is one task with one model on one
device class. A *block* is one scenario and one seed.

Each section compares entries in the scenarios in which at least two entries share a seed. It lists these scenarios,
and gives them equal weight. An entry has a hypervolume and test metrics once it has run in all of them. It has a place
if another entry has run in all of them too. Entries without a place are at the end of the table. A second table has the
mean hypervolume of every entry in every scenario.

- **place**: by average rank.
- **hypervolume**: of validation error and parameter count, both quantile-normalised within the scenario, with reference
  point (2, 2). The largest possible value is 4.
- **average rank**: over the blocks that the entry shares with other entries. If only some entries of the section are
  in a block, their ranks are stretched to the same scale.
- **at 50 %, at 30 %**: test metrics. Of the networks with at most this fraction of the parameters, the network with the
  best validation error is chosen. Its test metric is given relative to the full network's. "-" means that no network is
  small enough.
- **runs**: a failed run counts with the evaluations that it recorded.
- **verified**: *clean* means that every run came from an unchanged checkout of the suite, and that its data and weights
  have the same hashes as the other runs of the same task, model and seed. Otherwise the table says what is missing.

Brackets contain 95 % intervals. Hypervolume intervals use Student's t over seeds. An asterisk means that several
scenarios had only one seed, so the interval includes the variation between scenarios. Intervals of places and average
ranks come from resampling tasks and seeds, as in the paper. They are too narrow if there are few tasks and seeds. Fewer
than {MIN_VALUES} runs or {MIN_BLOCKS} blocks have no interval.
"""


def leaderboard(results: Path, quantiles: Quantiles | None = None) -> str:
    """The text of ``leaderboard.md``.

    Args:
        results: the results folder.
        quantiles: the normaliser; None for the frozen quantiles of the suite.
    """
    return render(read_results(results), quantiles)


def check_leaderboard(results: Path, path: Path, quantiles: Quantiles | None = None) -> None:
    """Compare a leaderboard file with the results folder.

    Raises:
        NasbenchError: if the file does not match; the message has the first lines that differ.
    """
    wanted = leaderboard(results, quantiles)
    found = path.read_bytes().decode("utf-8", errors="replace") if path.exists() else ""
    if found != wanted:
        lines = unified_diff(found.splitlines(), wanted.splitlines(), str(path), str(results), n=0, lineterm="")
        raise NasbenchError(
            f"{path} does not match {results}; run 'nasbench leaderboard' to update it:\n"
            + "\n".join(islice(lines, 12))
        )


def render(results: Results, quantiles: Quantiles | None = None) -> str:
    """The text of the leaderboard from results that are already read."""
    parts = [_HEAD]
    found = sections(results, quantiles)
    for section in found:
        parts.append(f"## {section.title}\n")
        parts += [_comparison(section), _ranking(section), _by_scenario(section)]
        parts += [f"- {escape(warning)}" for warning in section.warnings]
        if section.warnings:
            parts.append("")
    if not found:
        parts.append("No official run yet.\n")
    damaged = [finding for finding in results.findings if finding.damage]
    if damaged:
        parts.append("## Damaged records\n")
        parts += [f"- {escape(str(finding))}" for finding in damaged]
        parts.append("")
    parts.append(_not_counted(results.runs))
    return "\n".join(parts)


def _not_counted(runs: pd.DataFrame) -> str:
    """The line about the runs that are in no section; each run is counted once."""
    unfinished = (runs["status"] == "running").to_numpy()
    unofficial = ~unfinished & ~runs["official"].to_numpy(dtype=np.bool_)
    known = (runs["track"].isin(TRACKS) & runs["device_class"].isin(DEVICE_CLASSES)).to_numpy()
    elsewhere = runs[~unfinished & ~unofficial & ~known]
    text = f"Not counted: {count(unofficial.sum(), 'unofficial run')}, {count(unfinished.sum(), 'unfinished run')}"
    if len(elsewhere):
        kinds = sorted(set(elsewhere["track"].astype(str) + "/" + elsewhere["device_class"].astype(str)))
        text += f", {count(len(elsewhere), 'run')} whose track or device class has no section"
        text += f" ({escape(', '.join(kinds))})"
    return text + ".\n"


def _comparison(section: Section) -> str:
    """The line about the scenarios that count in a section and the scenarios that do not."""
    if section.table["rank"].isna().all():
        return "Nothing to compare yet: no two entries share a scenario and a seed.\n"
    n_entries, n_placed = len(section.table), int(section.table["place"].notna().sum())
    text = f"Compared in {count(section.n_scenarios, 'scenario')}: {escape(', '.join(section.scenarios))}. "
    text += f"{n_placed} of {n_entries} entries have a place."
    if section.lone_scenarios:
        lone = escape(", ".join(section.lone_scenarios))
        text += f" Not compared, because no two entries share a seed there: {lone}."
    return text + "\n"


def _ranking(section: Section) -> str:
    """The table of entries, best first."""
    rows = []
    for row in section.table.to_dict("records"):
        failed = f" ({row['n_failed']} failed)" if row["n_failed"] else ""
        hypervolume = interval(row["hypervolume"], row["hypervolume_low"], row["hypervolume_high"], 3)
        shown = {
            "place": place(row["place"], row["place_low"], row["place_high"]),
            "entry": escape(row["entry"]),
            "hypervolume": hypervolume + ("\\*" if row["between_scenarios"] else ""),
            "average rank": interval(row["rank"], row["rank_low"], row["rank_high"], 2),
        }
        for limit in PARAMETER_LIMITS:
            shown[f"at {100 * limit:.0f} %"] = _relative(row, limit)
        shown["runs"] = f"{row['n_runs']}{failed}"
        shown["scenarios"] = f"{row['n_scenarios']} of {section.n_scenarios}"
        shown["suite"] = escape(row["suite_versions"])
        shown["verified"] = row["verified"]
        rows.append(shown)
    return _table(rows)


def _relative(row: Mapping[Any, Any], limit: float) -> str:
    """The relative test metric at a limit, and how many runs have such a small network unless all have."""
    value, n, n_runs = row[f"relative_{limit}"], row[f"n_relative_{limit}"], row["n_counted"]
    if n == 0 or np.isnan(value):
        return "-"
    return percent(value) + (f" ({n} of {n_runs} runs)" if n < n_runs else "")


def _by_scenario(section: Section) -> str:
    """The table of mean hypervolumes of every entry in every scenario, with the number of runs."""
    known = {(row["entry"], row["scenario"]): row for row in section.by_scenario.to_dict("records")}
    rows = []
    for name in section.table["entry"]:
        shown = {"entry": escape(name)}
        for scenario in sorted(section.by_scenario["scenario"].unique()):
            row = known.get((name, scenario))
            shown[escape(scenario)] = f"{number(row['hypervolume'], 3)} ({row['n_runs']})" if row else "-"
        rows.append(shown)
    return "Mean hypervolume in each scenario (number of runs):\n\n" + _table(rows)


def _table(rows: list[dict[str, str]]) -> str:
    return tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True) + "\n"
