"""The rankings of the leaderboard: one for each section, from the results folder only.

A section has a list of scenarios and seeds, and every entry is measured on the whole list. A run that an entry lacks
counts as the worst possible front, the full network with the highest error: hypervolume 1. No real run is worse, so
nobody gains by leaving a run out. Declared lists (``nasbench.benchmark.SECTIONS``) are fixed, so no entry can change
the list for others. Without one, as for other objectives and simulated runs, it is every scenario and seed with a run.
An entry could then extend the list by runs that others lack and overtake them, so such a section gives no places.

Entries are ranked by the *test* hypervolume of the front that they chose on validation data. The validation hypervolume
stands beside it. Its errors are too low, because the networks were chosen by them.

A section depends on nothing but the records and the frozen quantiles, and rows are sorted. Values are rounded to nine
decimals before they are compared, so last bits that differ between machines have no effect.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from nasbench.analysis.reading.objectives import MEASURED, in_use
from nasbench.analysis.reading.results import Results
from nasbench.analysis.report.formatting import DIGITS
from nasbench.analysis.scoring.intervals import interval_on_tasks_like_these, interval_on_these_tasks
from nasbench.analysis.scoring.quantiles import Quantiles, load_quantiles
from nasbench.analysis.scoring.ranks import average_ranks
from nasbench.analysis.scoring.relative_performance import relative_performance
from nasbench.analysis.scoring.scores import LARGEST_HYPERVOLUME, Scores, largest_hypervolume, score
from nasbench.analysis.scoring.tracks import DEVICE_CLASSES, TABLE, TRACKS, section_title, with_objectives
from nasbench.arrays import BoolArray, FloatArray, IntArray
from nasbench.plugins import registry
from nasbench.records.schema import EARLIER_ATTEMPTS
from nasbench.trust.marks import LEVELS

PARAMETER_LIMITS = (0.5, 0.3)
"""Fractions of the parameters that can be pruned for which a section gives relative test metrics."""
NOT_DECLARED = (
    "The list is not declared: it is every scenario and seed with a run. An entry can extend it by runs that others "
    "lack, so there are no places."
)
"""What is printed about a list that is not declared."""
WORST_HYPERVOLUME = 1.0
"""Hypervolume of the worst front with a network in it: normalised error 1 and normalised size 1, reference (2, 2)."""
_COLUMNS = [
    *("run_row", "index", "status", "error", "params", "n_params", "test_error", "elapsed_s"),
    *("scenario", "suite_version", "objectives"),
]
"""Columns of the evaluations from which scores and relative performance are computed, beside those of costs."""

Blocks = tuple[tuple[str, int], ...]
"""Pairs of scenario and seed."""


@dataclass(frozen=True)
class Ranking:
    """The ranking of one section.

    Attributes:
        title: track and device class, as printed.
        scenarios: the scenarios of the section's list, as ``task/model``.
        seeds: the seeds of the list.
        n_blocks: number of runs that a complete entry has.
        n_outside: official runs of the track and device class that are not on the list.
        is_declared: False for a track and device class without a declared section, such as other objectives and
            simulated runs. The list is then every scenario and seed with a run, and there are no places.
        table: one row for each entry, best first, with the columns

            - ``entry``;
            - ``place``: entries that are not separated share a place, see :func:`_places`; NaN for a single entry,
              for an entry with a run without hashes, and if the list is not declared;
            - ``test``: mean test hypervolume over the list, missing runs as worst;
            - ``test_low, test_high``: its 95 % interval on these tasks; NaN for an incomplete entry;
            - ``test_task_low, test_task_high``: its 95 % interval on tasks like these; NaN for an incomplete entry;
            - ``own_test``: mean test hypervolume over the runs that the entry has;
            - ``validation``: mean validation hypervolume over the runs that the entry has;
            - ``rank, rank_low, rank_high``: average rank by test hypervolume, missing runs last;
            - ``n_runs``: runs on the list; ``n_failed``: how many of them failed;
            - ``suite_versions, verified``: texts;
            - ``level``: how far the runs are verified, such as ``re-scored`` or ``1 re-run, 2 self-reported``;
            - ``submitters``: pairs of author and link, ``command``: that of the first run;
            - for each limit ``b`` of :data:`PARAMETER_LIMITS`: ``relative_b``, the relative test metric over the runs
              that have such a small network, and ``n_relative_b``, their number.
        by_scenario: one row for each entry and scenario of the list in which it has runs: ``entry, scenario, test,
            validation, n_runs``.
        warnings: about the normalisation.
        levels: number of runs on the list of each level of verification.
        largest: the largest possible hypervolume.
        n_repeated, n_reproduced: runs on the list that were repeated, and those of them that gave the same errors.
    """

    title: str
    scenarios: tuple[str, ...]
    seeds: tuple[int, ...]
    n_blocks: int
    n_outside: int
    is_declared: bool
    table: pd.DataFrame
    by_scenario: pd.DataFrame
    warnings: tuple[str, ...]
    levels: Mapping[str, int] = field(default_factory=dict)
    n_repeated: int = 0
    n_reproduced: int = 0
    largest: float = LARGEST_HYPERVOLUME


def sections(results: Results, quantiles: Quantiles | None = None, tracks: Mapping[str, str] = TRACKS) -> list[Ranking]:
    """The rankings of all sections that have an official run, in the order of tracks and device classes.

    Args:
        quantiles: the normaliser; None for the frozen quantiles of the suite.
        tracks: the tracks to rank, with their titles. Runs with other objectives than error and parameters are in
            sections of their own, after those of their track.
    """
    official = _slim(results).official()
    frozen = load_quantiles() if quantiles is None else quantiles
    declared: dict[tuple[str, str], Blocks] = {
        (section.track, section.device_class): section.blocks for section in registry.sections()
    }
    found = []
    for track in with_objectives(tracks, official.runs["track"]):
        for device_class in DEVICE_CLASSES:
            chosen = (official.runs["track"] == track) & (official.runs["device_class"] == device_class)
            if chosen.any():
                title, blocks = section_title(track, device_class), declared.get((track, device_class))
                found.append(_ranking(title, official.select(chosen), blocks, frozen))
    return found


def simulated_sections(
    results: Results, quantiles: Quantiles | None = None, tracks: Mapping[str, str] = TRACKS
) -> list[Ranking]:
    """The sections of simulated runs, in the order of tracks; no run on a network is in them.

    Simulated runs are never official, so all that have ended count. The list of a section is every scenario and seed
    with a run.

    Args:
        quantiles: the normaliser; None for the frozen quantiles of the suite.
        tracks: as for :func:`sections`.
    """
    runs = results.runs
    ended = (runs["device_class"] == TABLE) & (runs["status"] != "running")
    simulated = _slim(results).select(ended)
    frozen = load_quantiles() if quantiles is None else quantiles
    found = []
    for track in with_objectives(tracks, simulated.runs["track"]):
        chosen = simulated.runs["track"] == track
        if chosen.any():
            found.append(_ranking(section_title(track, TABLE), simulated.select(chosen), None, frozen))
    return found


def _slim(results: Results) -> Results:
    """The results with the columns that are needed, about a third: selecting runs copies their evaluations."""
    measured = [name for name in MEASURED.values() if name in results.evaluations]
    names = [*dict.fromkeys([*_COLUMNS, *in_use(results.evaluations), *measured])]
    return dataclasses.replace(results, evaluations=results.evaluations[names])


def _ranking(title: str, results: Results, declared: Blocks | None, quantiles: Quantiles) -> Ranking:
    keys = _blocks_of(results.runs)
    due = tuple(sorted(set(keys))) if declared is None else declared
    listed = set(due)
    on_list = np.array([key in listed for key in keys], dtype=np.bool_)
    scores = as_ranked(score(results.select(on_list), quantiles, n_times=1))
    names, values, complete = _on_the_list(scores, due)
    scenario_of = np.array([scenario for scenario, _ in due], dtype=str)
    filled = np.where(np.isnan(values), WORST_HYPERVOLUME, values)
    relative = relative_performance(results.select(on_list), PARAMETER_LIMITS, prunable=True)
    verified = _verified(scores.runs)
    rows = []
    for i, name in enumerate(names):
        own = (scores.runs["entry"] == name).to_numpy()
        rows.append(
            {
                "entry": name,
                **_hypervolumes(filled[i], ~np.isnan(values[i]), scenario_of),
                **_of_own_runs(scores, own),
                "verified": "; ".join(sorted(set(verified[own]))),
                **_relative(relative[relative["entry"] == name]),
            }
        )
    order = _order(filled, scenario_of, names)
    table = pd.DataFrame(rows).join(_ranks(filled, values, scenario_of)) if rows else pd.DataFrame({"entry": []})
    table = table.iloc[order].reset_index(drop=True)
    # A run without the hashes of its data and weights cannot be compared with others, so its entry has no place.
    placed = np.zeros(len(table), dtype=np.bool_)
    if rows and declared is not None:
        placed[:] = ["no hashes" not in text for text in table["verified"]]
    places = np.full(len(table), np.nan)
    ranked, has_run = order[placed], ~np.isnan(values)
    places[placed] = _places(filled[ranked], has_run[ranked], complete[ranked], scenario_of)
    table.insert(1, "place", places)
    return Ranking(
        title=title,
        scenarios=tuple(dict.fromkeys(map(_without_device, scenario_of))),
        seeds=tuple(sorted({seed for _, seed in due})),
        n_blocks=len(due),
        n_outside=int((~on_list).sum()),
        is_declared=declared is not None,
        table=table,
        by_scenario=_by_scenario(scores),
        warnings=scores.warnings,
        levels={str(level): int(n) for level, n in scores.runs["level"].value_counts().items()},
        n_repeated=int(scores.runs["reproduced"].notna().sum()),
        largest=float(largest_hypervolume(scores.runs).max(initial=LARGEST_HYPERVOLUME)),
        n_reproduced=int((scores.runs["reproduced"] == True).sum()),  # noqa: E712 - None is neither
    )


def as_ranked(scores: Scores) -> Scores:
    """The scores with test hypervolumes as a ranking counts them: even a run without a front has the worst one."""
    return dataclasses.replace(scores, test=np.maximum(scores.test, WORST_HYPERVOLUME))


def _blocks_of(runs: pd.DataFrame) -> list[tuple[str, int]]:
    return [(str(scenario), int(seed)) for scenario, seed in zip(runs["scenario"], runs["seed"], strict=True)]


def _on_the_list(scores: Scores, due: Blocks) -> tuple[list[str], FloatArray, BoolArray]:
    """The entries, sorted; their final test hypervolumes, NaN = no such run; and whether there is a run that has not
    failed. Both arrays are ``(n_entries, n_blocks)``.
    """
    names = sorted(scores.runs["entry"].astype(str).unique())
    row, column = {name: i for i, name in enumerate(names)}, {block: i for i, block in enumerate(due)}
    values = np.full((len(names), len(due)), np.nan)
    complete = np.zeros(values.shape, dtype=np.bool_)
    cells = [row[str(name)] for name in scores.runs["entry"]], [column[block] for block in _blocks_of(scores.runs)]
    values[cells] = scores.test
    complete[cells] = scores.runs["status"] != "failed"
    return names, values, complete


def _hypervolumes(filled: FloatArray, has_run: BoolArray, scenario_of: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Columns of one entry over the whole list; it has intervals only if no run is missing."""
    here, elsewhere = interval_on_these_tasks(filled, scenario_of), interval_on_tasks_like_these(filled, scenario_of)
    complete = bool(has_run.all())
    own = interval_on_these_tasks(filled[has_run], scenario_of[has_run])
    return {
        "test": here.mean,
        "test_low": here.low if complete else np.nan,
        "test_high": here.high if complete else np.nan,
        "test_task_low": elsewhere.low if complete else np.nan,
        "test_task_high": elsewhere.high if complete else np.nan,
        "own_test": own.mean,
        "n_runs": int(has_run.sum()),
    }


