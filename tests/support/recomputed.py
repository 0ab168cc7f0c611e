"""Numbers of the leaderboard computed again from raw records, with numpy, pandas and scipy, not with the suite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats


def fitted(evaluations: Sequence[pd.DataFrame]) -> dict[str, np.ndarray]:
    """Quantiles of the errors and sizes of all runs of a scenario."""
    everything = pd.concat(evaluations)
    levels = np.linspace(0, 1, min(1000, len(everything)))
    return {name: np.quantile(everything[name], levels) for name in ("error", "params")}


def level(value: float, quantiles: np.ndarray) -> float:
    """The quantile level of a value, by its definition; equal quantiles share the middle of their levels."""
    if value <= quantiles[0] or value >= quantiles[-1]:
        return float(value >= quantiles[-1] and quantiles[-1] > quantiles[0])
    n = len(quantiles) - 1
    below, equal = quantiles[quantiles < value], quantiles[quantiles == value]
    if len(equal):
        return (2 * len(below) + len(equal) - 1) / 2 / n
    left, right = below[-1], quantiles[len(below)]
    return (len(below) - 1 + (value - left) / (right - left)) / n


def area(points: list[tuple[float, float]]) -> float:
    """Hypervolume with reference (2, 2), as a sum of vertical strips."""
    total, lowest = 0.0, 2.0
    for params, error in sorted(points):
        if error < lowest:
            total += (2.0 - params) * (lowest - error)
            lowest = error
    return total


def hypervolumes(evaluations: pd.DataFrame, quantiles: dict[str, np.ndarray]) -> tuple[float, float]:
    """Test and validation hypervolume of the validation front of a run's evaluations."""
    evaluations = evaluations.sort_values(["params", "error", "index"])
    before = evaluations["error"].cummin().shift(fill_value=np.inf)
    front = evaluations[evaluations["error"] < before]
    assert front["test_error"].notna().all()
    sizes = [level(value, quantiles["params"]) for value in front["params"]]
    test = [level(value, quantiles["error"]) for value in front["test_error"]]
    validation = [level(value, quantiles["error"]) for value in front["error"]]
    return area(list(zip(sizes, test, strict=True))), area(list(zip(sizes, validation, strict=True)))


def seeds_interval(values: pd.Series) -> tuple[float, float]:
    """Welch's 95 % interval of the mean over tasks, from the seeds of each task; NaN where there is none.

    A task with one seed has the pooled variance of the others.

    Args:
        values: one value for each run, with an index level ``task``.
    """
    n = values.groupby("task").size()
    repeated = n > 1
    if len(values) < 3 or not repeated.any():
        return np.nan, np.nan
    variance, freedom = values.groupby("task").var()[repeated], n[repeated] - 1
    # The pooled variance is a weighted mean of the variances, so each of them counts once more with its weight.
    parts = variance * (1 / n[repeated] + (~repeated).sum() * freedom / freedom.sum()) / len(n) ** 2
    mean, total = values.groupby("task").mean().mean(), parts.sum()
    half = stats.t.ppf(0.975, total**2 / (parts**2 / freedom).sum()) * np.sqrt(total) if total else 0.0
    return mean - half, mean + half


def tasks_interval(values: pd.Series) -> tuple[float, float]:
    """Student's 95 % interval over the means of the tasks, NaN for fewer than three; ``values`` as above."""
    means = values.groupby("task").mean()
    return tuple(stats.ttest_1samp(means, 0.0).confidence_interval()) if len(means) > 2 else (np.nan, np.nan)


def best_within(evaluations: pd.DataFrame, n_full: int, n_fixed: int, limit: float) -> float:
    """Test metric of the network with the lowest validation error under a limit on what can be pruned; NaN for none."""
    prunable = (evaluations["n_params"] - n_fixed) / (n_full - n_fixed)
    within = evaluations[(prunable <= limit) & evaluations["error"].notna()]
    best = within.sort_values(["error", "n_params", "index"]).head(1)
    return 1 - best["test_error"].item() if len(best) else np.nan
