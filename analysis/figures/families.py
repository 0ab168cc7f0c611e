"""Which family of compression owns which part: the best test metric at each size, of pruning, NAS and the others.

Sizes are bytes of the weights, because a quantised network has fewer bytes and as many parameters. Networks are chosen
by validation error, over all methods of a family, and measured on test data.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures import style
from nasbench.analysis.reading.objectives import USUAL
from nasbench.analysis.reading.quantized import variants
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring.intervals import interval_on_these_tasks

TITLE = "Which family of compression is best at which size; the strip is pale where it is not separated from the next"
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "pruning": ("head-pruning", "rfp", "layer-dropping", "shortgpt", "wanda-sp", "flap", "magnitude"),
    "NAS": ("s-nas", "ws-nas", "ws-nas-depth", "ws-nas-ordered"),
    "distillation": ("distillation",),
    "low rank": ("low-rank",),
}
"""Methods of each family. Quantised networks, of any run, are a family of their own."""
QUANTISED = "quantised"
LIMITS = np.round(np.arange(0.05, 1.0001, 0.025), 3)
"""Limits on the bytes, as shares of those of the full network in fp32."""
COLOURS = {
    "pruning": "#0072B2",
    "NAS": "#D55E00",
    "distillation": "#009E73",
    "low rank": "#E69F00",
    QUANTISED: "#CC79A7",
}
_STRIP = 0.05
"""Height of the strip of owners, as a share of a panel's."""


def data(results: Results) -> pd.DataFrame:
    """The best test metric of each family in each scenario of two families or more, under each limit on the bytes.

    Returns:
        One row for each scenario, family and limit within which it has a network: ``scenario, task, model,
        device_class, metric, family, limit, test_metric, low, high, n, leads, separated``. ``test_metric`` is the mean
        over seeds, with its 95 % interval on these tasks. ``leads`` marks the best family, ``separated`` whether the
        95 % interval of its paired difference to the second one is above zero, or there is no second one.

    Raises:
        MissingRuns: if no scenario has networks of two families.
    """
    chosen = results.finished()
    runs = chosen.runs[chosen.runs["objectives"] == USUAL]
    networks = pd.concat([_pruned(chosen, runs), _quantised(runs)], ignore_index=True)
    networks = networks[networks.groupby("scenario")["family"].transform("nunique") > 1]
    if networks.empty:
        raise MissingRuns("the figure of families, which needs runs of two", "fig8")
    networks = networks.sort_values(["error", "bytes", "index"])
    facts = runs.drop_duplicates("scenario").set_index("scenario")[["task", "model", "device_class", "metric"]]
    rows = []
    for limit in LIMITS:
        within = networks[networks["bytes"] <= limit + 1e-9].drop_duplicates(["scenario", "seed", "family"])
        for scenario, best in within.groupby("scenario", observed=True):
            rows += [{"scenario": scenario, "limit": limit} | row for row in _compared(best)]
    return pd.DataFrame(rows).join(facts, on="scenario")


def _pruned(results: Results, runs: pd.DataFrame) -> pd.DataFrame:
    """Networks with test results of methods of known families, whose weights are in fp32."""
    family_of = {method: family for family, methods in FAMILIES.items() for method in methods}
    found = results.evaluations[["run_row", "index", "params", "error", "test_error"]].dropna(subset="test_error")
    found = found.join(runs[["scenario", "seed"]].assign(family=runs["method"].map(family_of)), on="run_row")
    return found.dropna(subset="family").rename(columns={"params": "bytes"})


def _quantised(runs: pd.DataFrame) -> pd.DataFrame:
    """Networks whose weights are not in fp32."""
    table = variants(runs)
    whole = table[table["is_full"] & (table["scheme"] == "fp32")].groupby("run")["megabytes"].first()
    table = table[(table["scheme"] != "fp32") & table["test_error"].notna()]
    table = table.join(whole.rename("whole"), on="run")
    table = table.assign(bytes=table["megabytes"] / table["whole"], family=QUANTISED)
    return table.dropna(subset="bytes")[["scenario", "seed", "family", "index", "bytes", "error", "test_error"]]


def _compared(best: pd.DataFrame) -> list[dict[str, Any]]:
    """The families of one scenario under one limit, the best first. Two are compared over the seeds that both have.

    Args:
        best: the network that each family chooses with each seed.
    """
    metrics = best.assign(test_metric=1 - best["test_error"]).pivot_table("test_metric", "seed", "family")
    rows: list[dict[str, Any]] = []
    for family in metrics:
        values = metrics[family].dropna().to_numpy(dtype=np.float64)
        mean, low, high = interval_on_these_tasks(values, np.zeros(len(values)))
        rows.append({"family": family, "test_metric": mean, "low": low, "high": high, "n": len(values)})
    rows.sort(key=lambda row: (-row["test_metric"], row["family"]))
    for row in rows:
        row["leads"] = row is rows[0]
        row["separated"] = row is rows[0] and (len(rows) == 1 or _is_above(metrics, *(r["family"] for r in rows[:2])))
    return rows


def _is_above(metrics: pd.DataFrame, first: str, second: str) -> bool:
    differences = (metrics[first] - metrics[second]).dropna().to_numpy(dtype=np.float64)
    return bool(interval_on_these_tasks(differences, np.zeros(len(differences))).low > 0)


def draw(data: pd.DataFrame) -> Figure:
    """Draw a panel for each scenario: a line for each family, and below them a strip in the colour of the best one.

    The strip is pale where the best one is not separated from the second.
    """
    titles = style.panel_titles(data)
    with style.applied():
        figure, axes = style.panels(len(titles), per_row=3, height_in=2.2)
        for ax, (scenario, title) in zip(axes, titles.items(), strict=True):
            part = data[data["scenario"] == scenario]
            for family in [name for name in COLOURS if name in set(part["family"])]:
                line = part[part["family"] == family].sort_values("limit")
                x, colour = 100 * line["limit"].to_numpy(), COLOURS[family]
                ax.fill_between(x, line["low"], line["high"], color=colour, alpha=0.13, linewidth=0, step="post")
                ax.step(x, line["test_metric"], where="post", color=colour, linewidth=1.1, label=family)
            _strip(ax, part)
            style.set_title(ax, title)
            ax.set(ylabel=style.text(str(part["metric"].iloc[0])), xlim=(100 * part["limit"].min() - 1, 101))
        style.label_bottom(axes, "bytes of the weights,\n% of the full network in fp32")
        style.legend_below(figure, axes)
    return figure


def _strip(ax: Axes, part: pd.DataFrame) -> None:
    """The strip of owners along the bottom; neighbours with the same owner are one piece."""
    low, high = ax.get_ylim()
    ax.set_ylim(low - 1.6 * _STRIP * (high - low), high)
    owners = part[part["leads"]].sort_values("limit")
    pieces = zip(owners["family"], owners["separated"], owners["limit"], strict=True)
    for (family, separated), some in groupby(pieces, key=itemgetter(0, 1)):
        limits = [100 * limit for *_, limit in some]
        ax.add_patch(
            Rectangle(
                (limits[0], 0), limits[-1] - limits[0] + 2.5, _STRIP, transform=ax.get_xaxis_transform(),
                color=COLOURS[family], alpha=1.0 if separated else 0.3, linewidth=0,
            )
        )  # fmt: skip