def _of_own_runs(scores: Scores, own: BoolArray) -> dict[str, Any]:
    runs = scores.runs[own]
    return {
        "validation": interval_on_these_tasks(scores.final[own], runs["scenario"].to_numpy(dtype=str)).mean,
        "n_failed": int((runs["status"] == "failed").sum()),
        "suite_versions": ", ".join(sorted(runs["suite_version"].unique())),
        "level": _levels(runs["level"]),
        "submitters": sorted(set(runs[["author", "link"]].dropna().itertuples(index=False, name=None))),
        "command": str(runs["command"].iloc[0]),
    }


def _levels(levels: pd.Series[Any]) -> str:
    """The level of all runs, or how many have which, the strongest first."""
    counts = levels.value_counts()
    found = [(level, int(counts[level])) for level in reversed(LEVELS) if level in counts]
    return found[0][0] if len(found) == 1 else ", ".join(f"{n} {level}" for level, n in found)


def _relative(picked: pd.DataFrame) -> dict[str, Any]:
    """Relative test metric of an entry at each limit: the mean over scenarios of the means over runs."""
    found: dict[str, Any] = {}
    for limit in PARAMETER_LIMITS:
        known = picked[picked["threshold"] == limit].dropna()
        found[f"relative_{limit}"] = known.groupby("scenario")["relative"].mean().mean()
        found[f"n_relative_{limit}"] = len(known)
    return found


