"""``leaderboard.md``: official runs ranked by track and device class, from the results folder only.

Entries are compared where they met. A scenario that one entry has alone says nothing about it and would cost all
others their place, so it does not count; and means over different scenarios are not comparable, so who lacks a scenario that
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

from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.scoring import ranks
from nasbench.analysis.scoring.intervals import COVERAGE, MIN_VALUES, mean_interval
from nasbench.analysis.scoring.quantiles import Quantiles, load_quantiles
from nasbench.analysis.scoring.relative_performance import relative_performance
from nasbench.analysis.scoring.scores import Blocks, block_table, score
from nasbench.analysis.scoring.tracks import DEVICE_CLASSES, TRACKS, section_title
from nasbench.arrays import BoolArray, FloatArray
from nasbench.errors import NasbenchError

PARAMETER_LIMITS = (0.5, 0.3)
MIN_BLOCKS = 3
"""Fewer blocks than these, resampled, nearly repeat themselves: places and ranks then have no interval."""
_COLUMNS = [
    *("run_row", "index", "status", "error", "params", "n_params", "test_error", "elapsed_s"),
    *("scenario", "suite_version"),
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
have the hashes that the other runs of the same task, model and seed have; otherwise the scenario says what is missing.
"""


@dataclass(frozen=True)
class Section:
    """One ranking: a track on a device class.

    Attributes:
        title: of the section.
        scenarios: ``task/model`` of what counts: where at least two entries share a seed; all if there is no such one.
        lone_scenarios: the others.
        table: one row an entry, best first: ``entry, place, place_low, place_high`` (NaN without a place),
            ``hypervolume, hypervolume_low, hypervolume_high`` over ``scenarios`` (NaN unless it has run on all of them),
            ``between_scenarios`` (whether that interval is from the differences between scenarios), ``rank, rank_low,
            rank_high, n_runs, n_failed, n_scenarios`` (of ``scenarios``), ``n_tasks, suite_versions, verified``, and for each
            limit ``b`` of :data:`PARAMETER_LIMITS` ``relative_b`` (NaN as for the hypervolume), ``n_relative_b`` (runs
            that have such a network) and ``n_counted`` (of so many).
        by_scenario: one row an entry and scenario, lone ones too: ``entry, scenario, hypervolume, n_runs``.
        warnings: about normalisation.
    """

    title: str
    scenarios: tuple[str, ...]
    lone_scenarios: tuple[str, ...]
    table: pd.DataFrame
    by_scenario: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def n_scenarios(self) -> int:
        """How many scenarios count."""
        return len(self.scenarios)


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
        parts += [_compared(section), _markdown(section), _markdown_by_scenario(section)]
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


def _section(title: str, results: Results, quantiles: Quantiles) -> Section:
    scores = score(results, quantiles)
    blocks = block_table(scores)
    present, scenario_of = ~np.isnan(blocks.final), blocks.scenarios.astype(str)
    met = present.sum(axis=0) > 1
    counted = met if met.any() else np.ones_like(met)
    scenarios = np.unique(scenario_of[counted])
    relative = relative_performance(results, PARAMETER_LIMITS)
    relative = relative[relative["scenario"].isin(scenarios)]
    verified = _verified(results.runs)
    table = pd.DataFrame({"entry": blocks.names})
    table = table.join(_average_ranks(blocks))
    rows = []
    for m, name in enumerate(blocks.names):
        own = (results.runs["entry"] == name).to_numpy()
        runs = results.runs[own]
        n_scenarios = len(np.unique(scenario_of[present[m] & counted]))
        complete = n_scenarios == len(scenarios)
        used = present[m] & np.isin(scenario_of, scenarios) & complete
        mean, low, high = mean_interval(blocks.final[m, used], scenario_of[used])
        row: dict[str, Any] = {
            "hypervolume": mean,
            "hypervolume_low": low,
            "hypervolume_high": high,
            "between_scenarios": not np.isnan(low)
            and (np.unique(scenario_of[used], return_counts=True)[1] == 1).sum() > 1,
            "n_runs": len(runs),
            "n_failed": int((runs["status"] == "failed").sum()),
            "n_scenarios": n_scenarios,
            "n_tasks": runs["task"].nunique(),
            "suite_versions": ", ".join(sorted(runs["suite_version"].unique())),
            "verified": "; ".join(sorted(set(verified[own]))),
            "n_counted": int(used.sum()),
        }
        for limit in PARAMETER_LIMITS:
            picked = relative[(relative["entry"] == name) & (relative["threshold"] == limit)].dropna()
            row[f"relative_{limit}"] = picked.groupby("scenario")["relative"].mean().mean() if complete else np.nan
            row[f"n_relative_{limit}"] = len(picked)
        rows.append(row)
    table = table.join(pd.DataFrame(rows))
    placed = ((table["n_scenarios"] == len(scenarios)) & table["rank"].notna()).to_numpy()
    places = _places(_sampled_ranks(blocks), table["rank"].to_numpy(), placed, table["rank_low"].notna().to_numpy())
    for name, values in zip(("place", "place_low", "place_high"), places, strict=True):
        table[name] = values
    order = np.lexsort(
        (
            table["entry"].to_numpy(dtype=str),
            -table["hypervolume"].round(_DIGITS).to_numpy(),
            table["rank"].round(_DIGITS).to_numpy(),
            -table["n_scenarios"].to_numpy(),
            ~placed,
        )
    )
    by_scenario = scores.runs[["entry", "scenario"]].assign(hypervolume=scores.final)
    return Section(
        title=title,
        scenarios=tuple(map(_without_device, scenarios)),
        lone_scenarios=tuple(map(_without_device, np.setdiff1d(scenario_of, scenarios))),
        table=table.iloc[order].reset_index(drop=True),
        by_scenario=by_scenario.groupby(["entry", "scenario"], as_index=False).agg(
            hypervolume=("hypervolume", "mean"), n_runs=("hypervolume", "size")
        ),
        warnings=scores.warnings,
    )


