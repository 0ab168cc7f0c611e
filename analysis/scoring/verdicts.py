"""Verdicts on claims: an inequality between two algorithms, judged by an interval of their difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from nasbench.analysis.scoring.comparison import compare
from nasbench.analysis.scoring.intervals import COVERAGE, MIN_TASKS, interval_on_these_tasks, task_means
from nasbench.analysis.scoring.scores import Blocks
from nasbench.arrays import BoolArray, FloatArray

Verdict = Literal["confirmed", "refuted", "undecided", "not run"]
Relation = Literal["better than", "at least as good as", "as good as", "not better than"]
Measure = Literal[
    "hypervolume", "test hypervolume", "relative test metric", "share of pairs in order", "bytes", "latency"
]

HYPERVOLUME_MARGIN = 0.05
"""Hypervolumes that differ by less count as equally good; the largest possible hypervolume is 4."""
RELATIVE_MARGIN = 0.05
"""Fraction of the full network's test metric: the 95 % line of the paper's figure 8."""
EARLY = 0.25
"""Early means after this fraction of the paper's window of time, :mod:`nasbench.analysis.experiments.windows`."""


@dataclass(frozen=True)
class Claim:
    """One inequality: ``a`` is ``relation`` ``b``.

    Attributes:
        text: the claim, as printed.
        measure: the quantity that is compared.
        experiment: the experiment that makes its runs; empty if quantising any runs is enough, or ``sweep`` is set.
        task: the one task that the claim is about; None for all tasks.
        depends_on_task: False for a quantity that is the same on every task, such as bytes.
        sweep: the command that makes its runs, if no experiment does.
        contrasts: the tasks that it sets against each other; empty for a claim that runs on any tasks can judge.
    """

    text: str
    relation: Relation
    measure: Measure
    experiment: str
    task: str | None = None
    depends_on_task: bool = True
    sweep: str = ""
    contrasts: tuple[str, ...] = ()

    @property
    def is_general(self) -> bool:
        """Whether the claim is about tasks in general, so that the interval on tasks like these judges it."""
        return self.task is None and self.depends_on_task

    @property
    def command(self) -> str:
        """The command that makes all that the claim needs, whatever has run already."""
        made_by = f"nasbench experiment {self.experiment}" if self.experiment else "nasbench quantize RUN"
        return self.sweep or made_by


@dataclass(frozen=True)
class ClaimResult:
    """A claim with its verdict.

    Attributes:
        difference: mean of a - b; NaN if there are no runs.
        low: lower end of the 95 % interval on these tasks; NaN where there is none.
        high: its upper end.
        task_low: lower end of the 95 % interval on tasks like these; NaN where there is none.
        task_high: its upper end.
        n: number of blocks compared.
        n_tasks: number of tasks that the blocks come from.
    """

    claim: Claim
    verdict: Verdict
    difference: float
    low: float
    high: float
    task_low: float
    task_high: float
    n: int
    n_tasks: int


def judge(relation: Relation, low: float, high: float, margin: float) -> Verdict:
    """The verdict on ``a relation b`` from the interval of a - b; "undecided" if neither condition holds.

    =====================  ===================  ===================
    relation               confirmed            refuted
    =====================  ===================  ===================
    better than            low > 0              high < 0
    at least as good as    low > -margin        high < -margin
    as good as             within the margins   outside the margins
    not better than        high < margin        low > margin
    =====================  ===================  ===================
    """
    if np.isnan(low) or np.isnan(high):
        return "undecided"
    confirmed, refuted = {
        "better than": (low > 0, high < 0),
        "at least as good as": (low > -margin, high < -margin),
        "as good as": (low > -margin and high < margin, low > margin or high < -margin),
        "not better than": (high < margin, low > margin),
    }[relation]
    return "confirmed" if confirmed else "refuted" if refuted else "undecided"


