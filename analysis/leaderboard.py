"""``leaderboard.md``: official runs ranked by track and device class, from the results folder only.

Contestants are compared where they met. A cell that one contestant has alone says nothing about it and would cost all
others their place, so it does not count; and means over different cells are not comparable, so who lacks a cell that
counts gets neither a mean nor a place, and is listed with what it has.

The text depends on the records and the frozen quantiles and on nothing else: the bootstrap is seeded, rows are
sorted, no date is written. Numbers are rounded to nine digits before they are compared or printed with three, so last
bits that differ between machines do not show.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tabulate import tabulate

from nasbench.errors import NasbenchError
from nasbench.subnetwork import BoolArray, FloatArray

from . import ranks
from .frame import Results, read_results
from .intervals import COVERAGE, MIN_VALUES, mean_interval
from .quantiles import Quantiles, load_quantiles
from .relative import relative_performance
from .scores import Blocks, block_table, score

TRACKS = {"paper": "Paper models", "compact": "Compact models", "demo": "Demo"}
EVERY_TRACK = {**TRACKS, "user": "User's own tasks and models"}
"""With what is compared but never on the leaderboard."""
DEVICE_CLASSES = {"gpu": "GPU", "cpu": "CPU"}
PARAMETER_LIMITS = (0.5, 0.3)
MIN_BLOCKS = 3
"""Fewer blocks than these, resampled, nearly repeat themselves: places and ranks then have no interval."""
_COLUMNS = [
    *("run_row", "index", "status", "error", "params", "n_params", "test_error", "elapsed_s"),
    *("cell", "suite_version"),
]
"""Of the evaluations: what scores and relative performance are computed from."""
_DIGITS = 9
_SEED = 20240901

_HEAD = f"""\
# Leaderboard

Written by `nasbench leaderboard` from the official runs in `results/`; edits are overwritten and fail
`nasbench leaderboard --check`.

What counts are the tasks and models on which at least two methods have run with one seed; every section lists them, and
each has the same weight. A method has a hypervolume and test metrics here once it has run on all of them, and a place
if another one has, too. The others stand below with "n of m", and the second table shows what every method has on each.

Hypervolume is that of validation error and parameter count, both quantile-normalised per task and model, with
reference point (2, 2); 4 is the best possible. Average rank is over the (task, model, seed) blocks that a method shares
with others; where only some of the section's methods are in a block, their ranks are stretched to the same scale. The
place follows the average rank. "At 50 %" is the test metric of the network with the best validation error among those
with at most half of the parameters, relative to the unpruned network's, and "-" where there is none so small. A failed
run counts with what it had reported.