def _ranks(filled: FloatArray, values: FloatArray, scenario_of: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Columns ``rank, rank_low, rank_high``, over the blocks in which at least one entry has a run."""
    known = ~np.isnan(values).all(axis=0)
    ranks = average_ranks(filled[:, known, None], scenario_of[known])
    return pd.DataFrame({"rank": ranks.mean[:, 0], "rank_low": ranks.low[:, 0], "rank_high": ranks.high[:, 0]})


def _order(filled: FloatArray, scenario_of: np.ndarray[Any, Any], names: list[str]) -> IntArray:
    """Entries from best to worst by mean test hypervolume over the list, then by name."""
    means = np.array([interval_on_these_tasks(row, scenario_of).mean for row in filled], dtype=np.float64)
    return np.lexsort((np.array(names, dtype=str), -np.round(means, DIGITS))).astype(np.int64)


def _places(
    filled: FloatArray, has_run: BoolArray, complete: BoolArray, scenario_of: np.ndarray[Any, Any]
) -> FloatArray:
    """The place of each entry, ``(n_entries,)``; NaN for a single entry.

    An entry shares the place of the entry before it if it is separated neither from that entry nor from the first one
    that has this place. Without the second condition, a noisy entry between two separated ones would join them.

    An entry is separated from one before it if the 95 % interval of their paired difference on these tasks is above
    zero, or if it lacks a run that the other has, or failed where the other did not: a missing or failed run would
    widen the interval as no seed does, so leaving it out or letting it fail could gain a place. Blocks in which neither
    has a run say nothing about the two and are left out.

    Args:
        filled: ``(n_entries, n_blocks)``, best entry first, missing runs as worst.
        has_run: ``(n_entries, n_blocks)``.
        complete: ``(n_entries, n_blocks)``, whether there is a run that has not failed.
    """
    if len(filled) < 2:
        return np.full(len(filled), np.nan)

    def is_separated(i: int, upper: int) -> bool:
        if (has_run[upper] & ~has_run[i] | complete[upper] & ~complete[i]).any():
            return True
        known = has_run[upper] | has_run[i]
        difference = np.round(filled[upper] - filled[i], DIGITS)[known]
        return interval_on_these_tasks(difference, scenario_of[known]).low > 0

    first, places = 0, [1.0]
    for i in range(1, len(filled)):
        if is_separated(i, i - 1) or is_separated(i, first):
            first = i
        places.append(float(first + 1))
    return np.array(places, dtype=np.float64)


def _by_scenario(scores: Scores) -> pd.DataFrame:
    table = scores.runs[["entry", "scenario"]].assign(test=scores.test, validation=scores.final)
    table["scenario"] = table["scenario"].map(_without_device)
    return table.groupby(["entry", "scenario"], as_index=False).agg(
        test=("test", "mean"), validation=("validation", "mean"), n_runs=("test", "size")
    )


def _without_device(scenario: object) -> str:
    """Task and model of a scenario; with the digest of its table, if the seeds of the section have several tables."""
    name, _, device = str(scenario).rpartition("/")
    return f"{name}/{device}" if device.startswith(f"{TABLE}-") else name


def _verified(runs: pd.DataFrame) -> np.ndarray[Any, Any]:
    """The verification of each run by the provenance of all its attempts, ``(n_runs,)`` texts.

    A text is ``clean``, or what is missing.
    """
    provenance = runs["provenance"]
    # A missing hash stays missing, so it differs from no other.
    data = provenance.map(lambda entry: entry.get("data_sha256")).map(str, na_action="ignore")
    weights = provenance.map(lambda entry: entry.get("weights_sha256")).map(str, na_action="ignore")
    has_no_hash = data.isna() | weights.isna()
    n_data = data.groupby([runs["task"], runs["model"], runs["seed"]]).transform("nunique")
    n_weights = weights.groupby([runs["model"]]).transform("nunique")
    texts = []
    for i in range(len(runs)):
        earlier = provenance.iloc[i].get(EARLIER_ATTEMPTS, [])
        # A foreign record may hold anything here. What is no attempt has an unknown revision.
        attempts = [provenance.iloc[i], *(earlier if isinstance(earlier, list) else [None])]
        revisions: list[Any] = [
            attempt.get("git_revision") if isinstance(attempt, dict) else None for attempt in attempts
        ]
        missing = []
        if not all(isinstance(revision, str) for revision in revisions):
            missing.append("unknown revision")
        elif any(revision.endswith("+changes") for revision in revisions):
            missing.append("changed checkout")
        if has_no_hash.iloc[i]:
            missing.append("no hashes")
        elif n_data.iloc[i] > 1 or n_weights.iloc[i] > 1:
            missing.append("hashes differ")
        texts.append(", ".join(missing) or "clean")
    return np.array(texts, dtype=object)
