"""Figure 4: the hypervolume of a set of points, as a sum of rectangles (section 4.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nasbench.analysis.figures import style
from nasbench.declarations.task import REFERENCE_POINT
from nasbench.search.pareto import pareto_mask

TITLE = "The hypervolume of a Pareto set"
EXAMPLE = ((0.15, 1.60), (0.45, 1.05), (0.90, 0.60), (1.45, 0.25), (1.25, 1.35))
"""Four points on a front and a dominated point."""


def data(points: npt.ArrayLike = EXAMPLE, reference: tuple[float, float] = REFERENCE_POINT) -> pd.DataFrame:
    """The rectangles that make up the hypervolume of a set of points.

    Each point on the front adds a rectangle to the area of the points to its left. The point is the rectangle's lower
    left corner. The areas of all rectangles add up to the hypervolume.

    Args:
        points: ``(n, 2)``, both minimised, all below the reference point.

    Returns:
        One row for each point, ordered by ``x``: ``x, y, on_front, width, height``; ``width`` and ``height`` are 0 for
        dominated points.
    """
    values = np.asarray(points, dtype=np.float64)
    values = values[np.lexsort((values[:, 1], values[:, 0]))]
    on_front = pareto_mask(values)
    upper = np.full(len(values), reference[1])
    upper[np.flatnonzero(on_front)[1:]] = values[on_front, 1][:-1]
    return pd.DataFrame(
        {
            "x": values[:, 0],
            "y": values[:, 1],
            "on_front": on_front,
            "width": np.where(on_front, reference[0] - values[:, 0], 0.0),
            "height": np.where(on_front, upper - values[:, 1], 0.0),
        }
    )


def draw(data: pd.DataFrame, reference: tuple[float, float] = REFERENCE_POINT) -> Figure:
    """Draw the rectangles, the front as a staircase, and the reference point."""
    blue = style.look("s-nas/random").colour
    with style.applied():
        figure = style.new_figure(style.COLUMN_IN, style.COLUMN_IN * 0.8)
        ax = figure.add_subplot()
        front, rest = data[data["on_front"]], data[~data["on_front"]]
        for i, (x, y, width, height) in enumerate(front[["x", "y", "width", "height"]].to_numpy()):
            tone = 0.16 + 0.10 * (i % 2)
            ax.add_patch(Rectangle((x, y), width, height, facecolor=blue, alpha=tone, linewidth=0))
            ax.annotate(f"$y_{i}$", (x, y), (-4, -3), textcoords="offset points", ha="right", va="top")
        ax.step(
            [front["x"].iloc[0], *front["x"], reference[0]],
            [reference[1], *front["y"], front["y"].iloc[-1]],
            where="post",
            color=blue,
        )
        ax.plot(front["x"], front["y"], "o", color=blue, markersize=5, markeredgecolor="white")
        ax.plot(rest["x"], rest["y"], "o", color=style.GREY, markersize=4, markerfacecolor="none")
        ax.plot(*reference, "s", color=style.INK, markersize=5)
        ax.annotate("$r$", reference, (5, 4), textcoords="offset points")
        area = float((data["width"] * data["height"]).sum())
        ax.annotate(f"hypervolume {area:.2f}", (1.42, 1.68), ha="center", color=blue, fontweight="bold")
        for x, y in rest[["x", "y"]].to_numpy():
            ax.annotate("dominated", (x, y), (6, 0), textcoords="offset points", va="center", color=style.GREY)
        ax.set(
            xlim=(-0.05, 2.2), ylim=(0, 2.2), xlabel="objective $f_1$ (parameters)", ylabel="objective $f_0$ (error)"
        )
        ax.set(xticks=[0, 1, 2], yticks=[0, 1, 2])
        ax.grid(visible=False)
    return figure
