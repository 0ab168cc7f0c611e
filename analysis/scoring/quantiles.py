"""Quantile normalisation of all objectives to [0, 1], fitted once and frozen (section 4.1 of the paper).

The paper normalises by the quantiles of all observed values, so every new submission moves all scores. Here the
quantiles of a scenario are fitted once and kept in a versioned file beside the benchmark's declarations. Values outside
the frozen range are clipped to it. Device classes have different budgets, so each device class has its own quantiles,
and scores are only compared within a device class.

Values are mapped as by scikit-learn's ``QuantileTransformer(output_distribution="uniform")``, which the paper used.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasbench.analysis.reading.objectives import USUAL, columns, in_use, of_rows
from nasbench.analysis.reading.results import read_results
from nasbench.arrays import BoolArray, FloatArray
from nasbench.declarations.task import OBJECTIVES
from nasbench.errors import NasbenchError, UnknownName, UserError
from nasbench.records.record import write_atomically

N_QUANTILES = 1000
"""Largest number of knots per objective, scikit-learn's default."""

_FILE = re.compile(r"quantiles_v(\d+)\.json")


@dataclass(frozen=True)
class ScenarioQuantiles:
    """The normaliser of one scenario.

    Attributes:
        knots: for each objective ``(n_knots,)``, ascending: the quantiles at equally spaced levels from 0 to 1.
        suite_version: suite version of the runs that the knots were fitted to; several are joined by commas.
        n_runs: number of these runs.
        n_evaluations: number of their successful evaluations.
    """

    knots: Mapping[str, FloatArray]
    suite_version: str
    n_runs: int
    n_evaluations: int


@dataclass(frozen=True)
class Quantiles:
    """Normalisers by scenario. ``version`` is the version of the frozen file, None if they are not frozen."""

    scenarios: Mapping[str, ScenarioQuantiles] = field(default_factory=dict)
    version: int | None = None


