"""The rankings of the leaderboard: one section for each track and device class, from the results folder only.

A section compares entries in the scenarios in which at least two of them share a seed. A scenario with a single entry
says nothing about that entry and would cost all others their place, so it does not count. Means over different
scenarios are not comparable, so an entry that lacks a counted scenario gets neither a mean nor a place.

A section depends on nothing but the records and the frozen quantiles: the bootstrap is seeded and rows are sorted.
Values are rounded to nine decimals before they are compared, so last bits that differ between machines have no effect.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from nasbench.analysis.reading.results import Results
from nasbench.analysis.report.formatting import DIGITS
from nasbench.analysis.scoring import ranks
from nasbench.analysis.scoring.intervals import COVERAGE, mean_interval
from nasbench.analysis.scoring.quantiles import Quantiles, load_quantiles
from nasbench.analysis.scoring.relative_performance import relative_performance
from nasbench.analysis.scoring.scores import Blocks, block_table, score
from nasbench.analysis.scoring.tracks import DEVICE_CLASSES, TRACKS, section_title
from nasbench.arrays import BoolArray, FloatArray

PARAMETER_LIMITS = (0.5, 0.3)
"""Fractions of the full network's parameters for which a section gives relative test metrics."""
MIN_BLOCKS = 3
"""Places and average ranks have no interval for fewer blocks, because bootstrap samples of so few nearly repeat."""
_COLUMNS = [
    *("run_row", "index", "status", "error", "params", "n_params", "test_error", "elapsed_s"),
    *("scenario", "suite_version"),
]
"""Columns of the evaluations from which scores and relative performance are computed."""
_SEED = 20240901


@dataclass(frozen=True)
class Section:
    """The ranking of one track on one device class.

    Scenarios are named ``task/model`` here, because all have the section's device class.

    Attributes:
        title: track and device class, as printed.
        scenarios: the counted scenarios, in which at least two entries share a seed; all scenarios if there are none.
        lone_scenarios: the other scenarios.
        table: one row for each entry, best first, with the columns

            - ``entry``;
            - ``place, place_low, place_high``: NaN for an entry without a place;
            - ``hypervolume, hypervolume_low, hypervolume_high``: mean over ``scenarios``; NaN unless the entry ran in
              all of them;
            - ``between_scenarios``: whether the interval of the hypervolume includes differences between scenarios;
            - ``rank, rank_low, rank_high``: average rank;
            - ``n_runs, n_failed, n_tasks``; ``n_scenarios``: how many of ``scenarios`` the entry has; ``n_counted``:
              runs that count for the hypervolume;
            - ``suite_versions, verified``: texts;
            - for each limit ``b`` of :data:`PARAMETER_LIMITS`: ``relative_b``, NaN under the same condition as the
              hypervolume, and ``n_relative_b``, the runs that have such a small network.
        by_scenario: one row for each entry and scenario, counted or not: ``entry, scenario, hypervolume, n_runs``.
        warnings: about the normalisation.
    """

    title: str
    scenarios: tuple[str, ...]
    lone_scenarios: tuple[str, ...]
    table: pd.DataFrame
    by_scenario: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def n_scenarios(self) -> int:
        """Number of counted scenarios."""
        return len(self.scenarios)


def sections(results: Results, quantiles: Quantiles | None = None, tracks: Mapping[str, str] = TRACKS) -> list[Section]:
    """All sections that have an official run, in the order of tracks and device classes.

    Args:
        quantiles: the normaliser; None for the frozen quantiles of the suite.
        tracks: the tracks to rank, with their titles.
    """
    # Selecting runs copies their evaluations. Keep the columns that are needed, about a third.
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
    shared = present.sum(axis=0) > 1
    counted = shared if shared.any() else np.ones_like(shared)
    scenarios = np.unique(scenario_of[counted])
    relative = relative_performance(results, PARAMETER_LIMITS)
    relative = relative[relative["scenario"].isin(scenarios)]
    verified = _verified(results.runs)
    rows = []
    for m, name in enumerate(blocks.names):
        own = (results.runs["entry"] == name).to_numpy()
        n_scenarios = len(np.unique(scenario_of[present[m] & counted]))
        complete = n_scenarios == len(scenarios)
        used = present[m] & np.isin(scenario_of, scenarios) & complete
        rows.append(
            {
                **_mean_hypervolume(blocks.final[m, used], scenario_of[used]),
                **_counts(results.runs[own]),
                "n_scenarios": n_scenarios,
                "verified": "; ".join(sorted(set(verified[own]))),
                **_relative(relative[relative["entry"] == name], complete),
            }
        )
    table = pd.DataFrame({"entry": blocks.names}).join(_average_ranks(blocks)).join(pd.DataFrame(rows))
    placed = ((table["n_scenarios"] == len(scenarios)) & table["rank"].notna()).to_numpy()
    places = _places(_sampled_ranks(blocks), table["rank"].to_numpy(), placed, table["rank_low"].notna().to_numpy())
    for column, values in zip(("place", "place_low", "place_high"), places, strict=True):
        table[column] = values
    by_scenario = scores.runs[["entry", "scenario"]].assign(hypervolume=scores.final)
    by_scenario["scenario"] = by_scenario["scenario"].map(_without_device)
    return Section(
        title=title,
        scenarios=tuple(map(_without_device, scenarios)),
        lone_scenarios=tuple(map(_without_device, np.setdiff1d(scenario_of, scenarios))),
        table=table.iloc[_order(table, placed)].reset_index(drop=True),
        by_scenario=by_scenario.groupby(["entry", "scenario"], as_index=False).agg(
            hypervolume=("hypervolume", "mean"), n_runs=("hypervolume", "size")
        ),
        warnings=scores.warnings,
    )


