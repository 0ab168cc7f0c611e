"""Figure 8: test metric against the fraction of parameters pruned, five methods (section 4.2).

Language modelling, which is not in the paper, has entries of its own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.experiments.selection import compared_entries
from nasbench.analysis.figures import style
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring.intervals import interval_on_these_tasks
from nasbench.analysis.scoring.relative_performance import prunable_parameters, relative_performance

TITLE = "Test metric against parameters pruned"
GUIDES = (1.0, 0.95, 0.9)
"""Horizontal lines at these fractions of the full network's test metric."""
_TICKS = (10, 30, 50, 70)
_LEAST_DISTANCE = 0.1
"""Least distance of two labels of guides, as a fraction of a panel's height."""


def data(results: Results) -> pd.DataFrame:
    """Mean test metric of each algorithm in each scenario, at each threshold on the fraction of parameters.

    Returns:
        One row for each scenario, algorithm and threshold that a run reaches: ``scenario, task, model, device_class,
        metric, algorithm, threshold, test_metric, low, high, n, full_metric, prunable``. ``n`` counts the runs with a
        network of at most that size. ``low`` and ``high`` bound the 95 % interval of the mean and are NaN for fewer
        than three runs. ``full_metric`` is the full network's test metric. ``prunable`` is the fraction of its
        parameters that can be pruned, those of the layers.

    Raises:
        MissingRuns: if no run of the compared entries has a test metric.
    """
    finished = results.finished()
    chosen = finished.select(compared_entries(finished.runs))
    picked = relative_performance(chosen)
    for name in ("device_class", "metric"):
        picked[name] = chosen.runs[name].to_numpy()[picked["run_row"].to_numpy()]
    picked["prunable"] = prunable_parameters(chosen)[picked["run_row"].to_numpy()]
    rows = []
    keys = ["scenario", "task", "model", "device_class", "metric", "algorithm", "threshold"]
    for key, part in picked.dropna(subset="test_metric").groupby(keys, observed=True):
        values = part["test_metric"].to_numpy()
        mean, low, high = interval_on_these_tasks(values, np.zeros(len(values)))
        full_metric = part["full_metric"].mean()
        found = {"test_metric": mean, "low": low, "high": high, "n": len(part), "full_metric": full_metric}
        found["prunable"] = part["prunable"].mean()
        rows.append(dict(zip(keys, key, strict=True)) | found)
    if not rows:
        raise MissingRuns("figure 8", "fig8")
    return pd.DataFrame(rows)


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each scenario, one line for each algorithm; dashed: 100, 95 and 90 % of the full network.

    Below each percentage of all parameters stands the percentage of those that can be pruned.
    """
    titles = style.panel_titles(data)
    with style.applied():
        figure, axes = style.panels(len(titles), height_in=1.8)
        for ax, (scenario, title) in zip(axes, titles.items(), strict=True):
            part = data[data["scenario"] == scenario]
            for algorithm, line in part.groupby("algorithm"):
                look, pruned = style.look(str(algorithm)), 100 * (1 - line["threshold"].to_numpy())
                ax.fill_between(pruned, line["low"], line["high"], color=look.colour, alpha=0.13, linewidth=0)
                ax.plot(pruned, line["test_metric"], label=look.name, **look.line)
            style.set_title(ax, title)
            prunable = part["prunable"].mean()
            ax.set(
                ylabel=style.text(str(part["metric"].iloc[0])), xlim=(5, 85 if np.isnan(prunable) else 100 * prunable)
            )
            ticks = [tick for tick in _TICKS if not tick / 100 > prunable]
            ax.set_xticks(
                ticks, [str(tick) if np.isnan(prunable) else f"{tick}\n({tick / prunable:.0f})" for tick in ticks]
            )
            _guide(ax, part["full_metric"].mean())
        style.label_bottom(axes, "parameters pruned, %\n(% of prunable ones)")
        style.legend_below(figure, axes)
    return figure


def _guide(ax: Axes, full_metric: float) -> None:
    """Draw the lines of the full network, with a label where it covers neither that of another line nor the axis."""
    if not full_metric > 0:
        return
    for guide in GUIDES:
        ax.axhline(guide * full_metric, color=style.GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.9)
    low, high = ax.get_ylim()
    high = max(high, full_metric + _LEAST_DISTANCE * (high - low))  # room for the label above the first line
    ax.set_ylim(low, high)
    last = np.inf
    for guide in GUIDES:
        height = (guide * full_metric - low) / (high - low)
        if last - height >= _LEAST_DISTANCE and height >= _LEAST_DISTANCE:
            is_first = guide == GUIDES[0]
            ax.annotate(
                f"{100 * guide:.0f} %", (1, guide * full_metric), (-1, 1 if is_first else -1),
                xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
                va="bottom" if is_first else "top", fontsize=5.5, color=style.GREY,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
            )  # fmt: skip
            last = height
