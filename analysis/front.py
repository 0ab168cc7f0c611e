"""Five fronts in one picture: every method's front on one task, with the unpruned network."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import fronts, style
from .frame import Results

TITLE = "Five methods on one task"


def data(results: Results, cell: str | None = None) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.fronts.single_runs` for one cell.

    Args:
        cell: ``task/model/device_class``; None for the one that most methods have a run in, of equal ones the first.
    """
    keep = (
        np.ones(len(results.runs), dtype=np.bool_)
        if cell is None
        else (results.runs["cell"] == cell).to_numpy(np.bool_)
    )
    found = fronts.single_runs(results, keep, "the picture of one front" if cell is None else f"cell {cell!r}")
    n_methods = found.groupby("cell")["label"].nunique()
    best: str = min(n_methods.index[n_methods == n_methods.max()])
    chosen: pd.DataFrame = found[found["cell"] == best].reset_index(drop=True)
    return chosen


def draw(data: pd.DataFrame) -> Figure:
    """One panel."""
    title = next(iter(style.panel_titles(data).values()))
    with style.applied():
        figure = style.new_figure(4.6, 3.4)
        ax = figure.add_subplot()
        fronts.draw_fronts(ax, data)
        style.set_title(ax, title)
        ax.set(xlabel="parameters, fraction of the full network", ylabel="test error")
        style.legend_below(figure, [ax], columns=3)
    return figure
