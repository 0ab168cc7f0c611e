"""Critical-difference diagram: which average ranks differ by more than chance (Demsar 2006)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from . import style
from .comparison import CriticalDifference
from .comparison import critical_difference as compute
from .experiments import MissingRuns
from .scores import Scores, block_table
from .selection import subset, usual

TITLE = "Average ranks and their critical difference"


def data(scores: Scores, track: str | None = None) -> CriticalDifference:
    """Average ranks by final hypervolume of the usual runs' contestants.

    The test needs every contestant in every cell. Of all contestants those in most cells are compared.

    Args:
        track: None for the one with most runs.

    Raises:
        MissingRuns: unless two contestants share a cell.
    """
    runs = scores.runs
    keep = usual(runs)
    if keep.any():
        track = track or str(runs.loc[keep, "track"].mode().iloc[0])
        keep &= (runs["track"] == track).to_numpy(dtype=np.bool_)
        n_cells = runs[keep].groupby("contestant")["cell"].nunique()
        in_most = n_cells.index[n_cells == n_cells.max()] if len(n_cells) else n_cells.index
        keep &= runs["contestant"].isin(in_most).to_numpy(dtype=np.bool_)
    found = compute(block_table(subset(scores, keep)))
    if len(found.names) < 2 or not found.n:
        raise MissingRuns("the critical-difference diagram", "fig8")
    return found


def draw(data: CriticalDifference) -> Figure:
    """An axis of ranks with a name at each; bars join what does not differ significantly."""
    m = len(data.names)
    n_left = (m + 1) // 2
    rows = max(n_left, m - n_left)
    bars_below = 0.55 + 0.28 * len(data.groups)
    with style.applied():
        figure = style.new_figure(style.PAGE_IN, 0.75 + 0.17 * rows + 0.12 * len(data.groups))
        ax = figure.add_subplot()
        ax.set(xlim=(1 - 0.62 * (m - 1), m + 0.62 * (m - 1)), ylim=(bars_below + 0.42 * rows + 0.2, -1.15))
        ax.axis("off")
        ax.plot([1, m], [0, 0], color=style.INK, linewidth=0.8)
        for tick in range(1, m + 1):
            ax.plot([tick, tick], [0, -0.12], color=style.INK, linewidth=0.8)
            ax.annotate(str(tick), (tick, -0.17), ha="center", va="bottom", fontsize=7)
        for i, (name, rank) in enumerate(zip(data.names, data.ranks, strict=True)):
            on_left = i < n_left
            end = 1 - 0.06 * (m - 1) if on_left else m + 0.06 * (m - 1)
            depth = bars_below + 0.42 * (i if on_left else m - 1 - i)
            look = style.look(name)
            ax.plot([rank, rank, end], [0, depth, depth], color=look.colour, linewidth=0.9)
            ax.plot(rank, 0, "o", color=look.colour, markersize=4)
            ax.annotate(
                f"{look.name}  {rank:.2f}" if on_left else f"{rank:.2f}  {look.name}",
                (end, depth),
                (-3 if on_left else 3, 0),
                textcoords="offset points",
                ha="right" if on_left else "left",
                va="center",
            )
        for level, (first, last) in enumerate(data.groups):
            depth = 0.3 + 0.28 * level
            ends = [data.ranks[first] - 0.04, data.ranks[last] + 0.04]
            ax.plot(ends, [depth, depth], color=style.INK, linewidth=2.6, solid_capstyle="round")
        if data.difference < m - 1:
            ax.plot([1, 1 + data.difference], [-0.72, -0.72], color=style.GREY, linewidth=1.2, marker="|", markersize=5)
        caption = f"critical difference {data.difference:.2f}, n = {data.n} tasks and models"
        ax.annotate(caption, (1, -0.82), ha="left", va="bottom", fontsize=7, color=style.GREY)
    return figure
