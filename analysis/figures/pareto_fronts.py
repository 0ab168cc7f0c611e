"""Pareto fronts of single runs; used by figures 9 and 10 and by ``method_fronts``."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.experiments.selection import compared_entries
from nasbench.analysis.figures import style
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring.fronts import front_mask
from nasbench.analysis.scoring.relative_performance import full_metric
from nasbench.arrays import BoolArray

CROWDED = 25
"""Fronts with more points than this have smaller markers."""


def single_runs(results: Results, keep: BoolArray, figure: str) -> pd.DataFrame:
    """The Pareto front of one run of each of the compared entries in each scenario, with test errors.

    They are the five methods, and on language modelling
    :data:`~nasbench.analysis.experiments.definitions.DECODER_ENTRIES`.

    The runs of a scenario share a seed: the lowest of the seeds for which most methods have a run. Validation errors
    decide which networks are on the front. The figures show their test errors, so a drawn front may rise in places.

    Args:
        keep: ``(n_runs,)``, mask of the runs to choose from.
        figure: name of the figure, for the error message.

    Returns:
        One row for each sub-network: ``scenario, task, model, device_class, algorithm, seed, params, test_error,
        full_error``; ``full_error`` is the test error of the full network.

    Raises:
        MissingRuns: if no chosen run has a test error.
    """
    ended = (results.runs["status"] != "running").to_numpy(dtype=np.bool_)
    chosen = results.select(ended & compared_entries(results.runs) & keep)
    counts = (
        chosen.runs.groupby(["scenario", "seed"])
        .size()
        .reset_index(name="n")
        .sort_values(["n", "seed"], ascending=[False, True])
    )
    seeds = counts.drop_duplicates("scenario").set_index("scenario")["seed"]
    chosen = chosen.select(chosen.runs["seed"].to_numpy() == chosen.runs["scenario"].map(seeds).to_numpy())
    full_errors = pd.Series(1.0 - full_metric(chosen)).groupby(chosen.runs["scenario"].to_numpy()).mean()
    points = chosen.evaluations[front_mask(chosen.evaluations) & chosen.evaluations["test_error"].notna().to_numpy()]
    if points.empty:
        raise MissingRuns(figure, "fig8")
    columns = ["scenario", "task", "model", "device_class", "algorithm", "seed", "params", "test_error"]
    found = points[columns].astype(dict.fromkeys(columns[:5], str))
    found["full_error"] = found["scenario"].map(full_errors)
    return found.sort_values(["scenario", "algorithm", "params"], ignore_index=True)


def draw_fronts(ax: Axes, data: pd.DataFrame) -> None:
    """Draw the fronts of one scenario and its full network into a panel."""
    for algorithm, points in data.groupby("algorithm"):
        look = style.look(str(algorithm))
        (line,) = ax.plot(points["params"], points["test_error"], label=look.name, **look.line)
        if len(points) > CROWDED:
            line.set(markersize=2.5, markeredgewidth=0.3)
    full_error = data["full_error"].iloc[0]
    if not np.isnan(full_error):
        ax.axhline(full_error, color=style.GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.9)
        ax.plot(
            1,
            full_error,
            "*",
            color=style.INK,
            markersize=9,
            markeredgecolor="white",
            label="full network",
            zorder=5,
            clip_on=False,
        )
    # No front goes further left than the embeddings: a quarter of BERT-base, half of a small model.
    left = np.floor(20 * data["params"].min() - 0.5) / 20
    ax.set(xlim=(left, 1.03))
    ax.xaxis.set_major_locator(MultipleLocator(0.2 if left < 0.4 else 0.1))


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each scenario, one line for each method, and a star for the full network."""
    titles = style.panel_titles(data)
    with style.applied():
        figure, axes = style.panels(len(titles))
        for ax, (scenario, title) in zip(axes, titles.items(), strict=True):
            draw_fronts(ax, data[data["scenario"] == scenario])
            style.set_title(ax, title)
        style.label_bottom(axes, "parameters (fraction)")
        figure.supylabel("test error", fontsize=7.5)
        style.legend_below(figure, axes, columns=6)
    return figure
