"""``leaderboard.md``: official runs ranked by track and device class, from the results folder only.

The text depends on the records and the frozen quantiles and on nothing else: the bootstrap is seeded, rows are
sorted, no date is written. Numbers are rounded to nine digits before they are compared or printed with three, so last
bits that differ between machines do not show.
"""

from __future__ import annotations

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
from nasbench.subnetwork import FloatArray

from . import bootstrap, ranks
from .frame import Results, read_results
from .quantiles import Quantiles, load_quantiles
from .relative import relative_performance
from .scores import Blocks, block_table, score

TRACKS = {"paper": "Paper models", "compact": "Compact models", "demo": "Demo"}
DEVICE_CLASSES = {"gpu": "GPU", "cpu": "CPU"}
PARAMETER_LIMITS = (0.5, 0.3)
_DIGITS = 9
_SEED = 20240901

_HEAD = """\
# Leaderboard

Written by `nasbench leaderboard` from the official runs in `results/`; edits are overwritten and fail
`nasbench leaderboard --check`.

Hypervolume is that of validation error and parameter count, both quantile-normalised per task and model, with
reference point (2, 2); 4 is the best possible. Average rank is over all (task, model, seed) blocks, every task and
model with the same weight; the place follows it. Brackets hold 95 % bootstrap intervals: of the place and the average
rank from resampling tasks and repetitions, of the hypervolume from resampling repetitions. "At 50 %" is the test
metric of the network with the best validation error among those with at most half of the parameters, relative to the
unpruned network's. A method gets a place once it has run on every task and model of its section; a failed run counts
with what it had reported.
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
        n_cells: (task, model) pairs with any official run.
        table: one row a contestant, best first: ``contestant, place, place_low, place_high`` (NaN without a place),
            ``hypervolume, hypervolume_low, hypervolume_high, rank, rank_low, rank_high, n_runs, n_failed, n_cells,
            n_tasks, suite_versions, verified``, and for each limit ``b`` of :data:`PARAMETER_LIMITS` ``relative_b``
            and ``n_relative_b`` (runs that have such a network).
        warnings: about normalisation.
    """

    title: str
    n_cells: int
    table: pd.DataFrame
    warnings: tuple[str, ...]


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
        parts.append(_markdown(section))
        parts += [f"- {escape(warning)}" for warning in section.warnings]
        if section.warnings:
            parts.append("")
    parts.append(_VERIFICATION if found else "No official run yet.\n")
    damaged = [finding for finding in results.findings if finding.damage]
    if damaged:
        parts.append("## Damaged records\n")
        parts += [f"- {escape(str(finding))}" for finding in damaged]
        parts.append("")
    n_unofficial = int((~results.runs["official"].astype(bool)).sum())
    n_unfinished = int((results.runs["status"] == "running").sum())
    parts.append(f"Not counted: {n_unofficial} unofficial runs, {n_unfinished} runs that have not ended.\n")
    return "\n".join(parts)


def sections(results: Results, quantiles: Quantiles | None = None) -> list[Section]:
    """All rankings that have an official run, in the order of tracks and device classes."""
    official = results.official()
    frozen = load_quantiles() if quantiles is None else quantiles
    found = []
    for track, track_title in TRACKS.items():
        for device_class, device_title in DEVICE_CLASSES.items():
            chosen = (official.runs["track"] == track) & (official.runs["device_class"] == device_class)
            if chosen.any():
                found.append(_section(f"{track_title}, {device_title}", official.select(chosen), frozen))
    return found


