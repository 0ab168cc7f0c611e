"""The comparison of searchers on the tables of the tabular benchmark, as a page in Markdown.

Regret is true regret: the hypervolume of the true Pareto front of the table minus that of the run. All runs on a table
use the same super-network, so the intervals are over the seeds of the searchers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from nasbench.analysis.report.formatting import escape
from nasbench.analysis.scoring.intervals import interval_on_these_tasks
from nasbench.analysis.scoring.table_curves import Curve, own_seconds, table_curves
from nasbench.analysis.scoring.truth import Truth
from nasbench.objectives.modelled import median_interval
from nasbench.tables.table import Table

TARGET = 0.99
"""Fraction of the true hypervolume that a search is to reach."""

_HEAD = """# Searchers on the tabular benchmark

Written by the command below; do not edit. [tables.md](tables.md) explains tables and simulated runs.

```bash
{command}
```

{n_searchers} searchers ran {n_seeds} times for {n_evaluations} evaluations on each table: {searchers}.{left_out}

Both objectives are normalised by the quantiles of all networks of the table, with the reference point (2, 2). *Regret*
is the hypervolume of the table's true Pareto front minus that of the run: the mean over seeds with Student's 95 %
interval. *To 99 %* is what a search needs to reach 99 % of the true hypervolume: the median over seeds with a
distribution-free 95 % interval. A run that does not reach it counts as infinite (∞). Seconds are simulated: recorded
seconds of the evaluations plus the searcher's own, without the training of the super-network. The last column is the
searcher's own time per evaluation.

![true hypervolume regret of each searcher over simulated seconds, a panel for each table]({picture})

*Figure 12 with true regret: the mean over seeds with its 95 % interval, from the first evaluation of all runs of a
searcher to the end of its shortest run. Dashed: optimisers of other libraries.*
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
        searchers: their names; runs of others are left out.
        seeds: runs with other seeds are left out.
        max_evaluations: runs with another number are left out.

    Raises:
        UserError: if there are no such runs on the table, or runs on another one.
    """
    curves = table_curves(table, results, searchers, seeds, max_evaluations)
    shared_s = min(float(curve.seconds[-1]) for own in curves.values() for curve in own)
    rows = [_result(name, own, shared_s) for name, own in curves.items()]
    return sorted(rows, key=lambda row: (round(row.regret.value, 9), row.searcher)), shared_s


def _result(name: str, curves: list[Curve], shared_s: float) -> SearcherResult:
    evaluations, seconds = [], []
    for curve in curves:
        reached = np.flatnonzero(curve.found >= TARGET * curve.true_hypervolume)
        evaluations.append(float(reached[0] + 1) if len(reached) else np.inf)
        seconds.append(float(curve.seconds[reached[0]]) if len(reached) else np.inf)
    return SearcherResult(
        name, len(curves),
        _mean([float(curve.regret[-1]) for curve in curves]),
        _mean([float(curve.regret_at(np.array([shared_s]))[0]) for curve in curves]),
        Spread(*median_interval(evaluations)), Spread(*median_interval(seconds)),
        int(np.isfinite(evaluations).sum()), float(np.mean([curve.own_s for curve in curves])),
    )  # fmt: skip


def _mean(values: list[float]) -> Spread:
    return Spread(*interval_on_these_tasks(values, ["all"] * len(values)))


def picture_name(page: Path) -> str:
    """The name of the picture beside a page."""
    return f"{page.stem}-regret.png"


def page(
    tables: Sequence[Table],
    results: Path,
    searchers: Sequence[str],
    seeds: Sequence[int],
    max_evaluations: int,
    *,
    command: str,
    picture: str,
    left_out: Sequence[str] = (),
) -> str:
    """The page about all tables.

    Args:
        results: the folder of :func:`nasbench.tables.comparison.run_all`.
        searchers: their names; runs of others are left out.
        seeds: runs with other seeds are left out.
        max_evaluations: runs with another number are left out.
        command: writes the page.
        picture: the name of the picture of :mod:`nasbench.analysis.figures.table_regrets`, beside the page.
        left_out: searchers that could run on tables and were not asked for. If they have other runs in ``results``,
            the page says what they cost.

    Raises:
        UserError: if there are no such runs on a table.
    """
    sections, n_seeds, found = [], set(), set()
    for table in tables:
        rows, shared_s = compare(table, results / table.name, searchers, seeds, max_evaluations)
        n_seeds |= {row.n_runs for row in rows}
        found |= {row.searcher for row in rows}
        sections.append(_section(table, rows, shared_s))
    least, most = min(n_seeds), max(n_seeds)
    names = [_code(name) for name in dict.fromkeys(searchers) if name in found]
    head = _HEAD.format(
        command=command,
        n_searchers=len(names),
        n_seeds=f"{least}" if least == most else f"{least} to {most}",
        n_evaluations=max_evaluations,
        searchers=", ".join(names),
        left_out=_left_out(left_out, tables, results),
        picture=quote(picture),
    )
    return "\n".join([head, *sections])


def _left_out(names: Sequence[str], tables: Sequence[Table], results: Path) -> str:
    """A sentence about searchers of the suite that the page leaves out, with their own seconds where runs have them."""
    if not names:
        return ""
    texts = []
    for name in names:
        known = [own_seconds(table, results / table.name, name) for table in tables if (results / table.name).is_dir()]
        own_s, n = max(filter(None, known), key=lambda pair: pair[1], default=(None, 0))
        texts.append(_code(name))
        if own_s is not None:
            texts[-1] += f" (it takes {own_s:.2g} s of its own per evaluation, measured over {n} of them)"
    return f" Left out of the suite's searchers that can run on a table: {', '.join(texts)}."


def _code(name: str) -> str:
    return f"`{name}`" if "`" not in name else escape(name)


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