def _without_device(scenario: str) -> str:
    return scenario.rpartition("/")[0]


def _average_ranks(blocks: Blocks) -> pd.DataFrame:
    """Columns ``rank, rank_low, rank_high`` at the end of the budget; the bounds from :data:`MIN_BLOCKS` on."""
    bands = ranks.bootstrap_ranks(
        blocks.hypervolume[:, :, -1:], blocks.scenarios.astype(str), np.random.default_rng(_SEED)
    )
    few = bands.n_blocks < MIN_BLOCKS
    low, high = (np.where(few, np.nan, bound[:, 0]) for bound in (bands.low, bands.high))
    return pd.DataFrame({"rank": bands.mean[:, 0], "rank_low": low, "rank_high": high})


def _sampled_ranks(blocks: Blocks) -> FloatArray:
    """Average ranks in each bootstrap sample, ``(n_samples, n_methods)``: the samples behind the bands."""
    comparable = (~np.isnan(blocks.final)).sum(axis=0) > 1
    block_ranks = ranks.block_ranks(blocks.hypervolume[:, comparable, -1:])
    scenarios = blocks.scenarios[comparable].astype(str)
    return ranks.sample_means(block_ranks, scenarios, np.random.default_rng(_SEED))[:, :, 0]


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
    text = f"Compared on {section.n_scenarios} tasks x models: {escape(', '.join(section.scenarios))}. "
    text += f"{n_placed} of {n_methods} methods have a place."
    if section.lone_scenarios:
        text += f" Not compared, for no two methods share a seed there: {escape(', '.join(section.lone_scenarios))}."
    return text + "\n"


def _markdown(section: Section) -> str:
    rows = []
    for row in section.table.to_dict("records"):
        failed = f" ({row['n_failed']} failed)" if row["n_failed"] else ""
        hypervolume = interval(row["hypervolume"], row["hypervolume_low"], row["hypervolume_high"], 3)
        shown = {
            "place": _place(row),
            "method": escape(row["entry"]),
            "hypervolume": hypervolume + ("\\*" if row["between_scenarios"] else ""),
            "average rank": interval(row["rank"], row["rank_low"], row["rank_high"], 2),
        }
        for limit in PARAMETER_LIMITS:
            shown[f"at {limit:.0%}".replace("%", " %")] = _relative(
                row[f"relative_{limit}"], row[f"n_relative_{limit}"], row["n_counted"]
            )
        shown["runs"] = f"{row['n_runs']}{failed}"
        shown["tasks x models"] = f"{row['n_scenarios']} of {section.n_scenarios}"
        shown["suite"] = escape(row["suite_versions"])
        shown["verified"] = row["verified"]
        rows.append(shown)
    return tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True) + "\n"


def _markdown_by_scenario(section: Section) -> str:
    """Mean hypervolume of every entry in every scenario, with its number of runs."""
    known = {(row["entry"], row["scenario"]): row for row in section.by_scenario.to_dict("records")}
    rows = []
    for name in section.table["entry"]:
        shown = {"method": escape(name)}
        for scenario in sorted(section.by_scenario["scenario"].unique()):
            row = known.get((name, scenario))
            shown[escape(_without_device(scenario))] = (
                f"{number(row['hypervolume'], 3)} ({row['n_runs']})" if row else "-"
            )
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