def _section(title: str, results: Results, quantiles: Quantiles) -> Section:
    scores = score(results, quantiles)
    blocks = block_table(scores)
    relative = relative_performance(results, PARAMETER_LIMITS)
    verified = _verified(results.runs)
    n_cells = len(np.unique(blocks.cells.astype(str)))
    table = pd.DataFrame({"contestant": blocks.names})
    table = table.join(_average_ranks(blocks))
    rows = []
    for m, name in enumerate(blocks.names):
        own = (results.runs["contestant"] == name).to_numpy()
        runs = results.runs[own]
        final = blocks.final[m]
        known = ~np.isnan(final)
        rng = np.random.default_rng(_SEED)
        mean, low, high = bootstrap.mean_interval(final[known], blocks.cells[known].astype(str), rng)
        row: dict[str, Any] = {
            "hypervolume": mean,
            "hypervolume_low": low,
            "hypervolume_high": high,
            "n_runs": len(runs),
            "n_failed": int((runs["status"] == "failed").sum()),
            "n_cells": runs["cell"].nunique(),
            "n_tasks": runs["task"].nunique(),
            "suite_versions": ", ".join(sorted(runs["suite_version"].unique())),
            "verified": "; ".join(sorted(set(verified[own]))),
        }
        for limit in PARAMETER_LIMITS:
            picked = relative[(relative["contestant"] == name) & (relative["threshold"] == limit)].dropna()
            row[f"relative_{limit}"] = picked.groupby("cell")["relative"].mean().mean()
            row[f"n_relative_{limit}"] = len(picked)
        rows.append(row)
    table = table.join(pd.DataFrame(rows))
    placed = (table["n_cells"] == n_cells).to_numpy()
    places = _places(_sampled_ranks(blocks), table["rank"].to_numpy(), placed)
    for name, values in zip(("place", "place_low", "place_high"), places, strict=True):
        table[name] = values
    order = np.lexsort(
        (
            table["contestant"].to_numpy(dtype=str),
            -table["hypervolume"].round(_DIGITS).to_numpy(),
            table["rank"].round(_DIGITS).to_numpy(),
            ~placed,
        )
    )
    return Section(title, n_cells, table.iloc[order].reset_index(drop=True), scores.warnings)


def _average_ranks(blocks: Blocks) -> pd.DataFrame:
    """Columns ``rank, rank_low, rank_high`` at the end of the budget."""
    bands = ranks.bootstrap_ranks(blocks.hypervolume[:, :, -1:], blocks.cells.astype(str), np.random.default_rng(_SEED))
    return pd.DataFrame({"rank": bands.mean[:, 0], "rank_low": bands.low[:, 0], "rank_high": bands.high[:, 0]})


def _sampled_ranks(blocks: Blocks) -> FloatArray:
    """Average ranks in each bootstrap sample, ``(n_samples, n_methods)``: the samples behind the bands."""
    comparable = (~np.isnan(blocks.final)).sum(axis=0) > 1
    block_ranks = ranks.block_ranks(blocks.hypervolume[:, comparable, -1:])
    cells = blocks.cells[comparable].astype(str)
    return ranks.sample_means(block_ranks, cells, np.random.default_rng(_SEED))[:, :, 0]


def _places(samples: FloatArray, average: FloatArray, placed: np.ndarray[Any, Any]) -> FloatArray:
    """Place by average rank among those that get one, and its interval, ``(3, n_methods)``; NaN for the others."""
    found = np.full((3, len(average)), np.nan)
    if placed.sum() == 1:
        found[0, placed] = 1.0  # without an interval: there is nobody to change places with
        return found
    own = np.round(average[placed], _DIGITS)
    drawn = np.round(samples[:, placed], _DIGITS)
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    found[0, placed] = stats.rankdata(own, method="min")
    if len(drawn):
        places = stats.rankdata(drawn, method="min", axis=1)
        tail = (1 - bootstrap.COVERAGE) / 2
        found[1, placed] = np.quantile(places, tail, axis=0, method="lower")
        found[2, placed] = np.quantile(places, 1 - tail, axis=0, method="higher")
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


def _markdown(section: Section) -> str:
    rows = []
    for row in section.table.to_dict("records"):
        failed = f" ({row['n_failed']} failed)" if row["n_failed"] else ""
        shown = {
            "place": _place(row),
            "method": escape(row["contestant"]),
            "hypervolume": interval(row["hypervolume"], row["hypervolume_low"], row["hypervolume_high"], 3),
            "average rank": interval(row["rank"], row["rank_low"], row["rank_high"], 2),
        }
        for limit in PARAMETER_LIMITS:
            shown[f"at {limit:.0%}".replace("%", " %")] = _relative(
                row[f"relative_{limit}"], row[f"n_relative_{limit}"], row["n_runs"]
            )
        shown["runs"] = f"{row['n_runs']}{failed}"
        shown["tasks x models"] = f"{row['n_cells']} of {section.n_cells}"
        shown["suite"] = escape(row["suite_versions"])
        shown["verified"] = row["verified"]
        rows.append(shown)
    return tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True) + "\n"


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