def fit_knots(values: npt.ArrayLike, n_quantiles: int = N_QUANTILES) -> FloatArray:
    """Quantiles at equally spaced levels from 0 to 1, at most as many as there are values.

    Args:
        values: ``(n,)``, n > 0, finite.
        n_quantiles: largest number of quantiles.

    Raises:
        ValueError: if there are no values, or if one is not finite.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0 or not np.isfinite(data).all():
        raise ValueError(f"quantiles need finite values, at least one; got {len(data)}")
    levels = np.linspace(0.0, 1.0, min(n_quantiles, len(data)))
    # Quantiles of equal values may differ in their last bit, but apply_knots needs ascending knots.
    return np.maximum.accumulate(np.quantile(data, levels))


def apply_knots(values: npt.ArrayLike, knots: FloatArray) -> FloatArray:
    """The level of each value among the knots, in [0, 1]. Equal knots share the middle of their levels.

    Args:
        values: any shape; NaN stays NaN.
        knots: ``(n_knots,)``, see :func:`fit_knots`.
    """
    data = np.asarray(values, dtype=np.float64)
    levels = np.linspace(0.0, 1.0, len(knots))
    # Interpolation takes the last of equal knots. From the other side it takes the first.
    upper = np.interp(data, knots, levels)
    lower = -np.interp(-data, -knots[::-1], -levels[::-1])
    result = np.asarray(0.5 * (upper + lower))
    # The two ends keep their levels 0 and 1. If all knots are equal, the level is 0.
    result[data == knots[-1]] = 1.0
    result[data == knots[0]] = 0.0
    return result


def fit_quantiles(evaluations: pd.DataFrame) -> Quantiles:
    """A normaliser for every scenario of a frame of evaluations, fitted to its successful evaluations."""
    scenarios = {}
    names = [*(["objectives"] if "objectives" in evaluations else []), *in_use(evaluations)]
    needed = evaluations[["scenario", "suite_version", "run_row", *names]]  # copying all columns takes much memory
    for scenario, group in needed[(evaluations["status"] == "ok").to_numpy()].groupby("scenario", observed=True):
        knots = {name: fit_knots(group[name]) for name in columns(str(of_rows(group).iloc[0]))}
        versions = sorted(group["suite_version"].astype(str).unique())
        scenarios[str(scenario)] = ScenarioQuantiles(
            knots, ", ".join(versions), int(group["run_row"].nunique()), len(group)
        )
    return Quantiles(scenarios)


def normalise(evaluations: pd.DataFrame, quantiles: Quantiles) -> tuple[FloatArray, list[str]]:
    """All objectives of every evaluation as quantile levels within its scenario.

    A scenario without a normaliser gets one fitted to the given evaluations.

    Args:
        evaluations: columns ``scenario, error, params, status, suite_version, run_row``; with other objectives,
            ``objectives`` and their columns; left unchanged. All runs of a scenario have the same objectives.
        quantiles: the normalisers.

    Returns:
        ``(n, d)`` in [0, 1] for at most d objectives, NaN for the error of failed evaluations and for the objectives
        that a run does not have; and the warnings: a line for each scenario that
        was not normalised by frozen quantiles of its own suite version.
    """
    most = max((text.count(",") + 1 for text in map(str, of_rows(evaluations).unique())), default=len(OBJECTIVES))
    values = np.full((len(evaluations), most), np.nan)
    warnings = []
    frozen = quantiles.version is not None
    names = [*(["objectives"] if "objectives" in evaluations else []), *in_use(evaluations)]
    needed = evaluations[["scenario", "suite_version", "run_row", "status", *names]]
    for scenario, rows in needed.groupby("scenario", observed=True).indices.items():
        group = needed.iloc[rows]
        own = quantiles.scenarios.get(str(scenario))
        if own is None:
            own = fit_quantiles(group).scenarios.get(str(scenario))
            if own is None:
                continue  # all evaluations failed
            warnings.append(
                f"{scenario}: no frozen quantiles; normalised by the runs at hand, so a new run may change the scores"
            )
        elif frozen:
            others = sorted(set(group["suite_version"].astype(str).unique()) - set(own.suite_version.split(", ")))
            if others:
                warnings.append(
                    f"{scenario}: runs of suite version {', '.join(others)} scored with quantiles "
                    f"v{quantiles.version}, frozen from suite version {own.suite_version}"
                )
        for column, name in enumerate(columns(str(of_rows(group).iloc[0]))):
            values[rows, column] = apply_knots(group[name], own.knots[name])
    return values, warnings


def below_frozen(evaluations: pd.DataFrame, front: pd.DataFrame, quantiles: Quantiles) -> list[str]:
    """A warning for each scenario in which errors are below the lowest frozen error.

    Validation errors set the scale and test errors decide places, so both are counted. Test errors are lower than
    validation errors in some scenarios, and then far more of them are outside the scale.

    Args:
        evaluations: columns ``scenario, error``, the validation errors; NaN for failed evaluations.
        front: columns ``scenario, test_error`` of the networks on the final fronts.
        quantiles: the normalisers. Those that are not frozen give no warning.
    """
    if quantiles.version is None:
        return []
    tests = dict(list(front.groupby("scenario", observed=True)["test_error"]))
    warnings = []
    for scenario, errors in evaluations.groupby("scenario", observed=True)["error"]:
        own = quantiles.scenarios.get(str(scenario))
        if own is None:
            continue
        lowest = own.knots["error"][0]
        below = [(each.dropna() < lowest).to_numpy() for each in (errors, tests.get(scenario, pd.Series(dtype=float)))]
        if any(each.any() for each in below):
            warnings.append(
                f"{scenario}: {_share(below[0], 'validation errors')} and "
                f"{_share(below[1], 'test errors on the final fronts')} are below the lowest frozen error and count as "
                "equal to it: the hypervolume hides their progress"
            )
    return warnings


def _share(chosen: BoolArray, what: str) -> str:
    percent = 100 * chosen.sum() / max(len(chosen), 1)
    return f"{percent:.{'2g' if percent < 10 else '0f'}} % of the {what} ({chosen.sum():,} of {len(chosen):,})"


def frozen_files(folder: Path) -> dict[int, Path]:
    """The files of frozen quantiles in a folder, by version."""
    return {int(match[1]): path for path in folder.glob("quantiles_v*.json") if (match := _FILE.fullmatch(path.name))}


def load_quantiles(path: Path | None = None) -> Quantiles:
    """Load frozen quantiles.

    Args:
        path: a file written by :func:`freeze`; None for the newest file in the benchmark's folder. If that folder has
            no such file, the result has no scenarios.

    Raises:
        UserError: if the file cannot be read or holds something else.
    """
    if path is None:
        files = frozen_files(Path(importlib.import_module("nasbench.benchmark").__path__[0]))
        if not files:
            return Quantiles()
        path = files[max(files)]
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        scenarios = {scenario: _scenario_from_json(entry) for scenario, entry in data["cells"].items()}
        return Quantiles(scenarios, int(data["version"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a file of frozen quantiles ({error}); 'nasbench freeze' writes one") from error


@dataclass(frozen=True)
class Frozen:
    """The outcome of :func:`freeze`.

    Attributes:
        path: the file that is now the newest.
        scenarios: a line for each newly frozen scenario with its evaluations, runs, methods and seeds.
        warnings: runs that failed or have not ended, and scenarios that were not frozen.
    """

    path: Path
    scenarios: tuple[str, ...]
    warnings: tuple[str, ...]


def freeze(results: Path, benchmark_dir: Path, only: Sequence[str] = ()) -> Frozen:
    """Fit quantiles to the official runs of scenarios that have none yet, and write the next version.

    Frozen scenarios are copied unchanged, so no published score moves. If all scenarios are frozen already, nothing is
    written. Because frozen quantiles stay, nothing is frozen while any record is damaged. A scenario on which only one
    method has run is not frozen either, because its scale would fit that method only; nor is one with other objectives
    than error and parameters.

    Args:
        results: the results folder.
        benchmark_dir: the folder with ``quantiles_v1.json``, ``quantiles_v2.json``, ...; the newest counts.
        only: the scenarios to freeze, such as ``stsb/minilm-l6/cpu``; none for all. Others may wait for more methods.

    Raises:
        UserError: if there are no official runs with evaluations, or none of a second method, or if a scenario of
            ``only`` has no official runs or is frozen already.
        NasbenchError: if a record is damaged.
    """
    found = read_results(results)
    if found.exit_code:
        damaged = [str(finding) for finding in found.findings if finding.damage]
        raise NasbenchError("\n".join(["nothing is frozen while records are damaged; repair or remove", *damaged]))
    files = frozen_files(benchmark_dir)
    newest = max(files, default=0)
    old = load_quantiles(files[newest]) if newest else Quantiles(version=0)
    official = found.official()
    official = official.select(official.runs["objectives"] == USUAL)
    fitted = fit_quantiles(official.evaluations).scenarios
    if not fitted:
        raise UserError(f"no official runs with evaluations in {results}; quantiles are fitted to official runs")
    for scenario in only:
        if scenario in old.scenarios:
            raise UserError(f"{scenario} is frozen already, and stays as it is")
        if scenario not in fitted:
            raise UnknownName("scenario", scenario, fitted.keys() - old.scenarios.keys())
    new, refused = {}, []
    for scenario in sorted(set(only) or fitted.keys() - old.scenarios.keys()):
        runs = official.runs[(official.runs["scenario"] == scenario) & (official.runs["n_evaluations"] > 0)]
        methods = sorted(runs["method"].unique())
        if len(methods) > 1:
            entry = fitted[scenario]
            new[scenario] = (
                f"{scenario}: {entry.n_evaluations:,} evaluations, runs: {entry.n_runs}, methods: {len(methods)} "
                f"({', '.join(methods)}), seeds: {runs['seed'].nunique()}"
            )
        else:
            refused.append(
                f"{scenario}: not frozen, because only {methods[0]} has run there; run a second method first"
            )
    if refused and not new:
        raise UserError("\n".join(refused))
    warnings = (*found.warnings, *refused)
    if not new:
        return Frozen(files[newest], (), warnings)
    scenarios = {**{scenario: fitted[scenario] for scenario in new}, **old.scenarios}
    path = benchmark_dir / f"quantiles_v{newest + 1}.json"
    document = {
        "version": newest + 1,
        "objectives": list(OBJECTIVES),
        "cells": {scenario: _scenario_to_json(scenarios[scenario]) for scenario in sorted(scenarios)},
    }
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
    return Frozen(path, tuple(new.values()), warnings)


def _scenario_to_json(scenario: ScenarioQuantiles) -> dict[str, Any]:
    return {
        "suite_version": scenario.suite_version,
        "n_runs": scenario.n_runs,
        "n_evaluations": scenario.n_evaluations,
        # One text per objective: with one line per number, a scenario would take 2,000 lines.
        "knots": {name: " ".join(map(repr, knots.tolist())) for name, knots in scenario.knots.items()},
    }


def _scenario_from_json(entry: Mapping[str, Any]) -> ScenarioQuantiles:
    knots = {name: np.array([float(text) for text in entry["knots"][name].split()]) for name in OBJECTIVES}
    for name, values in knots.items():
        if len(values) == 0 or not np.isfinite(values).all() or (np.diff(values) < 0).any():
            raise ValueError(f"knots of {name!r} are not ascending numbers")
    return ScenarioQuantiles(knots, str(entry["suite_version"]), int(entry["n_runs"]), int(entry["n_evaluations"]))
