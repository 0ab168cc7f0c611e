"""Pareto fronts of the five methods in one scenario, with the full network."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.selection import five_methods
from nasbench.analysis.figures import pareto_fronts, style
from nasbench.analysis.reading.results import Results

TITLE = "Five methods on one task"


def data(results: Results, scenario: str | None = None) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.figures.pareto_fronts.single_runs` for one scenario.

    Args:
        scenario: ``task/model/device_class``; None for the scenario in which most of the five methods have a run (the
            first in alphabetical order if several do).

    Raises:
        MissingRuns: if no run can be shown.
    """
    keep = five_methods(results.runs) if scenario is None else (results.runs["scenario"] == scenario).to_numpy(np.bool_)
    found = pareto_fronts.single_runs(
        results, keep, "the figure of fronts" if scenario is None else f"scenario {scenario!r}"
    )
    n_methods = found.groupby("scenario")["algorithm"].nunique()
    best: str = min(n_methods.index[n_methods == n_methods.max()])
    chosen: pd.DataFrame = found[found["scenario"] == best].reset_index(drop=True)
    return chosen


def draw(data: pd.DataFrame) -> Figure:
    """Draw the fronts in one panel."""
    title = next(iter(style.panel_titles(data).values()))
    with style.applied():
        figure = style.new_figure(4.6, 3.4)
        ax = figure.add_subplot()
        pareto_fronts.draw_fronts(ax, data)
        style.set_title(ax, title)
        ax.set(xlabel="parameters, fraction of the full network", ylabel="test error")
        style.legend_below(figure, [ax], columns=3)
    return figure
