"""The validation Pareto fronts of many runs at once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nasbench.arrays import BoolArray


def front_mask(evaluations: pd.DataFrame) -> BoolArray:
    """Mask of the evaluations on the validation Pareto front of their run, ``(n,)``; of equal points the first.

    The function handles all runs at once: sorted by parameters, a point is on the front if its error is lower than the
    error of every point before it.

    Args:
        evaluations: columns ``run_row, index, params, error``. Rows without an error are never on a front.
    """
    points = evaluations[["run_row", "params", "error", "index"]].reset_index(drop=True)
    points = points[points["error"].notna()].sort_values(["run_row", "params", "error", "index"])
    best_before = points.groupby("run_row")["error"].cummin().groupby(points["run_row"]).shift(fill_value=np.inf)
    mask = np.zeros(len(evaluations), dtype=np.bool_)
    mask[points.index[points["error"] < best_before]] = True
    return mask
