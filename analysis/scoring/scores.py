"""From results to hypervolumes: quantile normalisation, hypervolume over time, and a table of entries by blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasbench.analysis.reading.objectives import MEASURED, of_rows
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring import hypervolume
from nasbench.analysis.scoring.fronts import front_mask
from nasbench.analysis.scoring.quantiles import Quantiles, below_frozen, fit_quantiles, load_quantiles, normalise
from nasbench.arrays import FloatArray, IntArray
from nasbench.declarations.task import REFERENCE_POINT

N_TIMES = 100
LARGEST_HYPERVOLUME = float(np.prod(REFERENCE_POINT))
"""The hypervolume of a network without any error and parameter, both quantile-normalised."""


def n_objectives(runs: pd.DataFrame) -> IntArray:
    """Number of objectives of each run, ``(n_runs,)``."""
    return np.array([text.count(",") + 1 for text in of_rows(runs).astype(str)], dtype=np.int64)


def largest_hypervolume(runs: pd.DataFrame) -> FloatArray:
    """The hypervolume of a network without any error and cost, ``(n_runs,)``: 4, or 8 with three objectives."""
    return np.asarray(REFERENCE_POINT[0] ** n_objectives(runs).astype(np.float64))


@dataclass(frozen=True)
class Scores:
    """Hypervolume of every run over time.

    Attributes:
        runs: the runs that have ended, as in :class:`~nasbench.analysis.reading.results.Results`, with the columns
            ``begin_s`` and ``end_s``: charged seconds at both ends of the time axis. It begins at 0 and ends with the
            budget, unless the scores are those of a window of time.
        grid: ``(n_times,)``, fractions of the time axis, ascending; the last one is 1.
        hypervolume: ``(n_runs, n_times)``, hypervolume of the quantile-normalised objectives; at most 4, or 8 for three
            objectives. For a failed run, it counts the evaluations before the failure.
        test: ``(n_runs,)``, hypervolume at the end of the budget of the *test* errors of the networks on the validation
            front, normalised like validation errors, and of their costs: the measured values of those that were
            modelled in the search. No network was chosen by its test error, but the hypervolume takes the lower
            envelope of the test errors: at each size it credits the luckiest network of the front up to this size. So
            the value is a little optimistic; docs/deviations.md says by how much.
        warnings: scenarios whose normalisation is not the frozen one, or that have errors below its range.
        quantiles: the normaliser that was used.
    """

    runs: pd.DataFrame
    grid: FloatArray
    hypervolume: FloatArray
    test: FloatArray
    warnings: tuple[str, ...] = ()
    quantiles: Quantiles | None = None

    @property
    def final(self) -> FloatArray:
        """Hypervolume at the end of the budget, ``(n_runs,)``."""
        return self.hypervolume[:, -1]

    @property
    def regret(self) -> FloatArray:
        """The largest possible hypervolume minus the run's own, ``(n_runs, n_times)``.

        With frozen quantiles it does not depend on other runs, so no submission moves the regret of an earlier one.
        """
        return largest_hypervolume(self.runs)[:, None] - self.hypervolume


@dataclass(frozen=True)
class Blocks:
    """Runs as a table of entries by blocks; a block is one scenario and one seed.

    Attributes:
        names: ``(n_entries,)`` sorted.
        scenarios: ``(n_blocks,)``; the blocks are sorted by scenario, then by seed.
        seeds: ``(n_blocks,)``.
        hypervolume: ``(n_entries, n_blocks, n_times)``, NaN = no such run.
    """

    names: tuple[str, ...]
    scenarios: npt.NDArray[np.object_]
    seeds: npt.NDArray[np.int64]
    hypervolume: FloatArray

    @property
    def final(self) -> FloatArray:
        """Hypervolume at the last time step, ``(n_entries, n_blocks)``."""
        return self.hypervolume[:, :, -1]


def score(
    results: Results,
    quantiles: Quantiles | None = None,
    n_times: int = N_TIMES,
    refit: bool = False,
    limits_s: FloatArray | None = None,
) -> Scores:
    """Hypervolume of every run that has ended, at ``n_times`` equal steps of its own budget (:func:`horizon_s`).

    Args:
        results: the runs and their evaluations.
        quantiles: the normaliser; None for the frozen quantiles of the suite.
        n_times: number of time steps.
        refit: normalise by the quantiles of all evaluations in ``results`` instead, as the paper does.
        limits_s: ``(n_runs, 2)``, begin and end of the time axis of each run that has ended, in charged seconds; None
            for its whole budget. What was found before the begin counts from the first time step.
    """
    finished = results.finished()
    evaluations = finished.evaluations
    if refit:
        quantiles = fit_quantiles(evaluations)
    elif quantiles is None:
        quantiles = load_quantiles()
    values, warnings = normalise(evaluations, quantiles)
    grid = np.arange(1, n_times + 1) / n_times
    rows = evaluations["run_row"].to_numpy()
    elapsed_s, horizon = evaluations["elapsed_s"].to_numpy(), horizon_s(finished.runs)
    begin_s, end_s = (np.zeros(len(horizon)), horizon) if limits_s is None else np.asarray(limits_s).T
    spent = (elapsed_s - begin_s[rows]) / (end_s - begin_s)[rows]
    scores = _over_time(values, spent, rows, finished.runs, grid)
    in_time = evaluations[elapsed_s / horizon[rows] <= 1.0]
    front = in_time[front_mask(in_time)]
    test = _test_hypervolume(front, finished, quantiles)
    warnings += below_frozen(evaluations, front, quantiles)
    runs = finished.runs.assign(begin_s=begin_s, end_s=end_s)
    return Scores(runs, grid, scores, test, tuple(warnings), quantiles)


def _test_hypervolume(front: pd.DataFrame, finished: Results, quantiles: Quantiles) -> FloatArray:
    """Hypervolume of the test errors of each run's final validation front, ``(n_runs,)``.

    Args:
        front: the evaluations on the validation front of each run at the end of its budget.
    """
    front = front.assign(error=front["test_error"].to_numpy())
    for cost, measured in MEASURED.items():  # what was modelled in the search was measured on the front
        if measured in front:
            front[cost] = front[measured].fillna(front[cost])
    values, _ = normalise(front, _with_all_scenarios(quantiles, finished.evaluations))
    rows = front["run_row"].to_numpy()
    return _over_time(values, np.zeros(len(rows)), rows, finished.runs, np.ones(1))[:, 0]


def _over_time(
    values: FloatArray, times: FloatArray, rows: npt.NDArray[Any], runs: pd.DataFrame, grid: FloatArray
) -> FloatArray:
    """:func:`nasbench.analysis.scoring.hypervolume.over_time` for runs with two and with three objectives."""
    counts = n_objectives(runs)
    found = np.zeros((len(runs), len(grid)))
    for n in np.unique(counts).tolist():
        own = counts[rows] == n
        reference = np.full(n, REFERENCE_POINT[0])
        found += hypervolume.over_time(values[own, :n], times[own], rows[own], len(runs), grid, reference)
    return found


def _with_all_scenarios(quantiles: Quantiles, evaluations: pd.DataFrame) -> Quantiles:
    """The quantiles, with those of scenarios that have none fitted to their validation errors."""
    missing = ~evaluations["scenario"].astype(str).isin(quantiles.scenarios).to_numpy()
    if not missing.any():
        return quantiles
    fitted = fit_quantiles(evaluations[missing])
    return Quantiles({**fitted.scenarios, **quantiles.scenarios}, quantiles.version)


def horizon_s(runs: pd.DataFrame) -> FloatArray:
    """Charged seconds at the end of each run's time axis, ``(n_runs,)``.

    This is the run's budget. A run that only a number of evaluations ends has no budget; its axis ends with its last
    evaluation.
    """
    budget = runs["budget_s"].to_numpy(dtype=np.float64)
    elapsed = np.maximum(runs["elapsed_s"].to_numpy(dtype=np.float64), np.finfo(np.float64).tiny)
    return np.where(np.isnan(budget), elapsed, budget)


def block_table(scores: Scores, by: str = "entry", values: FloatArray | None = None) -> Blocks:
    """The hypervolumes as entries by blocks by time.

    Args:
        scores: the runs to compare and their hypervolumes.
        by: column of the runs that names the entries: ``entry``, ``algorithm``, ``searcher``, ``space``, ...
        values: ``(n_runs, n_times)``; None for the validation hypervolume over time. ``scores.test[:, None]`` gives the
            final test hypervolume.

    Raises:
        ValueError: if two runs have the same name, scenario and seed; select the runs to compare first.
    """
    runs = scores.runs
    names, row = np.unique(runs[by].fillna("").to_numpy(dtype=str), return_inverse=True)
    keys = pd.MultiIndex.from_arrays([runs["scenario"].to_numpy(dtype=object), runs["seed"].to_numpy(dtype=np.int64)])
    blocks = keys.unique().sort_values()
    column = blocks.get_indexer(keys)
    place = pd.Index(row * max(len(blocks), 1) + column)
    if place.has_duplicates:
        i = int(np.flatnonzero(place.duplicated())[0])
        raise ValueError(f"several runs of {runs[by].iloc[i]!r} in scenario {keys[i][0]!r} with seed {keys[i][1]}")
    chosen = scores.hypervolume if values is None else values
    table = np.full((len(names), len(blocks), chosen.shape[1]), np.nan)
    table[row, column] = chosen
    return Blocks(
        tuple(str(name) for name in names),
        blocks.get_level_values(0).to_numpy(dtype=object),
        blocks.get_level_values(1).to_numpy(dtype=np.int64),
        table,
    )
