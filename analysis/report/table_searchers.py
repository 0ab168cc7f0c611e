"""The comparison of searchers on the tables of the tabular benchmark, as a page in Markdown.

Regret is true regret: the hypervolume of the true Pareto front of the table minus that of the run. All runs on a table
use the same super-network, so the intervals are over the seeds of the searchers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.formatting import escape
from nasbench.analysis.scoring.intervals import interval_on_these_tasks
from nasbench.analysis.scoring.truth import Truth
from nasbench.arrays import FloatArray
from nasbench.errors import UserError
from nasbench.objectives.modelled import median_interval
from nasbench.tables.table import Table

TARGET = 0.99
"""Fraction of the true hypervolume that a search is to reach."""

_HEAD = """# Searchers on the tabular benchmark

Written by `nasbench compare-searchers`; do not edit. [tables.md](tables.md) explains tables and simulated runs.

Every searcher ran {n_seeds} times for {n_evaluations} evaluations on each table. Both objectives are normalised by the
quantiles of all networks of the table, with the reference point (2, 2). *Regret* is the hypervolume of the table's
true Pareto front minus that of the run: the mean over seeds with Student's 95 % interval. *To 99 %* is what a search
needs to reach 99 % of the true hypervolume: the median over seeds with a distribution-free 95 % interval. A run that
does not reach it counts as infinite (∞). Seconds are simulated: recorded seconds of the evaluations plus the
searcher's own, without the training of the super-network. The last column is the searcher's own time per evaluation.
"""


class Spread(NamedTuple):
    """A value with its 95 % interval; bounds are NaN where there are too few values."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SearcherResult:
    """What one searcher reached on one table.

    Attributes:
        searcher: its name.
        n_runs: number of seeds.
        regret: mean true regret after the last evaluation.
        regret_at_s: mean true regret at the time at which the shortest run of the table ended.
        evaluations, seconds: medians of what is needed to reach :data:`TARGET`; infinite if too few runs reach it.
        n_reached: number of runs that reach it.
        own_s: mean seconds of the searcher itself per evaluation.
    """

    searcher: str
    n_runs: int
    regret: Spread
    regret_at_s: Spread
    evaluations: Spread
    seconds: Spread
    n_reached: int
    own_s: float


def compare(
    table: Table, results: Path, searchers: Sequence[str], seeds: Sequence[int], max_evaluations: int
) -> tuple[list[SearcherResult], float]:
    """The searchers on one table, the smallest regret first, and the time of :attr:`SearcherResult.regret_at_s`.

    Args:
        results: the records of runs on this table.
        searchers, seeds, max_evaluations: which runs; others are left out.

    Raises:
        UserError: if there are no such runs on the table, or runs on another one.
    """
    read = read_results(results)
    runs = read.runs[(read.runs["status"] == "complete").to_numpy()]
    if {_table_of(origin) for origin in runs["provenance"]} - {table.sha256}:
        raise UserError(
            f"{results}: the records hold runs on another table, or on another version of it; remove the folder and "
            "run 'nasbench compare-searchers'"
        )
    is_asked_for = runs["searcher"].isin(searchers) & runs["seed"].isin(seeds)
    runs = runs[is_asked_for & (runs["max_evaluations"] == max_evaluations).fillna(False)]
    if runs.empty:
        raise UserError(
            f"{results}: no complete run of {', '.join(searchers)} with {max_evaluations} evaluations; make runs with "
            "'nasbench compare-searchers'"
        )
    truth = Truth(table)
    curves: dict[str, list[tuple[FloatArray, FloatArray, float]]] = {}
    for row, lines in read.evaluations.groupby("run_row", sort=True):
        if row in runs.index:
            run = runs.loc[row]
            seconds = lines["elapsed_s"].to_numpy(dtype=np.float64) - table.info.training_s
            found = truth.found(lines[["error", "params"]].to_numpy(dtype=np.float64))
            own_s = (run["charged_s"]["search"] + run["charged_s"]["idle"]) / len(lines)
            curves.setdefault(str(run["searcher"]), []).append((seconds, found, own_s))
    shared_s = min(seconds[-1] for own in curves.values() for seconds, _, _ in own)
    rows = [_result(name, own, truth.hypervolume, shared_s) for name, own in curves.items()]
    return sorted(rows, key=lambda row: (round(row.regret.value, 9), row.searcher)), shared_s


