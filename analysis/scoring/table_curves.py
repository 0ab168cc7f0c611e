"""True regret over time of searchers on a table, from the records of simulated runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.scoring.truth import Truth
from nasbench.arrays import FloatArray
from nasbench.errors import UserError
from nasbench.tables.table import Table


@dataclass(frozen=True)
class Curve:
    """One run on a table.

    Attributes:
        seconds: ``(n,)``, simulated seconds at the end of each evaluation, without the training of the super-network.
        found: ``(n,)``, normalised hypervolume after each evaluation.
        true_hypervolume: of the table.
        own_s: seconds of the searcher itself per evaluation.
    """

    seconds: FloatArray
    found: FloatArray
    true_hypervolume: float
    own_s: float

    @property
    def regret(self) -> FloatArray:
        """True regret after each evaluation, ``(n,)``."""
        return self.true_hypervolume - self.found

    def regret_at(self, seconds: FloatArray) -> FloatArray:
        """The true regret at some times: all of the true hypervolume before the first evaluation, NaN after the last.

        Args:
            seconds: ``(n_times,)``, simulated seconds.
        """
        n_done = np.searchsorted(self.seconds, seconds, side="right")
        regret = np.concatenate(([self.true_hypervolume], self.regret))[n_done]
        return np.where(seconds > self.seconds[-1], np.nan, regret)


def table_curves(
    table: Table, results: Path, searchers: Sequence[str], seeds: Sequence[int], max_evaluations: int
) -> dict[str, list[Curve]]:
    """The runs of each searcher on a table, in the order of the records: one for each seed.

    If a searcher's default options have changed, there may be runs with the old and the new ones. The newest count.

    Args:
        results: the records of runs on this table.
        searchers: their names; runs of others are left out.
        seeds: runs with other seeds are left out.
        max_evaluations: runs with another number are left out.

    Raises:
        UserError: if there are no such runs on the table, or runs on another one.
    """
    read, runs = _complete_runs(table, results)
    is_asked_for = runs["searcher"].isin(searchers) & runs["seed"].isin(seeds)
    runs = runs[is_asked_for & (runs["max_evaluations"] == max_evaluations).fillna(False)]
    if runs.empty:
        raise UserError(
            f"{results}: no complete run of {', '.join(searchers)} with {max_evaluations} evaluations; make runs with "
            "'nasbench compare-searchers'"
        )
    newest = runs.sort_values("started_at", kind="stable").drop_duplicates(["searcher", "seed"], keep="last")
    return _curves(table, read, newest)


def own_seconds(table: Table, results: Path, searcher: str) -> tuple[float, int] | None:
    """The searcher's own seconds per evaluation in its longest runs on a table, and their number of evaluations.

    Args:
        results: the records of runs on this table.

    Returns:
        The mean over these runs; None without a complete run.

    Raises:
        UserError: if there are runs on another table.
    """
    read, runs = _complete_runs(table, results)
    curves = _curves(table, read, runs[(runs["searcher"] == searcher).to_numpy()]).get(searcher, [])
    longest = max((len(curve.seconds) for curve in curves), default=0)
    own = [curve.own_s for curve in curves if len(curve.seconds) == longest]
    return (float(np.mean(own)), longest) if own else None


def _complete_runs(table: Table, results: Path) -> tuple[Results, pd.DataFrame]:
    read = read_results(results)
    runs = read.runs[(read.runs["status"] == "complete").to_numpy()]
    if {_table_of(origin) for origin in runs["provenance"]} - {table.sha256}:
        raise UserError(
            f"{results}: the records hold runs on another table, or on another version of it; remove the folder and "
            "run 'nasbench compare-searchers'"
        )
    return read, runs


def _curves(table: Table, read: Results, runs: pd.DataFrame) -> dict[str, list[Curve]]:
    truth = Truth(table)
    curves: dict[str, list[Curve]] = {}
    for row, lines in read.evaluations.groupby("run_row", sort=True):
        if row in runs.index:
            run: Any = runs.loc[row]
            seconds = lines["elapsed_s"].to_numpy(dtype=np.float64) - table.info.training_s
            found = truth.found(lines[["error", "params"]].to_numpy(dtype=np.float64))
            own_s = (run["charged_s"]["search"] + run["charged_s"]["idle"]) / len(lines)
            curves.setdefault(str(run["searcher"]), []).append(Curve(seconds, found, truth.hypervolume, own_s))
    return curves


def _table_of(provenance: dict[str, dict[str, str]]) -> str:
    return provenance.get("table", {}).get("sha256", "")
