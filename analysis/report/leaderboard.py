"""``leaderboard.md``: the sections of the leaderboard as Markdown.

The text depends on nothing but the records and the frozen quantiles. It contains no date, and numbers are rounded so
that every machine writes the same bytes.
"""

from __future__ import annotations

from difflib import unified_diff
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from tabulate import tabulate

from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.report.formatting import bounds, count, escape, interval, number, percent_over, runs_of
from nasbench.analysis.report.sections import (
    NOT_DECLARED,
    PARAMETER_LIMITS,
    WORST_HYPERVOLUME,
    Ranking,
    sections,
    simulated_sections,
)
from nasbench.analysis.scoring.intervals import MIN_TASKS
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.analysis.scoring.ranks import MIN_RANKED_TASKS
from nasbench.analysis.scoring.scores import LARGEST_HYPERVOLUME
from nasbench.analysis.scoring.tracks import DEVICE_CLASSES, TABLE, TRACKS, with_objectives
from nasbench.errors import NasbenchError
from nasbench.trust.marks import LEVELS

_HEAD = f"""\
# Leaderboard

`nasbench leaderboard` writes this file from the official runs in `results/`. Do not edit it: `nasbench leaderboard`
overwrites every edit, and `nasbench leaderboard --check` fails on it.

An *entry* is an algorithm with its search space and its changed options. A *scenario* is one task with one model on one
device class. Every entry is measured on the whole list of scenarios and seeds of its section. Most lists are fixed,
declared before anyone runs them (`benchmark/sections.py`). Where none is declared, as for other objectives and for
simulated runs, the list is every scenario and seed with a run. The section says so and has no places.

- **test hypervolume**: decides the order. It is the hypervolume of the *test* errors and parameter counts of the
  networks on the *validation* front of a run. Both are quantile-normalised within the scenario, with reference point
  (2, 2); the largest possible value is 4. The table has the mean over all scenarios of the list. A missing run counts
  as the worst possible front ({WORST_HYPERVOLUME:g}), so nobody gains by leaving a run out.
- **place**: an entry shares the place of the entry above it unless it is separated from that entry or from the first
  entry with this place. Two entries are separated if the 95 % interval of their paired difference on these tasks is
  above zero. Runs with a single seed separate nothing. An entry is also separated from one above it if it lacks a run
  which the other has, or if its run failed where the other's did not.
- **on these tasks**: 95 % interval of the test hypervolume if the same tasks were run with other seeds (Student's t
  over seeds). **On tasks like these**: 95 % interval for other tasks (Student's t over tasks), from {MIN_TASKS} tasks
  on. An entry with a missing run has no interval of its hypervolume.
- **own runs**: mean test hypervolume over the runs that the entry has. It says nothing about the missing ones.
- **validation**: mean hypervolume of the validation errors, over the runs that the entry has. These errors are too
  low, because the networks were chosen by them. The value may still be below the test hypervolume: both are on the
  scale of validation errors, and the test examples may be easier.
- **average rank**: by test hypervolume, over the scenarios and seeds in which any entry has run; a missing run is last.
  It is averaged over seeds, then over the models of a task, then over tasks, and has an interval from
  {MIN_RANKED_TASKS} tasks on.
- **at 50 %, at 30 % of prunable**: test metrics. Of the networks that keep at most this fraction of the parameters that
  can be pruned (those of the layers), the network with the best validation error is chosen. Its test metric is given
  relative to the full network's. "-" means that no network is small enough.
- **runs**: runs on the list. A failed run counts with the evaluations that it recorded.
- **verified**: how far others can rely on the runs. *Self-reported*: the record is as its author sent it, and what it
  says fits together. *Re-scored*: the errors of its front were also computed again from its stored predictions and the
  labels (`nasbench verify`). *Re-run*: the run was repeated, and its errors agreed. A mark names the digest of the
  record, so an edited record loses it. No mark vouches for the seconds.
- **checkout**: *clean* means that every run came from an unchanged checkout of the suite, that its weights have the
  same hash as those of the other runs of the model, and that its data have the same hash as those of the other runs of
  the same task, model and seed. Otherwise the table says what is missing. An entry with a run without hashes has no
  place.
"""
_SIMULATED = """\
These runs searched tables of recorded errors and seconds (docs/tables.md). They are unofficial, and are compared with
each other only, never with runs on a network.
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
        parts += _section(section)
    if not found:
        parts.append("No official run yet.\n")
    for section in simulated_sections(results, quantiles):
        parts += _section(section, _SIMULATED)
    damaged = [finding for finding in results.findings if finding.damage]
    if damaged:
        parts.append("## Damaged records\n")
        parts += [f"- {escape(str(finding))}" for finding in damaged]
        parts.append("")
    parts.append(_not_counted(results.runs))
    return "\n".join(parts)


def _section(section: Ranking, note: str = "") -> list[str]:
    parts = [f"## {section.title}\n", note] if note else [f"## {section.title}\n"]
    parts.append(_list_of(section))
    if len(section.table):
        parts += [_ranking(section), _by_scenario(section), _origin(section)]
    parts += [f"- {escape(warning)}" for warning in section.warnings]
    return [*parts, ""] if section.warnings else parts


def _not_counted(runs: pd.DataFrame) -> str:
    """The line about the runs that are in no section; each run is counted once."""
    unfinished = (runs["status"] == "running").to_numpy()
    tracks = with_objectives(TRACKS, runs["track"])
    has_section = runs["track"].isin(tracks).to_numpy()
    simulated = has_section & (runs["device_class"] == TABLE).to_numpy()
    unofficial = ~unfinished & ~simulated & ~runs["official"].to_numpy(dtype=np.bool_)
    known = simulated | (has_section & runs["device_class"].isin(DEVICE_CLASSES).to_numpy())
    elsewhere = runs[~unfinished & ~unofficial & ~known]
    text = f"Not counted: {count(unofficial.sum(), 'unofficial run')}, {count(unfinished.sum(), 'unfinished run')}"
    if len(elsewhere):
        kinds = sorted(set(elsewhere["track"].astype(str) + "/" + elsewhere["device_class"].astype(str)))
        text += f", {count(len(elsewhere), 'run')} whose track or device class has no section"
        text += f" ({escape(', '.join(kinds))})"
    return text + ".\n"


def _list_of(section: Ranking) -> str:
    """The line about the scenarios and seeds of a section, and how many of their runs there are."""
    seeds = section.seeds
    consecutive = seeds == tuple(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 1
    shown = f"{seeds[0]} to {seeds[-1]}" if consecutive else ", ".join(map(str, seeds))
    text = f"{count(len(section.scenarios), 'scenario')}: {escape(', '.join(section.scenarios))}. Seeds: {shown}. "
    text += f"A complete entry has {count(section.n_blocks, 'run')}."
    if not section.is_declared:
        text += f" {NOT_DECLARED}"
    if section.largest != LARGEST_HYPERVOLUME:
        text += f" With three objectives, the largest possible hypervolume is {section.largest:g}."
    if section.n_outside:
        text += f" Not on the list, so not counted: {count(section.n_outside, 'official run')}."
    if section.table.empty:
        text += " No run on the list yet."
    return text + "\n"


def _ranking(section: Ranking) -> str:
    """The table of entries, best first."""
    rows = []
    for row in section.table.to_dict("records"):
        shown = {
            "place": number(row["place"], 0),
            "entry": escape(row["entry"]),
            "test hypervolume": number(row["test"], 3),
            "on these tasks": bounds(row["test_low"], row["test_high"], 3),
            "on tasks like these": bounds(row["test_task_low"], row["test_task_high"], 3),
            "own runs": number(row["own_test"], 3),
            "validation": number(row["validation"], 3),
            "average rank": interval(row["rank"], row["rank_low"], row["rank_high"], 2),
        }
        for limit in PARAMETER_LIMITS:
            covered = row[f"relative_{limit}"], row[f"n_relative_{limit}"], row["n_runs"]
            shown[f"at {100 * limit:.0f} % of prunable"] = percent_over(*covered)
        shown["runs"] = runs_of(row["n_runs"], section.n_blocks, row["n_failed"])
        shown["suite"] = escape(row["suite_versions"])
        shown["verified"] = row["level"]
        rows.append(shown)
    return _table(rows)


def _by_scenario(section: Ranking) -> str:
    names = ["entry", *map(escape, section.scenarios)]
    cells = scenario_cells(section)
    rows = [dict(zip(names, [escape(entry), *cells[entry]], strict=True)) for entry in cells]
    return "Mean test hypervolume of the runs in each scenario (number of runs):\n\n" + _table(rows)


def scenario_cells(section: Ranking) -> dict[str, list[str]]:
    """Mean test hypervolume and number of runs of every entry in every scenario: ``3.562 (3)``, ``-`` for no run."""
    known = {(row["entry"], row["scenario"]): row for row in section.by_scenario.to_dict("records")}
    cells = {key: f"{number(row['test'], 3)} ({row['n_runs']})" for key, row in known.items()}
    names = section.table["entry"]
    return {name: [cells.get((name, scenario), "-") for scenario in section.scenarios] for name in names}


def _origin(section: Ranking) -> str:
    """Who submitted the runs of each entry, and the command that makes its first one again."""
    rows = []
    for row in section.table.to_dict("records"):
        # The form of a link is checked when it is read: it has no character that Markdown or HTML would obey.
        submitters = [f"[{escape(author)}]({link})" for author, link in row["submitters"]]
        rows.append(
            {
                "entry": escape(row["entry"]),
                "author": ", ".join(submitters) or "this repository",
                "checkout": row["verified"],
                "command of the first run": f"<code>{escape(row['command'])}</code>",
            }
        )
    n_runs = sum(section.levels.values())
    known = ", ".join(f"{section.levels[level]} {level}" for level in reversed(LEVELS) if section.levels.get(level))
    share = f"Of {count(n_runs, 'run')}: {known}. "
    share += f"Repeated: {section.n_repeated}, of which {section.n_reproduced} reproduced."
    return share + "\n\n" + _table(rows)


def _table(rows: list[dict[str, str]]) -> str:
    return tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True) + "\n"