def _table_of(provenance: dict[str, dict[str, str]]) -> str:
    return provenance.get("table", {}).get("sha256", "")


def _result(
    name: str, curves: list[tuple[FloatArray, FloatArray, float]], true_hypervolume: float, shared_s: float
) -> SearcherResult:
    final, at_s, evaluations, seconds = [], [], [], []
    for times, found, _ in curves:
        final.append(true_hypervolume - found[-1])
        at_s.append(true_hypervolume - found[max(int(np.searchsorted(times, shared_s, side="right")) - 1, 0)])
        reached = np.flatnonzero(found >= TARGET * true_hypervolume)
        evaluations.append(float(reached[0] + 1) if len(reached) else np.inf)
        seconds.append(float(times[reached[0]]) if len(reached) else np.inf)
    return SearcherResult(
        name, len(curves), _mean(final), _mean(at_s),
        Spread(*median_interval(evaluations)), Spread(*median_interval(seconds)),
        int(np.isfinite(evaluations).sum()), float(np.mean([own_s for _, _, own_s in curves])),
    )  # fmt: skip


def _mean(values: list[float]) -> Spread:
    return Spread(*interval_on_these_tasks(values, ["all"] * len(values)))


def page(
    tables: Sequence[Table], results: Path, searchers: Sequence[str], seeds: Sequence[int], max_evaluations: int
) -> str:
    """The page about all tables.

    Args:
        results: the folder of :func:`nasbench.tables.comparison.run_all`.
        searchers, seeds, max_evaluations: which runs; others are left out.

    Raises:
        UserError: if there are no such runs on a table.
    """
    sections, n_seeds = [], set()
    for table in tables:
        rows, shared_s = compare(table, results / table.name, searchers, seeds, max_evaluations)
        n_seeds |= {row.n_runs for row in rows}
        sections.append(_section(table, rows, shared_s))
    least, most = min(n_seeds), max(n_seeds)
    times = f"{least}" if least == most else f"{least} to {most}"
    return "\n".join([_HEAD.format(n_seeds=times, n_evaluations=max_evaluations), *sections])


def _section(table: Table, rows: list[SearcherResult], shared_s: float) -> str:
    info, truth = table.info, Truth(table)
    seconds = "CPU seconds per thread" if info.clock == "cpu" else "seconds"
    lines = [
        f"## {escape(table.name)}\n",
        f"{int(truth.networks.sum()):,} different networks in {info.n_networks:,} configurations; "
        f"{int(truth.front.sum())} are on the true front. True hypervolume {truth.hypervolume:.4f} on validation data; "
        f"{truth.test_hypervolume:.4f} for the test errors of the same networks. The super-network took "
        f"{info.training_s:.0f} {seconds} to train.\n",
        f"| searcher | regret | regret at {shared_s:.0f} s | evaluations to 99 % | seconds to 99 % | reached "
        "| own ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            escape(row.searcher),
            _text(row.regret, ".4f"),
            _text(row.regret_at_s, ".4f"),
            _text(row.evaluations, ".0f"),
            _text(row.seconds, ".0f"),
            f"{row.n_reached} of {row.n_runs}",
            f"{1e3 * row.own_s:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _text(spread: Spread, form: str) -> str:
    def number(value: float) -> str:
        return "∞" if np.isinf(value) else f"{value:{form}}"

    if np.isnan(spread.low):
        return number(spread.value)
    return f"{number(spread.value)} [{number(spread.low)}, {number(spread.high)}]"


def frame(rows: Sequence[SearcherResult]) -> pd.DataFrame:
    """The rows of :func:`compare` as a table, one column per number."""
    records = []
    for row in rows:
        record: dict[str, object] = {"searcher": row.searcher, "n_runs": row.n_runs, "n_reached": row.n_reached}
        for name in ("regret", "regret_at_s", "evaluations", "seconds"):
            spread: Spread = getattr(row, name)
            record |= {name: spread.value, f"{name}_low": spread.low, f"{name}_high": spread.high}
        records.append(record | {"own_s": row.own_s})
    return pd.DataFrame(records)