def compared(
    claim: Claim,
    blocks: Blocks,
    a: str,
    b: str,
    where: BoolArray | None = None,
    values: FloatArray | None = None,
) -> ClaimResult:
    """The result of a claim about two methods of a table.

    Args:
        where: ``(n_blocks,)``, mask of the blocks to compare; None for all.
        values: ``(n_methods, n_blocks)``, the hypervolumes to compare; None for the final hypervolumes.
    """
    if a not in blocks.names or b not in blocks.names:
        return not_run(claim)
    table = blocks.final if values is None else values
    chosen = np.ones(len(blocks.scenarios), dtype=np.bool_) if where is None else where
    first, second = (table[blocks.names.index(name), chosen] for name in (a, b))
    return judged(claim, first, second, blocks.scenarios[chosen].astype(str), HYPERVOLUME_MARGIN)


def pruned(claim: Claim, table: pd.DataFrame, a: str, b: str, aggregate: Literal["first", "mean"]) -> ClaimResult:
    """The result of a claim about relative test metrics, at the thresholds that both algorithms reach in a block.

    Args:
        table: relative test metrics; index ``scenario, seed, threshold``, one column for each algorithm.
        aggregate: ``first`` compares at the lowest threshold, ``mean`` compares means over the thresholds.
    """
    if a not in table or b not in table:
        return not_run(claim)
    both = table[[a, b]].dropna().sort_index().groupby(level=["scenario", "seed"]).agg(aggregate)
    scenarios = both.index.get_level_values("scenario").to_numpy(dtype=str)
    return judged(claim, both[a].to_numpy(), both[b].to_numpy(), scenarios, RELATIVE_MARGIN)


def judged(
    claim: Claim,
    first: FloatArray,
    second: FloatArray,
    scenarios: np.ndarray[tuple[int], np.dtype[np.str_]],
    margin: float,
) -> ClaimResult:
    """The result of a claim about two paired values in each block.

    Args:
        first: ``(n,)``, larger is better, NaN = missing.
        second: like ``first``.
        scenarios: ``(n,)``.
    """
    result = compare(first, second, scenarios)
    if result.n == 0:
        return not_run(claim)
    low, high = (result.task_low, result.task_high) if claim.is_general else (result.low, result.high)
    return ClaimResult(
        claim=claim,
        verdict=judge(claim.relation, low, high, margin),
        difference=result.difference,
        low=result.low,
        high=result.high,
        task_low=result.task_low,
        task_high=result.task_high,
        n=result.n,
        n_tasks=result.n_tasks,
    )


def not_run(claim: Claim) -> ClaimResult:
    """The result of a claim without runs."""
    return ClaimResult(claim, "not run", np.nan, np.nan, np.nan, np.nan, np.nan, 0, 0)


def contrasted(
    claim: Claim,
    values: FloatArray,
    scenarios: np.ndarray[tuple[int], np.dtype[np.str_]],
    is_first: BoolArray,
    margin: float,
) -> ClaimResult:
    """The result of a claim about one quantity on two groups of tasks.

    The interval on tasks like these is Welch's, over the means of the tasks. The interval on these tasks adds the half
    widths of both groups in squares.

    Args:
        values: ``(n,)``, no NaN; one value for each block.
        scenarios: ``(n,)``.
        is_first: ``(n,)``, whether the block's task belongs to the first group.
    """
    groups = [(values[chosen], scenarios[chosen]) for chosen in (is_first, ~is_first)]
    if not all(len(group) for group, _ in groups):
        return not_run(claim)
    first, second = (interval_on_these_tasks(*group, tasks_alike=True) for group in groups)
    by_task = [task_means(*group) for group in groups]
    difference = float(by_task[0].mean() - by_task[1].mean())
    half = float(np.hypot(first.high - first.mean, second.high - second.mean))
    task_low = task_high = np.nan
    if min(map(len, by_task)) >= MIN_TASKS:
        limits = stats.ttest_ind(*by_task, equal_var=False).confidence_interval(COVERAGE)
        task_low, task_high = float(limits.low), float(limits.high)
    return ClaimResult(
        claim=claim,
        verdict=judge(claim.relation, task_low, task_high, margin),
        difference=difference,
        low=difference - half,
        high=difference + half,
        task_low=task_low,
        task_high=task_high,
        n=len(values),
        n_tasks=sum(map(len, by_task)),
    )
