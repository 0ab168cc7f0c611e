"""The validation Pareto fronts of many runs at once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nasbench.analysis.reading.objectives import USUAL, columns, of_rows
from nasbench.arrays import BoolArray
from nasbench.search.pareto import pareto_mask


def front_mask(evaluations: pd.DataFrame) -> BoolArray:
    """Mask of the evaluations on the validation Pareto front of their run, ``(n,)``; of equal points the first.

    The function handles all runs with error and parameters at once: sorted by parameters, a point is on the front if
    its error is lower than the error of every point before it. Runs with other objectives follow one by one.

    Args:
        evaluations: columns ``run_row, index, params, error``; with other objectives, ``objectives`` and their columns.
            Rows without an error are never on a front.
    """
    names = of_rows(evaluations).to_numpy(dtype=object)
    is_usual = np.asarray(names == USUAL, dtype=np.bool_)
    mask = np.zeros(len(evaluations), dtype=np.bool_)
    mask[is_usual] = _usual_fronts(evaluations[is_usual])
    others = evaluations[~is_usual].reset_index(drop=True)
    places = np.flatnonzero(~is_usual)
    for of_run in others.groupby("run_row").indices.values():
        rows = np.asarray(of_run)[np.argsort(others["index"].to_numpy()[of_run], kind="stable")]
        values = others[columns(str(names[places[rows[0]]]))].to_numpy(dtype=np.float64)[rows]
        _, first = np.unique(values, axis=0, return_index=True)
        mask[places[rows[np.intersect1d(np.flatnonzero(pareto_mask(values)), first)]]] = True
    return mask


def _usual_fronts(evaluations: pd.DataFrame) -> BoolArray:
    points = evaluations[["run_row", "params", "error", "index"]].reset_index(drop=True)
    points = points[points["error"].notna()].sort_values(["run_row", "params", "error", "index"])
    best_before = points.groupby("run_row")["error"].cummin().groupby(points["run_row"]).shift(fill_value=np.inf)
    mask = np.zeros(len(evaluations), dtype=np.bool_)
    mask[points.index[points["error"] < best_before]] = True
    return mask