Brackets hold 95 % intervals. That of the hypervolume is Student's, from the spread of the repetitions on each task and
model; an asterisk marks one that is from the differences between tasks and models, for want of repetitions. Those of
place and average rank are from resampling tasks and repetitions, as in the paper, and too short where there are few.
From fewer than {MIN_VALUES} runs, or {MIN_BLOCKS} blocks, there is none.
"""

_VERIFICATION = """\
Verified: *clean* means that every run came from an unchanged checkout of the suite, and that its data and weights
have the hashes that the other runs of the same task, model and seed have; otherwise the cell says what is missing.
"""


@dataclass(frozen=True)
class Section:
    """One ranking: a track on a device class.

    Attributes:
        title: of the section.
        cells: ``task/model`` of what counts: where at least two contestants share a seed; all if there is no such one.
        lone_cells: the others.
        table: one row a contestant, best first: ``contestant, place, place_low, place_high`` (NaN without a place),
            ``hypervolume, hypervolume_low, hypervolume_high`` over ``cells`` (NaN unless it has run on all of them),
            ``between_cells`` (whether that interval is from the differences between cells), ``rank, rank_low,
            rank_high, n_runs, n_failed, n_cells`` (of ``cells``), ``n_tasks, suite_versions, verified``, and for each
            limit ``b`` of :data:`PARAMETER_LIMITS` ``relative_b`` (NaN as for the hypervolume), ``n_relative_b`` (runs
            that have such a network) and ``n_counted`` (of so many).
        by_cell: one row a contestant and cell, lone ones too: ``contestant, cell, hypervolume, n_runs``.
        warnings: about normalisation.
    """

    title: str
    cells: tuple[str, ...]
    lone_cells: tuple[str, ...]
    table: pd.DataFrame
    by_cell: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def n_cells(self) -> int:
        """How many cells count."""
        return len(self.cells)


def leaderboard(results: Path, quantiles: Quantiles | None = None) -> str:
    """The text of ``leaderboard.md``.

    Args:
        results: the results folder.
        quantiles: the normaliser; None for the frozen one of the suite.
    """
    return render(read_results(results), quantiles)


def check_leaderboard(results: Path, path: Path, quantiles: Quantiles | None = None) -> None:
    """Hold a leaderboard file against the results folder.

    Raises:
        NasbenchError: if they differ; shows the first lines that do.
    """
    wanted = leaderboard(results, quantiles)
    found = path.read_bytes().decode("utf-8", errors="replace") if path.exists() else ""
    if found != wanted:
        lines = unified_diff(found.splitlines(), wanted.splitlines(), str(path), "as results say", n=0, lineterm="")
        raise NasbenchError(
            f"{path} is not what {results} says; write it anew with 'nasbench leaderboard':\n"
            + "\n".join(islice(lines, 12))
        )


def render(results: Results, quantiles: Quantiles | None = None) -> str:
    """The leaderboard of results already read."""
    parts = [_HEAD]
    found = sections(results, quantiles)
    for section in found:
        parts.append(f"## {section.title}\n")
        parts += [_compared(section), _markdown(section), _markdown_by_cell(section)]
        parts += [f"- {escape(warning)}" for warning in section.warnings]
        if section.warnings:
            parts.append("")
    parts.append(_VERIFICATION if found else "No official run yet.\n")
    damaged = [finding for finding in results.findings if finding.damage]
    if damaged:
        parts.append("## Damaged records\n")
        parts += [f"- {escape(str(finding))}" for finding in damaged]
        parts.append("")
    parts.append(_not_counted(results.runs))
    return "\n".join(parts)


def sections(results: Results, quantiles: Quantiles | None = None, tracks: Mapping[str, str] = TRACKS) -> list[Section]:
    """All rankings that have an official run, in the order of tracks and device classes.

    Args:
        tracks: titles by track.
    """
    # Selecting runs copies their evaluations: only the columns that count, which are a third of them.
    official = dataclasses.replace(results, evaluations=results.evaluations[_COLUMNS]).official()
    frozen = load_quantiles() if quantiles is None else quantiles
    found = []
    for track in tracks:
        for device_class in DEVICE_CLASSES:
            chosen = (official.runs["track"] == track) & (official.runs["device_class"] == device_class)
            if chosen.any():
                found.append(_section(section_title(track, device_class), official.select(chosen), frozen))
    return found


def section_title(track: str, device_class: str) -> str:
    """``Paper models, GPU``."""
    return f"{EVERY_TRACK.get(track, track)}, {DEVICE_CLASSES.get(device_class, device_class)}"


def _section(title: str, results: Results, quantiles: Quantiles) -> Section:
    scores = score(results, quantiles)
    blocks = block_table(scores)
    present, cell_of = ~np.isnan(blocks.final), blocks.cells.astype(str)
    met = present.sum(axis=0) > 1
    counted = met if met.any() else np.ones_like(met)
    cells = np.unique(cell_of[counted])
    relative = relative_performance(results, PARAMETER_LIMITS)
    relative = relative[relative["cell"].isin(cells)]
    verified = _verified(results.runs)
    table = pd.DataFrame({"contestant": blocks.names})
    table = table.join(_average_ranks(blocks))
    rows = []
    for m, name in enumerate(blocks.names):
        own = (results.runs["contestant"] == name).to_numpy()
        runs = results.runs[own]
        n_cells = len(np.unique(cell_of[present[m] & counted]))
        complete = n_cells == len(cells)
        used = present[m] & np.isin(cell_of, cells) & complete
        mean, low, high = mean_interval(blocks.final[m, used], cell_of[used])
        row: dict[str, Any] = {
            "hypervolume": mean,
            "hypervolume_low": low,
            "hypervolume_high": high,
            "between_cells": not np.isnan(low) and (np.unique(cell_of[used], return_counts=True)[1] == 1).sum() > 1,
            "n_runs": len(runs),
            "n_failed": int((runs["status"] == "failed").sum()),
            "n_cells": n_cells,
            "n_tasks": runs["task"].nunique(),
            "suite_versions": ", ".join(sorted(runs["suite_version"].unique())),
            "verified": "; ".join(sorted(set(verified[own]))),
            "n_counted": int(used.sum()),
        }
        for limit in PARAMETER_LIMITS:
            picked = relative[(relative["contestant"] == name) & (relative["threshold"] == limit)].dropna()
            row[f"relative_{limit}"] = picked.groupby("cell")["relative"].mean().mean() if complete else np.nan
            row[f"n_relative_{limit}"] = len(picked)
        rows.append(row)
    table = table.join(pd.DataFrame(rows))
    placed = ((table["n_cells"] == len(cells)) & table["rank"].notna()).to_numpy()
    places = _places(_sampled_ranks(blocks), table["rank"].to_numpy(), placed, table["rank_low"].notna().to_numpy())
    for name, values in zip(("place", "place_low", "place_high"), places, strict=True):
        table[name] = values
    order = np.lexsort(
        (
            table["contestant"].to_numpy(dtype=str),
            -table["hypervolume"].round(_DIGITS).to_numpy(),
            table["rank"].round(_DIGITS).to_numpy(),
            -table["n_cells"].to_numpy(),
            ~placed,
        )
    )
    by_cell = scores.runs[["contestant", "cell"]].assign(hypervolume=scores.final)
    return Section(
        title=title,
        cells=tuple(map(_without_device, cells)),
        lone_cells=tuple(map(_without_device, np.setdiff1d(cell_of, cells))),
        table=table.iloc[order].reset_index(drop=True),
        by_cell=by_cell.groupby(["contestant", "cell"], as_index=False).agg(
            hypervolume=("hypervolume", "mean"), n_runs=("hypervolume", "size")
        ),
        warnings=scores.warnings,
    )


def _without_device(cell: str) -> str:
    return cell.rpartition("/")[0]


def _average_ranks(blocks: Blocks) -> pd.DataFrame:
    """Columns ``rank, rank_low, rank_high`` at the end of the budget; the bounds from :data:`MIN_BLOCKS` on."""
    bands = ranks.bootstrap_ranks(blocks.hypervolume[:, :, -1:], blocks.cells.astype(str), np.random.default_rng(_SEED))
    few = bands.n_blocks < MIN_BLOCKS
    low, high = (np.where(few, np.nan, bound[:, 0]) for bound in (bands.low, bands.high))
    return pd.DataFrame({"rank": bands.mean[:, 0], "rank_low": low, "rank_high": high})


def _sampled_ranks(blocks: Blocks) -> FloatArray:
    """Average ranks in each bootstrap sample, ``(n_samples, n_methods)``: the samples behind the bands."""
    comparable = (~np.isnan(blocks.final)).sum(axis=0) > 1
    block_ranks = ranks.block_ranks(blocks.hypervolume[:, comparable, -1:])
    cells = blocks.cells[comparable].astype(str)
    return ranks.sample_means(block_ranks, cells, np.random.default_rng(_SEED))[:, :, 0]


def _places(samples: FloatArray, average: FloatArray, placed: BoolArray, bounded: BoolArray) -> FloatArray:
    """Place by average rank among those that get one, and its interval, ``(3, n_methods)``; NaN for the others.

    Nobody is first of one.

    Args:
        samples: ``(n_samples, n_methods)``, average ranks.
        average: ``(n_methods,)``, of the blocks as they are.
        placed, bounded: ``(n_methods,)``, who gets a place, and who an interval of it.
    """
    found = np.full((3, len(average)), np.nan)
    if placed.sum() < 2:
        return found
    found[0, placed] = stats.rankdata(np.round(average[placed], _DIGITS), method="min")
    drawn = np.round(samples[:, placed], _DIGITS)
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    if len(drawn):
        places = stats.rankdata(drawn, method="min", axis=1)
        tail = (1 - COVERAGE) / 2
        found[1, placed] = np.quantile(places, tail, axis=0, method="lower")
        found[2, placed] = np.quantile(places, 1 - tail, axis=0, method="higher")
        found[1:, ~bounded] = np.nan
    return found


def _verified(runs: pd.DataFrame) -> np.ndarray[Any, Any]:
    """What can be said of each run's origin from its record, ``(n_runs,)`` of text."""
    provenance = runs["provenance"]
    revision = provenance.map(lambda entry: entry.get("git_revision"))
    data = provenance.map(lambda entry: str(entry.get("data_sha256")))
    weights = provenance.map(lambda entry: str(entry.get("weights_sha256")))
    n_data = data.groupby([runs["task"], runs["model"], runs["seed"]]).transform("nunique")
    n_weights = weights.groupby([runs["model"]]).transform("nunique")
    texts = []
    for i in range(len(runs)):
        own = revision.iloc[i]
        missing = []
        if not isinstance(own, str):
            missing.append("unknown revision")
        elif own.endswith("+changes"):
            missing.append("changed checkout")
        if data.iloc[i] == "None" or weights.iloc[i] == "None":
            missing.append("no hashes")
        elif n_data.iloc[i] > 1 or n_weights.iloc[i] > 1:
            missing.append("hashes differ")
        texts.append(", ".join(missing) or "clean")
    return np.array(texts, dtype=object)


