"""Pareto fronts of single runs: what figures 9 and 10 and the picture of one front have in common."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.experiments.selection import five_methods
from nasbench.analysis.figures import style
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring.relative_performance import unpruned_metric
from nasbench.arrays import BoolArray

CROWDED = 25
"""Points of a front above which its markers are drawn smaller."""


def front_mask(evaluations: pd.DataFrame) -> BoolArray:
    """Which evaluations are on the validation Pareto front of their run, ``(n,)``; of equal ones the first.

    All runs at once: sorted by parameters, a point is on the front if its error is below every one before it.

    Args:
        evaluations: columns ``run_row, index, params, error``; rows without an error are never on a front.
    """
    points = evaluations[["run_row", "params", "error", "index"]].reset_index(drop=True)
    points = points[points["error"].notna()].sort_values(["run_row", "params", "error", "index"])
    best_before = points.groupby("run_row")["error"].cummin().groupby(points["run_row"]).shift(fill_value=np.inf)
    mask = np.zeros(len(evaluations), dtype=np.bool_)
    mask[points.index[points["error"] < best_before]] = True
    return mask


def single_runs(results: Results, keep: BoolArray, what: str) -> pd.DataFrame:
    """The fronts of one run of each of the five methods in each scenario, with their test errors.

    The runs of a scenario share a seed: the first of those for which most methods have a run. The front is that of the
    validation errors; its test errors are shown, so it need not fall everywhere.

    Args:
        keep: ``(n_runs,)``, further restriction of the runs.
        what: for the message.

    Returns:
        One row a sub-network: ``scenario, task, model, device_class, algorithm, seed, params, test_error, unpruned``;
        unpruned is the test error of the full network.

    Raises:
        MissingRuns: if there is none.
    """
    ended = (results.runs["status"] != "running").to_numpy(dtype=np.bool_)
    chosen = results.select(ended & five_methods(results.runs) & keep)
    counts = (
        chosen.runs.groupby(["scenario", "seed"])
        .size()
        .reset_index(name="n")
        .sort_values(["n", "seed"], ascending=[False, True])
    )
    seeds = counts.drop_duplicates("scenario").set_index("scenario")["seed"]
    chosen = chosen.select(chosen.runs["seed"].to_numpy() == chosen.runs["scenario"].map(seeds).to_numpy())
    unpruned = pd.Series(1.0 - unpruned_metric(chosen)).groupby(chosen.runs["scenario"].to_numpy()).mean()
    points = chosen.evaluations[front_mask(chosen.evaluations) & chosen.evaluations["test_error"].notna().to_numpy()]
    if points.empty:
        raise MissingRuns(what, "fig8")
    columns = ["scenario", "task", "model", "device_class", "algorithm", "seed", "params", "test_error"]
    found = points[columns].astype(dict.fromkeys(columns[:5], str))
    found["unpruned"] = found["scenario"].map(unpruned)
    return found.sort_values(["scenario", "algorithm", "params"], ignore_index=True)


def draw_fronts(ax: Axes, data: pd.DataFrame) -> None:
    """The fronts of one scenario and its unpruned network."""
    for algorithm, points in data.groupby("algorithm"):
        look = style.look(str(algorithm))
        (line,) = ax.plot(points["params"], points["test_error"], label=look.name, **look.line)
        if len(points) > CROWDED:
            line.set(markersize=2.5, markeredgewidth=0.3)
    unpruned = data["unpruned"].iloc[0]
    if not np.isnan(unpruned):
        ax.axhline(unpruned, color=style.GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.9)
        ax.plot(
            1,
            unpruned,
            "*",
            color=style.INK,
            markersize=9,
            markeredgecolor="white",
            label="unpruned",
            zorder=5,
            clip_on=False,
        )
    # The embeddings alone are a quarter of BERT-base and half of a small model: no front goes further left.
    left = np.floor(20 * data["params"].min() - 0.5) / 20
    ax.set(xlim=(left, 1.03))
    ax.xaxis.set_major_locator(MultipleLocator(0.2 if left < 0.4 else 0.1))


def draw(data: pd.DataFrame) -> Figure:
    """A panel a task and model, a line a method, a star for the unpruned network."""
    titles = style.panel_titles(data)
    with style.applied():
        figure, axes = style.panels(len(titles))
        for ax, (scenario, title) in zip(axes, titles.items(), strict=True):
            draw_fronts(ax, data[data["scenario"] == scenario])
            style.set_title(ax, title)
        style.label_bottom(axes, "parameters / full")
        figure.supylabel("test error", fontsize=7.5)
        style.legend_below(figure, axes, columns=6)
    return figure
