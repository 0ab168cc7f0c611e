"""Box plots of final hypervolumes, one panel for each scenario; used by figures 5 and 7."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.figures import style
from nasbench.analysis.scoring.scores import Scores

COLUMNS = ["scenario", "task", "model", "device_class", "seed", "space", "strategy", "hypervolume"]


def final_hypervolumes(scores: Scores, strategies: list[Any]) -> pd.DataFrame:
    """The final hypervolume of each run.

    Args:
        strategies: ``(n_runs,)``, training strategy of each run.

    Returns:
        One row for each run, with the columns :data:`COLUMNS`.
    """
    return scores.runs.assign(hypervolume=scores.final, strategy=pd.Series(strategies, dtype=object))[COLUMNS]


def draw(data: pd.DataFrame, by: str, names: Mapping[str, str], colours: Mapping[str, str]) -> Figure:
    """Draw one box for each value of the column ``by``, and every run as a point.

    Args:
        data: from :func:`final_hypervolumes`.
        by: the column that is compared, ``space`` or ``strategy``.
        names: the values of ``by`` in drawing order, each with the name printed below its box.
        colours: a colour for each value of ``by``.
    """
    order = [value for value in names if (data[by] == value).any()]
    titles = style.panel_titles(data)
    with style.applied():
        figure, axes = style.panels(len(titles))
        for ax, (scenario, title) in zip(axes, titles.items(), strict=True):
            part = data[data["scenario"] == scenario]
            for place, value in enumerate(order):
                values = np.sort(part.loc[part[by] == value, "hypervolume"].to_numpy())
                ax.boxplot(
                    values,
                    positions=[place],
                    widths=0.62,
                    showfliers=False,  # every run is drawn as a point
                    patch_artist=True,
                    boxprops={"facecolor": (colours[value], 0.55), "edgecolor": style.INK},
                    medianprops={"color": style.INK},
                )
                offset = 0.16 * np.where(np.arange(len(values)) % 2, 1, -1)
                ax.plot(
                    place + offset, values, "o", color=style.INK, markersize=2, alpha=0.8, markeredgewidth=0, zorder=3
                )
            style.set_title(ax, title)
            ax.set_xticks(range(len(order)), [names[value] for value in order])
            ax.tick_params(axis="x", length=0)
            ax.grid(visible=False, axis="x")
        for ax in axes:
            on_bottom = ax in style.bottom_panels(axes)
            for label in ax.get_xticklabels():
                label.set(visible=on_bottom, rotation=40, ha="right", rotation_mode="anchor")
        figure.supylabel("hypervolume", fontsize=7.5)
    return figure
