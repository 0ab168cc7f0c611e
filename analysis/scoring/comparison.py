"""Are two methods different, and by how much? Paired comparisons and critical differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from nasbench.analysis.scoring.intervals import mean_interval
from nasbench.analysis.scoring.ranks import block_ranks
from nasbench.analysis.scoring.scores import Blocks
from nasbench.arrays import FloatArray

ALPHA = 0.05
_DIGITS = 9
"""Differences below are none: the last bits of a value differ between machines."""


@dataclass(frozen=True)
class Comparison:
    """Method a against method b over the blocks that both have.

    Attributes:
        n: number of such blocks; n_unpaired: blocks that only one of them has.
        difference: mean of a - b, every scenario with the same weight; low, high: its 95 % interval, see
            :func:`nasbench.analysis.scoring.intervals.mean_interval`; NaN for fewer than three blocks.
        rank_biserial: (sum of ranks of the positive differences - sum of the negative ones') / sum of both, between -1
            and 1; 0 where all differences are 0 (Kerby 2014).
        p: of Wilcoxon's signed-rank test, two-sided; NaN without pairs.
    """

    n: int
    n_unpaired: int
    difference: float
    low: float
    high: float
    rank_biserial: float
    p: float


@dataclass(frozen=True)
class CriticalDifference:
    """Average ranks with the difference that counts (Demsar 2006, JMLR 7:1-30).

    Attributes:
        names: best first.
        ranks: ``(n_methods,)``, average over data sets, 1 = best.
        difference: of two average ranks, significant at 5 % if larger (Nemenyi).
        p: of Friedman's test that all methods are equal; NaN for fewer than three methods.
        groups: first and last place in ``names`` of maximal runs of methods that do not differ significantly.
        n: data sets compared on; those without every method are left out.
        n_incomplete: how many these were.
    """

    names: tuple[str, ...]
    ranks: FloatArray
    difference: float
    p: float
    groups: tuple[tuple[int, int], ...]
    n: int
    n_incomplete: int


def compare(a: npt.ArrayLike, b: npt.ArrayLike, scenarios: npt.ArrayLike) -> Comparison:
    """Compare two methods, paired over blocks.

    Args:
        a: ``(n_blocks,)``, larger is better, NaN = missing.
        b: like ``a``.
        scenarios: ``(n_blocks,)``, the scenario of each block.
    """
    first, second, strata = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64), np.asarray(scenarios)
    if not first.shape == second.shape == strata.shape:
        raise ValueError(f"a {first.shape}, b {second.shape} and scenarios {strata.shape} must have one shape")
    paired = ~np.isnan(first) & ~np.isnan(second)
    n_unpaired = int((np.isnan(first) != np.isnan(second)).sum())
    differences = np.round(first - second, _DIGITS)[paired]
    mean, low, high = mean_interval(differences, strata[paired])
    n = len(differences)
    if n == 0:
        return Comparison(0, n_unpaired, mean, low, high, np.nan, np.nan)
    if not differences.any():
        return Comparison(n, n_unpaired, mean, low, high, 0.0, 1.0)
    ranks = stats.rankdata(np.abs(differences[differences != 0]))
    signs = np.sign(differences[differences != 0])
    rank_biserial = float((ranks * signs).sum() / ranks.sum())
    p = float(stats.wilcoxon(differences, zero_method="wilcox").pvalue)
    return Comparison(n, n_unpaired, mean, low, high, rank_biserial, p)


def compare_all(blocks: Blocks) -> pd.DataFrame:
    """Every pair of methods by their final values, with Holm's correction for the number of pairs.

    Returns:
        One row a pair: ``a, b, n, n_unpaired, difference, low, high, rank_biserial, p, p_holm``.
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
    """P-values corrected for their number (Holm 1979); NaN stays NaN and does not count.

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
    """Average ranks of the methods over scenarios, with Friedman's test and Nemenyi's critical difference.

    Data sets, here scenarios, are the unit of these tests: values are averaged over the seeds for which every method has
    one.
    """
    final, m = blocks.final, len(blocks.names)
    complete = ~np.isnan(final).any(axis=0)
    scenarios = np.unique(blocks.scenarios.astype(str))
    names = blocks.scenarios.astype(str)
    means = [
        final[:, complete & (names == scenario)].mean(axis=1)
        for scenario in scenarios
        if (complete & (names == scenario)).any()
    ]
    values = np.array(means).reshape(len(means), m).T
    n = values.shape[1]
    average = block_ranks(values).mean(axis=1) if n and m > 1 else np.full(m, np.nan)
    order = np.lexsort((np.array(blocks.names), np.round(average, _DIGITS)))
    ranks = average[order]
    difference = np.nan
    if n and m > 1:
        # The studentised range for infinitely many degrees of freedom.
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
        n_incomplete=len(scenarios) - n,
    )


def _groups(ranks: Sequence[float] | FloatArray, difference: float) -> tuple[tuple[int, int], ...]:
    """Maximal runs of at least two ascending ranks whose ends differ by no more than ``difference``."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = first
        while last + 1 < len(ranks) and ranks[last + 1] - ranks[first] <= difference:
            last += 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)
