"""Hypervolumes computed again from raw records, with numpy and pandas and without any code of the suite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


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
