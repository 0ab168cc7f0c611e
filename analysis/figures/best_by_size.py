"""Which of several names is best at which size: a table with intervals, and its drawing with a strip of owners.

A name is whatever competes: a family of compression or an entry. Networks are chosen by validation error and measured
on test data.
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

from nasbench.analysis.figures import style
from nasbench.analysis.scoring.intervals import interval_on_these_tasks
from nasbench.arrays import FloatArray

_STRIP = 0.05
"""Height of the strip of owners, as a share of a panel's."""
_MARGIN = 0.25
"""Most that a panel shows above and below its lines, as a share of their range."""
USEFUL_SHARE = 0.75
"""Share of the largest metric below which a network is of no use, and panels cut its line."""


def table(networks: pd.DataFrame, runs: pd.DataFrame, limits: FloatArray) -> pd.DataFrame:
    """The best test metric of each name in each scenario, under each limit on the size.

    Args:
        networks: ``scenario, seed, name, index, size, error, test_error``.
        runs: the runs of these scenarios; they say task, model, device class and metric.
        limits: ascending, in the unit of ``size``.

    Returns:
        One row for each scenario, name and limit within which it has a network with each of its seeds: ``scenario,
        task, model, device_class, metric, name, limit, test_metric, low, high, n, leads, separated``. ``test_metric``
        is the mean over seeds, with its 95 % interval on these tasks. ``leads`` marks the best name, ``separated``
        whether the 95 % interval of its paired difference to the second one is above zero, or there is no second one.
    """
    networks = networks.sort_values(["error", "size", "index"])
    smallest = networks.groupby(["scenario", "name", "seed"], observed=True)["size"].transform("min")
    begin = smallest.groupby([networks["scenario"], networks["name"]], observed=True).transform("max")
    counts_from = np.maximum(networks["size"], begin)
    facts = runs.drop_duplicates("scenario").set_index("scenario")[["task", "model", "device_class", "metric"]]
    rows = []
    for limit in limits:
        within = networks[counts_from <= limit + 1e-9].drop_duplicates(["scenario", "seed", "name"])
        for scenario, best in within.groupby("scenario", observed=True):
            rows += [{"scenario": scenario, "limit": limit} | row for row in _compared(best)]
    return pd.DataFrame(rows).join(facts, on="scenario")


def _compared(best: pd.DataFrame) -> list[dict[str, Any]]:
    """The names of one scenario under one limit, the best first. Two are compared over the seeds that both have.

    Args:
        best: the network that each name chooses with each seed.
    """
    metrics = best.assign(test_metric=1 - best["test_error"]).pivot_table("test_metric", "seed", "name")
    rows: list[dict[str, Any]] = []
    for name in metrics:
        values = metrics[name].dropna().to_numpy(dtype=np.float64)
        mean, low, high = interval_on_these_tasks(values, np.zeros(len(values)))
        rows.append({"name": name, "test_metric": mean, "low": low, "high": high, "n": len(values)})
    rows.sort(key=lambda row: (-row["test_metric"], row["name"]))
    for row in rows:
        row["leads"] = row is rows[0]
        row["separated"] = row is rows[0] and (len(rows) == 1 or _is_above(metrics, *(r["name"] for r in rows[:2])))
    return rows


def _is_above(metrics: pd.DataFrame, first: str, second: str) -> bool:
    differences = (metrics[first] - metrics[second]).dropna().to_numpy(dtype=np.float64)
    return bool(interval_on_these_tasks(differences, np.zeros(len(differences))).low > 0)


def draw(data: pd.DataFrame, looks: Mapping[str, tuple[str, str]], x_label: str) -> Figure:
    """Draw a panel for each scenario: a line for each name, and below them a strip in the colour of the best one.

    The strip is pale where the best one is not separated from the second.

    Args:
        data: from :func:`table`.
        looks: the printed form and the colour of each name, in the order of the legend.
    """
    titles = style.panel_titles(data)
    with style.applied():
        figure, axes = style.panels(len(titles), per_row=3, height_in=2.2)
        for ax, (scenario, title) in zip(axes, titles.items(), strict=True):
            part = data[data["scenario"] == scenario]
            for name, (shown, colour) in looks.items():
                line = part[part["name"] == name].sort_values("limit")
                if line.empty:
                    continue
                x = 100 * line["limit"].to_numpy()
                ax.fill_between(x, line["low"], line["high"], color=colour, alpha=0.13, linewidth=0, step="post")
                ax.step(x, line["test_metric"], where="post", color=colour, linewidth=1.1, label=shown)
            _limit(ax, part)
            _strip(ax, part, {name: colour for name, (_, colour) in looks.items()})
            style.set_title(ax, title)
            ax.set(ylabel=style.text(str(part["metric"].iloc[0])), xlim=(100 * part["limit"].min() - 1, 101))
        style.label_bottom(axes, x_label)
        style.legend_below(figure, axes)
    return figure


def _limit(ax: Axes, part: pd.DataFrame) -> None:
    """Show the lines large: bands of two seeds can be wider than the range of the metric, and are cut.

    The lines of useless networks are cut, too, unless all are useless.
    """
    lines = part["test_metric"]
    low, high = (part[name].fillna(lines) for name in ("low", "high"))  # a single seed has no band
    least = max(lines.min(), USEFUL_SHARE * lines.max()) if lines.max() > 0 else lines.min()
    margin = _MARGIN * max(lines.max() - least, 1e-3)
    ax.set_ylim(max(low.min(), least - margin), min(high.max(), lines.max() + margin) + 1e-3)


def _strip(ax: Axes, part: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """The strip of owners along the bottom; neighbours with the same owner are one piece."""
    low, high = ax.get_ylim()
    ax.set_ylim(low - 1.6 * _STRIP * (high - low), high)
    owners = part[part["leads"]].sort_values("limit")
    steps = np.diff(owners["limit"].to_numpy())
    width = 100 * steps.min() if len(steps) else 1.0
    pieces = zip(owners["name"], owners["separated"], owners["limit"], strict=True)
    for (name, separated), some in groupby(pieces, key=itemgetter(0, 1)):
        limits = [100 * limit for *_, limit in some]
        ax.add_patch(
            Rectangle(
                (limits[0], 0), limits[-1] - limits[0] + width, _STRIP, transform=ax.get_xaxis_transform(),
                color=colours[name], alpha=1.0 if separated else 0.3, linewidth=0,
            )
        )  # fmt: skip
