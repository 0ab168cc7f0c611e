"""Critical-difference diagram: which average ranks differ significantly (Demsar 2006, JMLR 7:1-30)."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.experiments.selection import largest_complete_table, subset, unchanged
from nasbench.analysis.figures import style
from nasbench.analysis.scoring.comparison import CriticalDifference
from nasbench.analysis.scoring.comparison import critical_difference as compute
from nasbench.analysis.scoring.scores import Scores, block_table
from nasbench.analysis.scoring.tracks import section_title

TITLE = "Average ranks and their critical difference"


@dataclass(frozen=True)
class RankDiagram:
    """The data of a critical-difference diagram.

    Attributes:
        title: track and device class.
        comparison: average ranks of the compared entries, and their critical difference.
        n_tasks: tasks of the track and device class; the entries are compared in ``comparison.n`` of them.
        n_scenarios: scenarios that the entries are compared in.
        left_out: entries that did not run in all of these scenarios, sorted.
    """

    title: str
    comparison: CriticalDifference
    n_tasks: int
    n_scenarios: int
    left_out: tuple[str, ...]


def data(scores: Scores) -> RankDiagram:
    """Average ranks of entries by test hypervolume, over runs with default options and the usual budget.

    Friedman's test needs every entry in every scenario. The function therefore compares the entries and scenarios that
    form the largest complete table, in the track and device class in which that table is largest.

    Raises:
        MissingRuns: if no two entries share a scenario.
    """
    runs, keep = scores.runs, unchanged(scores.runs)
    tables = []
    for (track, device), group in runs[keep].groupby(["track", "device_class"]):
        names, scenarios = largest_complete_table(group)
        tables.append((len(names) * len(scenarios), str(track), str(device), names, scenarios))
    size, track, device, names, scenarios = max(
        tables, key=lambda table: table[0], default=(0, "", "", (), frozenset())
    )
    if not size:
        raise MissingRuns("the critical-difference diagram", "fig8")
    keep &= ((runs["track"] == track) & (runs["device_class"] == device)).to_numpy(dtype=np.bool_)
    here = runs[keep]
    chosen = keep & (runs["entry"].isin(names) & runs["scenario"].isin(scenarios)).to_numpy(dtype=np.bool_)
    compared = subset(scores, chosen)
    return RankDiagram(
        title=section_title(track, device),
        comparison=compute(block_table(compared, values=compared.test[:, None])),
        n_tasks=here["task"].nunique(),
        n_scenarios=len(scenarios),
        left_out=tuple(sorted(set(here["entry"].astype(str)) - set(names))),
    )


def draw(data: RankDiagram) -> Figure:
    """Draw the axis of ranks with the name of each entry; bars join entries that do not differ significantly."""
    result = data.comparison
    everyone = {*result.names, *data.left_out}
    m = len(result.names)
    n_left = (m + 1) // 2
    rows = max(n_left, m - n_left)
    bars_below = 0.55 + 0.28 * len(result.groups)
    with style.applied():
        figure = style.new_figure(style.PAGE_IN, 0.75 + 0.17 * rows + 0.12 * len(result.groups))
        ax = figure.add_subplot()
        ax.set(xlim=(1 - 0.62 * (m - 1), m + 0.62 * (m - 1)), ylim=(bars_below + 0.42 * rows + 0.2, -1.15))
        ax.axis("off")
        ax.plot([1, m], [0, 0], color=style.INK, linewidth=0.8)
        for tick in range(1, m + 1):
            ax.plot([tick, tick], [0, -0.12], color=style.INK, linewidth=0.8)
            ax.annotate(str(tick), (tick, -0.17), ha="center", va="bottom", fontsize=7)
        for i, (name, rank) in enumerate(zip(result.names, result.ranks, strict=True)):
            on_left = i < n_left
            end = 1 - 0.06 * (m - 1) if on_left else m + 0.06 * (m - 1)
            depth = bars_below + 0.42 * (i if on_left else m - 1 - i)
            look = style.look(name, everyone)
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
        for level, (first, last) in enumerate(result.groups):
            depth = 0.3 + 0.28 * level
            ends = [result.ranks[first] - 0.04, result.ranks[last] + 0.04]
            ax.plot(ends, [depth, depth], color=style.INK, linewidth=2.6, solid_capstyle="round")
        if result.difference < m - 1:
            ax.plot(
                [1, 1 + result.difference], [-0.72, -0.72], color=style.GREY, linewidth=1.2, marker="|", markersize=5
            )
        n = f"n = {result.n} of {data.n_tasks} tasks"
        caption = [f"{data.title}; critical difference {result.difference:.2f}, {n}"]
        if data.left_out:
            names = ", ".join(style.look(name, everyone).name for name in data.left_out)
            caption += wrap(f"left out, because they did not run in all {data.n_scenarios} scenarios: {names}", 110)
        ax.annotate("\n".join(caption), (0, -3), xycoords="axes points", va="top", fontsize=7, color=style.GREY)
    return figure
