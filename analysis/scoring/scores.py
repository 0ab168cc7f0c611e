"""From results to hypervolumes: quantile normalisation, hypervolume over time, and a table of entries by blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring import hypervolume
from nasbench.analysis.scoring.quantiles import Quantiles, fit_quantiles, load_quantiles, normalise
from nasbench.arrays import FloatArray

N_TIMES = 100


@dataclass(frozen=True)
class Scores:
    """Hypervolume of every run over time.

    Attributes:
        runs: the runs that have ended, as in :class:`~nasbench.analysis.reading.results.Results`.
        grid: ``(n_times,)``, fractions of the budget, ascending; the last one is 1.
        hypervolume: ``(n_runs, n_times)``, hypervolume of the quantile-normalised objectives; at most 4. For a failed
            run, it counts the evaluations before the failure.
        warnings: scenarios whose normalisation is not the frozen one.
    """

    runs: pd.DataFrame
    grid: FloatArray
    hypervolume: FloatArray
    warnings: tuple[str, ...] = ()

    @property
    def final(self) -> FloatArray:
        """Hypervolume at the end of the budget, ``(n_runs,)``."""
        return self.hypervolume[:, -1]

    @property
    def regret(self) -> FloatArray:
        """Highest hypervolume in the run's scenario minus its own, ``(n_runs, n_times)``."""
        return hypervolume.regret(self.hypervolume, self.runs["scenario"].to_numpy())


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
    def n_missing(self) -> int:
        """Number of runs that the table lacks."""
        return int(np.isnan(self.hypervolume).all(axis=2).sum())

    @property
    def final(self) -> FloatArray:
        """Hypervolume at the last time step, ``(n_entries, n_blocks)``."""
        return self.hypervolume[:, :, -1]


def score(
    results: Results,
    quantiles: Quantiles | None = None,
    n_times: int = N_TIMES,
    refit: bool = False,
) -> Scores:
    """Hypervolume of every run that has ended, at ``n_times`` equal steps of its own budget (:func:`horizon_s`).

    Args:
        results: the runs and their evaluations.
        quantiles: the normaliser; None for the frozen quantiles of the suite.
        n_times: number of time steps.
        refit: normalise by the quantiles of all evaluations in ``results`` instead, as the paper does.
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
    spent = evaluations["elapsed_s"].to_numpy() / horizon_s(finished.runs)[rows]
    scores = hypervolume.over_time(values, spent, rows, len(finished.runs), grid)
    return Scores(finished.runs, grid, scores, tuple(warnings))


def horizon_s(runs: pd.DataFrame) -> FloatArray:
    """Charged seconds at the end of each run's time axis, ``(n_runs,)``.

    This is the run's budget. A run that only a number of evaluations ends has no budget; its axis ends with its last
    evaluation.
    """
    budget = runs["budget_s"].to_numpy(dtype=np.float64)
    elapsed = np.maximum(runs["elapsed_s"].to_numpy(dtype=np.float64), np.finfo(np.float64).tiny)
    return np.where(np.isnan(budget), elapsed, budget)


def block_table(scores: Scores, by: str = "entry") -> Blocks:
    """The hypervolumes as entries by blocks by time.

    Args:
        scores: the runs to compare and their hypervolumes.
        by: column of the runs that names the entries: ``entry``, ``algorithm``, ``searcher``, ``space``, ...

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
    values = np.full((len(names), len(blocks), len(scores.grid)), np.nan)
    values[row, column] = scores.hypervolume
    return Blocks(
        tuple(str(name) for name in names),
        blocks.get_level_values(0).to_numpy(dtype=object),
        blocks.get_level_values(1).to_numpy(dtype=np.int64),
        values,
    )