def _not_counted(runs: pd.DataFrame) -> str:
    """The line about the runs that are in no section; each is counted once."""
    unfinished = (runs["status"] == "running").to_numpy()
    unofficial = ~unfinished & ~runs["official"].to_numpy(dtype=np.bool_)
    known = (runs["track"].isin(TRACKS) & runs["device_class"].isin(DEVICE_CLASSES)).to_numpy()
    homeless = runs[~unfinished & ~unofficial & ~known]
    text = f"Not counted: {unofficial.sum()} unofficial runs, {unfinished.sum()} runs that have not ended"
    if len(homeless):
        kinds = sorted(set(homeless["track"].astype(str) + "/" + homeless["device_class"].astype(str)))
        text += f", {len(homeless)} of a track or device class without a section ({escape(', '.join(kinds))})"
    return text + ".\n"


def _compared(section: Section) -> str:
    """What counts in a section, and what does not."""
    n_methods, n_placed = len(section.table), int(section.table["place"].notna().sum())
    if section.table["rank"].isna().all():
        return "Nothing to compare yet: no two methods have run on one task and model with one seed.\n"
    text = f"Compared on {section.n_cells} tasks x models: {escape(', '.join(section.cells))}. "
    text += f"{n_placed} of {n_methods} methods have a place."
    if section.lone_cells:
        text += f" Not compared, for no two methods share a seed there: {escape(', '.join(section.lone_cells))}."
    return text + "\n"


