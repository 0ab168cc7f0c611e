"""Figure 13: quantisation against the front of NAS: test error by memory and by latency (appendix F).

The paper has three kinds of GPU; the figure has the CPUs on which ``nasbench quantize`` was run. A third panel shows
latency by parameters, for the networks in fp32.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures import style
from nasbench.analysis.figures.best_by_size import USEFUL_SHARE
from nasbench.analysis.reading.quantized import variants
from nasbench.analysis.reading.results import Results

TITLE = "Quantisation against pruning: memory and latency"
LOOKS = {
    "fp32": ("#0072B2", "o"),
    "int8": ("#D55E00", "s"),
    "int8-weights": ("#009E73", "^"),
    "int4-weights": ("#CC79A7", "D"),
}
"""Colour and marker of each format."""


def data(results: Results) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.reading.quantized.variants` of one run and device in each scenario.

    It is the run with the most measured networks; of several, that with the lowest seed, then the first by name.

    Raises:
        MissingRuns: if no run was quantised.
    """
    found = variants(results.finished().runs)
    if found.empty:
        raise MissingRuns("figure 13, which needs quantised networks", None, "nasbench quantize RUN")
    keys = ["scenario", "seed", "run", "device"]
    counts = found.groupby(keys)["index"].nunique().rename("n").reset_index()
    order = counts.sort_values(["n", "seed", "run", "device"], ascending=[False, True, True, True])
    chosen: pd.DataFrame = found.merge(order.drop_duplicates("scenario")[keys], on=keys)
    return chosen


def draw(data: pd.DataFrame) -> Figure:
    """Draw a row of three panels for each scenario: error by memory, error by latency, latency by parameters."""
    titles = style.panel_titles(data)
    with style.applied():
        figure = style.new_figure(7.0, 2.4 * len(titles) + 0.4)
        grid = figure.subplots(len(titles), 3, squeeze=False)
        for row, (scenario, title) in zip(grid, titles.items(), strict=True):
            part = data[data["scenario"] == scenario]
            _errors(row[0], part, "megabytes")
            row[0].set(xlabel="weights (MB)", ylabel="test error", xlim=(0, None))
            _errors(row[1], part, "latency")
            row[1].set(xlabel="time of a pass (full network in fp32 = 1)", ylabel="test error", xlim=(0, None))
            for ax in row[:2]:
                _cut_useless(ax, part["test_error"])
            _by_parameters(row[2], part)
            style.set_title(row[0], title)
        style.legend_below(figure, list(grid[:, :2].ravel()), columns=4)
    return figure


def _errors(ax: Axes, data: pd.DataFrame, column: str) -> None:
    """Test errors by memory or latency: a line of the networks of each format, and large markers for the full one."""
    ax.margins(x=0.12)  # room for the large markers
    for scheme, (colour, marker) in LOOKS.items():
        part = data[(data["scheme"] == scheme) & data["test_error"].notna()].sort_values(column)
        reasons = data.loc[(data["scheme"] == scheme) & data["reason"].notna(), "reason"]
        if part.empty:
            label = f"{scheme} (does not run here)" if len(reasons) else None
            if label:
                ax.plot([], [], marker, color=colour, label=label)
            continue
        bars = None if column != "latency" else (part["latency"] - part["low"], part["high"] - part["latency"])
        ax.errorbar(
            part[column], part["test_error"], xerr=None if bars is None else np.array(bars), color=colour,
            marker=marker, markersize=3.5, linewidth=0.9, elinewidth=0.6, label=scheme,
        )  # fmt: skip
        full = part[part["is_full"]]
        ax.plot(full[column], full["test_error"], marker, color=colour, markersize=8, markeredgecolor=style.INK)


def _cut_useless(ax: Axes, errors: pd.Series) -> None:
    """Show the errors of useful networks large."""
    least = errors.min()
    largest = 1 - USEFUL_SHARE * (1 - least)
    if least < 1 and errors.max() > largest:
        ax.set_ylim(least - 0.1 * (largest - least), largest)


def _by_parameters(ax: Axes, data: pd.DataFrame) -> None:
    """Latency of the networks in fp32 by their parameters, with intervals; the dashed line is one to one."""
    part = data[(data["scheme"] == "fp32") & data["latency"].notna()].sort_values("params")
    bars = np.array([part["latency"] - part["low"], part["high"] - part["latency"]])
    colour, marker = LOOKS["fp32"]
    ax.errorbar(part["params"], part["latency"], yerr=bars, color=colour, marker=marker, markersize=3.5, linewidth=0.9)
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.9)
    ax.set(xlabel="parameters (fraction)", ylabel="time of a pass", xlim=(0, 1.03), ylim=(0, None))
