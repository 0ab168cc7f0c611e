"""Final hypervolumes as boxes, a panel a scenario: what figures 5 and 7 have in common."""

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
    """One row a run: columns :data:`COLUMNS`."""
    return scores.runs.assign(hypervolume=scores.final, strategy=pd.Series(strategies, dtype=object))[COLUMNS]


def draw(data: pd.DataFrame, by: str, names: Mapping[str, str], colours: Mapping[str, str]) -> Figure:
    """A box with every run as a point for each value of the column ``by``.

    Args:
        names: values of ``by`` in the order of drawing, each with the name printed below it.
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
                aside = 0.16 * np.where(np.arange(len(values)) % 2, 1, -1)
                ax.plot(
                    place + aside, values, "o", color=style.INK, markersize=2, alpha=0.8, markeredgewidth=0, zorder=3
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