def _markdown(section: Section) -> str:
    rows = []
    for row in section.table.to_dict("records"):
        failed = f" ({row['n_failed']} failed)" if row["n_failed"] else ""
        hypervolume = interval(row["hypervolume"], row["hypervolume_low"], row["hypervolume_high"], 3)
        shown = {
            "place": _place(row),
            "method": escape(row["contestant"]),
            "hypervolume": hypervolume + ("\\*" if row["between_cells"] else ""),
            "average rank": interval(row["rank"], row["rank_low"], row["rank_high"], 2),
        }
        for limit in PARAMETER_LIMITS:
            shown[f"at {limit:.0%}".replace("%", " %")] = _relative(
                row[f"relative_{limit}"], row[f"n_relative_{limit}"], row["n_counted"]
            )
        shown["runs"] = f"{row['n_runs']}{failed}"
        shown["tasks x models"] = f"{row['n_cells']} of {section.n_cells}"
        shown["suite"] = escape(row["suite_versions"])
        shown["verified"] = row["verified"]
        rows.append(shown)
    return tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True) + "\n"


def _markdown_by_cell(section: Section) -> str:
    """Mean hypervolume of every contestant in every cell, with its number of runs."""
    known = {(row["contestant"], row["cell"]): row for row in section.by_cell.to_dict("records")}
    rows = []
    for name in section.table["contestant"]:
        shown = {"method": escape(name)}
        for cell in sorted(section.by_cell["cell"].unique()):
            row = known.get((name, cell))
            shown[escape(_without_device(cell))] = f"{number(row['hypervolume'], 3)} ({row['n_runs']})" if row else "-"
        rows.append(shown)
    return (
        "Mean hypervolume (runs) on each:\n\n"
        + tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True)
        + "\n"
    )


def _place(row: Mapping[Any, Any]) -> str:
    if np.isnan(row["place"]):
        return "-"
    if np.isnan(row["place_low"]):
        return f"{row['place']:.0f}"
    return f"{row['place']:.0f} [{row['place_low']:.0f}, {row['place_high']:.0f}]"


def _relative(value: float, n: int, n_runs: int) -> str:
    """In per cent; where not every run has such a network, with the number of those that have."""
    if n == 0 or np.isnan(value):
        return "-"
    return number(100 * value, 1) + " %" + (f" ({n} of {n_runs} runs)" if n < n_runs else "")


def number(value: float, digits: int) -> str:
    """Fixed decimals, the same on every machine; ``-`` for NaN."""
    if np.isnan(value):
        return "-"
    # Adding 0 turns the negative zero that rounding can leave into zero.
    return f"{round(round(value, _DIGITS), digits) + 0.0:.{digits}f}"


def interval(value: float, low: float, high: float, digits: int) -> str:
    """``3.562 [3.540, 3.584]``, or the value alone."""
    if np.isnan(low) or np.isnan(high):
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def escape(text: str) -> str:
    """A stranger's text made safe for a Markdown table: one line, no markup, no HTML."""
    one_line = "".join(character if character.isprintable() else " " for character in text)
    one_line = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|!#])", r"\\\1", one_line)