def _without_device(scenario: object) -> str:
    return str(scenario).rpartition("/")[0]


def _mean_hypervolume(values: FloatArray, scenarios: np.ndarray[Any, np.dtype[np.str_]]) -> dict[str, Any]:
    """The mean of an entry's final hypervolumes, ``(n,)``, with its interval and the number of runs."""
    mean, low, high = mean_interval(values, scenarios)
    n_runs = np.unique(scenarios, return_counts=True)[1]
    return {
        "hypervolume": mean,
        "hypervolume_low": low,
        "hypervolume_high": high,
        "between_scenarios": not np.isnan(low) and (n_runs == 1).sum() > 1,
        "n_counted": len(values),
    }


def _counts(runs: pd.DataFrame) -> dict[str, Any]:
    return {
        "n_runs": len(runs),
        "n_failed": int((runs["status"] == "failed").sum()),
        "n_tasks": runs["task"].nunique(),
        "suite_versions": ", ".join(sorted(runs["suite_version"].unique())),
    }


def _relative(picked: pd.DataFrame, complete: bool) -> dict[str, Any]:
    """Relative test metric of an entry at each limit: the mean over scenarios of the means over runs."""
    found: dict[str, Any] = {}
    for limit in PARAMETER_LIMITS:
        known = picked[picked["threshold"] == limit].dropna()
        found[f"relative_{limit}"] = known.groupby("scenario")["relative"].mean().mean() if complete else np.nan
        found[f"n_relative_{limit}"] = len(known)
    return found


def _order(table: pd.DataFrame, placed: BoolArray) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Rows of the table from best to worst: entries with a place first, then by scenarios, rank and hypervolume."""
    return np.lexsort(
        (
            table["entry"].to_numpy(dtype=str),
            -table["hypervolume"].round(DIGITS).to_numpy(),
            table["rank"].round(DIGITS).to_numpy(),
            -table["n_scenarios"].to_numpy(),
            ~placed,
        )
    )


def _average_ranks(blocks: Blocks) -> pd.DataFrame:
    """Columns ``rank, rank_low, rank_high`` at the end of the budget; NaN bounds for fewer than :data:`MIN_BLOCKS`."""
    bands = ranks.bootstrap_ranks(
        blocks.hypervolume[:, :, -1:], blocks.scenarios.astype(str), np.random.default_rng(_SEED)
    )
    few = bands.n_blocks < MIN_BLOCKS
    low, high = (np.where(few, np.nan, bound[:, 0]) for bound in (bands.low, bands.high))
    return pd.DataFrame({"rank": bands.mean[:, 0], "rank_low": low, "rank_high": high})


def _sampled_ranks(blocks: Blocks) -> FloatArray:
    """Average ranks in each bootstrap sample, ``(n_samples, n_entries)``; the samples that the intervals come from."""
    comparable = (~np.isnan(blocks.final)).sum(axis=0) > 1
    block_ranks = ranks.block_ranks(blocks.hypervolume[:, comparable, -1:])
    scenarios = blocks.scenarios[comparable].astype(str)
    return ranks.sample_means(block_ranks, scenarios, np.random.default_rng(_SEED))[:, :, 0]


def _places(samples: FloatArray, average: FloatArray, placed: BoolArray, bounded: BoolArray) -> FloatArray:
    """Places by average rank and the bounds of their intervals, ``(3, n_entries)``; NaN for entries without a place.

    A single entry gets no place.

    Args:
        samples: ``(n_samples, n_entries)``, average ranks in each bootstrap sample.
        average: ``(n_entries,)``, average ranks.
        placed, bounded: ``(n_entries,)``, masks of the entries that get a place, and an interval of their place.
    """
    found = np.full((3, len(average)), np.nan)
    if placed.sum() < 2:
        return found
    found[0, placed] = stats.rankdata(np.round(average[placed], DIGITS), method="min")
    drawn = np.round(samples[:, placed], DIGITS)
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    if len(drawn):
        places = stats.rankdata(drawn, method="min", axis=1)
        tail = (1 - COVERAGE) / 2
        found[1, placed] = np.quantile(places, tail, axis=0, method="lower")
        found[2, placed] = np.quantile(places, 1 - tail, axis=0, method="higher")
        found[1:, ~bounded] = np.nan
    return found


def _verified(runs: pd.DataFrame) -> np.ndarray[Any, Any]:
    """The verification of each run by its provenance, ``(n_runs,)`` texts: ``clean``, or what is missing."""
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
