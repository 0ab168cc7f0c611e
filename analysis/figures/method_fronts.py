"""Five fronts in one picture: every method's front on one task, with the unpruned network."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.figures import pareto_fronts as fronts
from nasbench.analysis.figures import style
from nasbench.analysis.reading.results import Results

TITLE = "Five methods on one task"


def data(results: Results, scenario: str | None = None) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.figures.pareto_fronts.single_runs` for one scenario.

    Args:
        scenario: ``task/model/device_class``; None for the one that most methods have a run in, of equal ones the first.
    """
    keep = (
        np.ones(len(results.runs), dtype=np.bool_)
        if scenario is None
        else (results.runs["scenario"] == scenario).to_numpy(np.bool_)
    )
    found = fronts.single_runs(
        results, keep, "the picture of one front" if scenario is None else f"scenario {scenario!r}"
    )
    n_methods = found.groupby("scenario")["algorithm"].nunique()
    best: str = min(n_methods.index[n_methods == n_methods.max()])
    chosen: pd.DataFrame = found[found["scenario"] == best].reset_index(drop=True)
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
