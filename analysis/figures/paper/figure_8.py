"""Figure 8: test metric against the fraction of parameters pruned, five methods (section 4.2)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.experiments.selection import five_methods
from nasbench.analysis.figures import style
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring.intervals import interval_on_these_tasks
from nasbench.analysis.scoring.relative_performance import relative_performance

TITLE = "Test metric against parameters pruned"
GUIDES = (1.0, 0.95, 0.9)
"""Horizontal lines at these fractions of the full network's test metric."""


def data(results: Results) -> pd.DataFrame:
    """Mean test metric of each algorithm in each scenario, at each threshold on the fraction of parameters.

    Returns:
        One row for each scenario, algorithm and threshold that a run reaches: ``scenario, task, model, device_class,
        metric, algorithm, threshold, test_metric, low, high, n, full_metric``. ``n`` counts the runs with a network
        of at most that size. ``low`` and ``high`` bound the 95 % interval of the mean and are NaN for fewer than three
        runs. ``full_metric`` is the full network's test metric.

    Raises:
        MissingRuns: if no run of the five methods has a test metric.
    """
    finished = results.finished()
    chosen = finished.select(five_methods(finished.runs))
    picked = relative_performance(chosen)
    for name in ("device_class", "metric"):
        picked[name] = chosen.runs[name].to_numpy()[picked["run_row"].to_numpy()]
    rows = []
    keys = ["scenario", "task", "model", "device_class", "metric", "algorithm", "threshold"]
    for key, part in picked.dropna(subset="test_metric").groupby(keys, observed=True):
        values = part["test_metric"].to_numpy()
        mean, low, high = interval_on_these_tasks(values, np.zeros(len(values)))
        full_metric = part["full_metric"].mean()
        found = {"test_metric": mean, "low": low, "high": high, "n": len(part), "full_metric": full_metric}
        rows.append(dict(zip(keys, key, strict=True)) | found)
    if not rows:
        raise MissingRuns("figure 8", "fig8")
    return pd.DataFrame(rows)


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each scenario, one line for each algorithm; dashed: 100, 95 and 90 % of the full network."""
    titles = style.panel_titles(data)
    with style.applied():
        figure, axes = style.panels(len(titles))
        for ax, (scenario, title) in zip(axes, titles.items(), strict=True):
            part = data[data["scenario"] == scenario]
            for algorithm, line in part.groupby("algorithm"):
                look, pruned = style.look(str(algorithm)), 100 * (1 - line["threshold"].to_numpy())
                ax.fill_between(pruned, line["low"], line["high"], color=look.colour, alpha=0.13, linewidth=0)
                ax.plot(pruned, line["test_metric"], label=look.name, **look.line)
            full_metric = part["full_metric"].mean()
            for guide in GUIDES if full_metric > 0 else ():
                ax.axhline(guide * full_metric, color=style.GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.9)
                ax.annotate(
                    f"{100 * guide:.0f} %",
                    (1, guide * full_metric),
                    (-1, 1),
                    xycoords=("axes fraction", "data"),
                    textcoords="offset points",
                    ha="right",
                    fontsize=5.5,
                    color=style.GREY,
                )
            style.set_title(ax, title)
            ax.set(ylabel=style.text(str(part["metric"].iloc[0])), xlim=(5, 85), xticks=[10, 30, 50, 70])
        style.label_bottom(axes, "parameters pruned (%)")
        style.legend_below(figure, axes)
    return figure
