"""Errors read off a super-network against errors after fine-tuning alone, for networks of LAYER; not in the paper."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments import prediction
from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures import style
from nasbench.analysis.reading.results import Results

_SHOWN = {"tau": "τ", "tau within bins": "within bins τ"}
TITLE = "Do shared weights predict the error after fine-tuning alone?"


def data(results: Results) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.experiments.prediction.pairs`.

    Raises:
        MissingRuns: if no block has both runs.
    """
    found = prediction.pairs(results)
    if found.empty:
        raise MissingRuns("figure weight-sharing", "weight-sharing")
    return found


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each scenario, one point for each network and seed; darker points have more parameters.

    Each panel says how well the super-network predicts, with the 95 % interval over seeds, beside the number of
    parameters.
    """
    titles = style.panel_titles(data)
    table = prediction.table(data)
    with style.applied():
        figure, axes = style.panels(len(titles), height_in=2.4)
        for ax, (scenario, title) in zip(axes, titles.items(), strict=True):
            part = data[data["scenario"] == scenario].sort_values("params")
            limits = [part[["shared", "alone"]].to_numpy().min(), part[["shared", "alone"]].to_numpy().max()]
            ax.plot(limits, limits, color=style.GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.9)
            ax.scatter(part["shared"], part["alone"], c=part["params"], cmap="Blues", s=11, linewidth=0.3,
                       edgecolor=style.INK, vmin=2 * part["params"].min() - part["params"].max())  # fmt: skip
            lines = [_line(table[table["scenario"] == scenario], measure, label) for measure, label in _SHOWN.items()]
            ax.annotate(
                "\n".join(lines), (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=6,
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5},
            )  # fmt: skip
            style.set_title(ax, title)
        style.label_bottom(axes, "error with shared weights")
        figure.supylabel("error fine-tuned alone", fontsize=7.5)
    return figure


def _line(table: pd.DataFrame, measure: str, label: str) -> str:
    """A measure of the super-network with its interval over seeds, and that of the rival."""
    rows = table[table["measure"] == measure].set_index("predictor")
    mean, low, high = (dict(zip(rows.index, rows[name].tolist(), strict=True)) for name in ("mean", "low", "high"))
    own, rival = prediction.PREDICTORS
    interval = "" if np.isnan(low[own]) else f" ({low[own]:.2f} to {high[own]:.2f})"
    return f"{label} {_number(mean[own])}{interval}, by size {_number(mean[rival])}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"
