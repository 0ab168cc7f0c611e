"""Do entries differ, and by how much? Paired comparisons and critical differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from nasbench.analysis.scoring.intervals import (
    interval_on_tasks_like_these,
    interval_on_these_tasks,
    task_means,
    tasks_of,
)
from nasbench.analysis.scoring.ranks import block_ranks
from nasbench.analysis.scoring.scores import Blocks
from nasbench.arrays import FloatArray

ALPHA = 0.05
_DIGITS = 9
"""Decimal places that count: the last bits of a value differ between machines."""


@dataclass(frozen=True)
class Comparison:
    """Entry a against entry b.

    Attributes:
        n: number of blocks that both entries have.
        n_unpaired: number of blocks that only one of them has.
        n_tasks: number of tasks of the shared blocks.
        difference: mean of a - b, every task with the same weight.
        low: lower end of the 95 % interval of the difference on these tasks, see
            :func:`nasbench.analysis.scoring.intervals.interval_on_these_tasks`.
        high: its upper end.
        task_low: lower end of the 95 % interval of the difference on tasks like these, see
            :func:`nasbench.analysis.scoring.intervals.interval_on_tasks_like_these`.
        task_high: its upper end.
        rank_biserial: (sum of the ranks of positive differences - sum of the ranks of negative differences) / sum of
            all these ranks, over the differences of the task means; between -1 and 1; 0 if all differences are 0 (Kerby
            2014).
        p: two-sided p-value of Wilcoxon's signed-rank test on the task means. Seeds of one task are no independent data
            sets, so they do not count as such. NaN without pairs.
    """

    n: int
    n_unpaired: int
    n_tasks: int
    difference: float
    low: float
    high: float
    task_low: float
    task_high: float
    rank_biserial: float
    p: float


@dataclass(frozen=True)
class CriticalDifference:
    """Average ranks and their critical difference (Demsar 2006, JMLR 7:1-30).

    Attributes:
        names: the entries, best first.
        ranks: ``(n_entries,)``, average over tasks, 1 = best.
        difference: the critical difference. Two average ranks that differ by more are significantly different at 5 %
            (Nemenyi's test).
        p: p-value of Friedman's test that all entries are equal; NaN for fewer than three entries or two tasks.
        groups: the largest groups of neighbours in ``names`` that do not differ significantly, each as its first and
            last place.
        n: number of tasks compared on; a scenario counts if all entries have a seed in common there, and a task if it
            has such a scenario.
        n_incomplete: number of tasks left out because they have none.
    """

    names: tuple[str, ...]
    ranks: FloatArray
    difference: float
    p: float
    groups: tuple[tuple[int, int], ...]
    n: int
    n_incomplete: int


def compare(a: npt.ArrayLike, b: npt.ArrayLike, scenarios: npt.ArrayLike) -> Comparison:
    """Compare two entries, paired over blocks.

    Args:
        a: ``(n_blocks,)``, larger is better, NaN = missing.
        b: like ``a``.
        scenarios: ``(n_blocks,)``, the scenario of each block.

    Raises:
        ValueError: if the shapes differ.
    """
    first, second, strata = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64), np.asarray(scenarios)
    if not first.shape == second.shape == strata.shape:
        raise ValueError(f"a {first.shape}, b {second.shape} and scenarios {strata.shape} must have one shape")
    paired = ~np.isnan(first) & ~np.isnan(second)
    n_unpaired = int((np.isnan(first) != np.isnan(second)).sum())
    differences = np.round(first - second, _DIGITS)[paired]
    mean, low, high = interval_on_these_tasks(differences, strata[paired], tasks_alike=True)
    _, task_low, task_high = interval_on_tasks_like_these(differences, strata[paired])
    by_task = np.round(task_means(differences, strata[paired]), _DIGITS)
    rank_biserial, p = _signed_ranks(by_task)
    return Comparison(
        n=len(differences),
        n_unpaired=n_unpaired,
        n_tasks=len(by_task),
        difference=mean,
        low=low,
        high=high,
        task_low=task_low,
        task_high=task_high,
        rank_biserial=rank_biserial,
        p=p,
    )


def _signed_ranks(differences: FloatArray) -> tuple[float, float]:
    """The rank-biserial correlation and the p-value of Wilcoxon's signed-rank test; NaN without differences."""
    if len(differences) == 0:
        return np.nan, np.nan
    if not differences.any():
        return 0.0, 1.0
    ranks = stats.rankdata(np.abs(differences[differences != 0]))
    signs = np.sign(differences[differences != 0])
    p = float(stats.wilcoxon(differences, zero_method="wilcox").pvalue)
    return float((ranks * signs).sum() / ranks.sum()), p


def compare_all(blocks: Blocks) -> pd.DataFrame:
    """Compare the final values of every pair of entries, with Holm's correction for the number of pairs.

    Returns:
        One row per pair: ``a``, ``b``, the fields of :class:`Comparison`, and ``p_holm``.
    """
    final = blocks.final
    rows = []
    for i, j in combinations(range(len(blocks.names)), 2):
        result = compare(final[i], final[j], blocks.scenarios)
        rows.append({"a": blocks.names[i], "b": blocks.names[j], **vars(result)})
    columns = ["a", "b", *Comparison.__dataclass_fields__]
    frame = pd.DataFrame(rows, columns=columns)
    frame["p_holm"] = holm(frame["p"].to_numpy(dtype=np.float64))
    return frame


def holm(p: npt.ArrayLike) -> FloatArray:
    """P-values corrected for the number of tests (Holm 1979). NaN stays NaN and does not count as a test.

    Args:
        p: ``(n,)``.
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    corrected = np.full(values.shape, np.nan)
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected


def critical_difference(blocks: Blocks) -> CriticalDifference:
    """Average ranks of the entries over tasks, with Friedman's test and Nemenyi's critical difference.

    The unit of both tests is the task (Demsar's data set). In each scenario, an entry's values are averaged over the
    seeds that all entries have, and in each task over its scenarios: two models of one task are not independent.
    """
    final, m = blocks.final, len(blocks.names)
    complete = ~np.isnan(final).any(axis=0)
    scenarios = blocks.scenarios.astype(str)
    n_tasks, n = (len(np.unique(tasks_of(names))) for names in (scenarios, scenarios[complete]))
    values = np.array([task_means(row, scenarios[complete]) for row in final[:, complete]]).reshape(m, n)
    average = block_ranks(values).mean(axis=1) if n and m > 1 else np.full(m, np.nan)
    order = np.lexsort((np.array(blocks.names), np.round(average, _DIGITS)))
    ranks = average[order]
    difference = np.nan
    if n and m > 1:
        # Nemenyi's test uses the studentised range with infinitely many degrees of freedom.
        q = float(stats.studentized_range.ppf(1 - ALPHA, m, np.inf)) / np.sqrt(2)
        difference = float(q * np.sqrt(m * (m + 1) / (6 * n)))
    p = np.nan
    if n > 1 and m > 2:
        rounded = np.round(values, _DIGITS)
        all_tied = (rounded == rounded[0]).all()
        p = 1.0 if all_tied else float(stats.friedmanchisquare(*rounded).pvalue)
    return CriticalDifference(
        names=tuple(blocks.names[i] for i in order),
        ranks=ranks,
        difference=difference,
        p=p,
        groups=_groups(ranks, difference),
        n=n,
        n_incomplete=n_tasks - n,
    )


def _groups(ranks: Sequence[float] | FloatArray, difference: float) -> tuple[tuple[int, int], ...]:
    """Largest groups of at least two neighbouring ranks that differ by no more than ``difference``; ranks ascend."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = first
        while last + 1 < len(ranks) and ranks[last + 1] - ranks[first] <= difference:
            last += 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)
