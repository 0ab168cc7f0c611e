"""Critical-difference diagram: which average ranks differ by more than chance (Demsar 2006)."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.experiments.selection import subset, usual
from nasbench.analysis.figures import style
from nasbench.analysis.scoring.comparison import CriticalDifference
from nasbench.analysis.scoring.comparison import critical_difference as compute
from nasbench.analysis.scoring.scores import Scores, block_table
from nasbench.analysis.scoring.tracks import section_title

TITLE = "Average ranks and their critical difference"


@dataclass(frozen=True)
class Diagram:
    """What is drawn.

    Attributes:
        title: the track and device class.
        found: the entries that are compared.
        n_scenarios: scenarios of the track and device class, of which ``found.n`` are compared on.
        left_out: entries that lack one of those, sorted.
    """

    title: str
    found: CriticalDifference
    n_scenarios: int
    left_out: tuple[str, ...]


def data(scores: Scores) -> Diagram:
    """Average ranks by final hypervolume of the usual runs' entries.

    The test needs every entry in every scenario. Those entries and scenarios are compared that make the largest full
    table, in the track and device class where it is largest.

    Raises:
        MissingRuns: unless two entries share a scenario.
    """
    runs, keep = scores.runs, usual(scores.runs)
    found = []
    for (track, device), group in runs[keep].groupby(["track", "device_class"]):
        names, scenarios = _largest_table(group)
        found.append((len(names) * len(scenarios), str(track), str(device), names, scenarios))
    size, track, device, names, scenarios = max(found, key=lambda entry: entry[0], default=(0, "", "", (), frozenset()))
    if not size:
        raise MissingRuns("the critical-difference diagram", "fig8")
    keep &= ((runs["track"] == track) & (runs["device_class"] == device)).to_numpy(dtype=np.bool_)
    here = runs[keep]
    chosen = keep & (runs["entry"].isin(names) & runs["scenario"].isin(scenarios)).to_numpy(dtype=np.bool_)
    return Diagram(
        title=section_title(track, device),
        found=compute(block_table(subset(scores, chosen))),
        n_scenarios=here["scenario"].nunique(),
        left_out=tuple(sorted(set(here["entry"].astype(str)) - set(names))),
    )


def _largest_table(runs: pd.DataFrame) -> tuple[tuple[str, ...], frozenset[str]]:
    """At least two entries and the scenarios all of them have, as many of both as can be; nothing if there are none.

    That is the largest product of the two, of equal ones that with more entries. An entry has a scenario if it ran
    on its most frequent seed, so that all who have it share a data split.
    """
    counts = runs.groupby(["scenario", "seed"]).size().reset_index(name="n")
    usual_seed = counts.sort_values(["n", "seed"], ascending=[False, True]).drop_duplicates("scenario")
    shared = runs.merge(usual_seed[["scenario", "seed"]], on=["scenario", "seed"])
    own = {str(name): frozenset(scenarios) for name, scenarios in shared.groupby("entry")["scenario"]}
    # The scenarios of a largest table are what its entries have in common. There are few such intersections: at most
    # two to the number of scenarios.
    common: set[frozenset[str]] = set()
    for scenarios in own.values():
        common |= {scenarios & other for other in common} | {scenarios}
    tables = [(tuple(name for name in sorted(own) if own[name] >= scenarios), scenarios) for scenarios in common]
    tables = [(names, scenarios) for names, scenarios in tables if len(names) > 1]
    return min(
        tables,
        key=lambda table: (-len(table[0]) * len(table[1]), -len(table[0]), sorted(table[1])),
        default=((), frozenset()),
    )


def draw(data: Diagram) -> Figure:
    """An axis of ranks with a name at each; bars join what does not differ significantly."""
    found = data.found
    m = len(found.names)
    n_left = (m + 1) // 2
    rows = max(n_left, m - n_left)
    bars_below = 0.55 + 0.28 * len(found.groups)
    with style.applied():
        figure = style.new_figure(style.PAGE_IN, 0.75 + 0.17 * rows + 0.12 * len(found.groups))
        ax = figure.add_subplot()
        ax.set(xlim=(1 - 0.62 * (m - 1), m + 0.62 * (m - 1)), ylim=(bars_below + 0.42 * rows + 0.2, -1.15))
        ax.axis("off")
        ax.plot([1, m], [0, 0], color=style.INK, linewidth=0.8)
        for tick in range(1, m + 1):
            ax.plot([tick, tick], [0, -0.12], color=style.INK, linewidth=0.8)
            ax.annotate(str(tick), (tick, -0.17), ha="center", va="bottom", fontsize=7)
        for i, (name, rank) in enumerate(zip(found.names, found.ranks, strict=True)):
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
        for level, (first, last) in enumerate(found.groups):
            depth = 0.3 + 0.28 * level
            ends = [found.ranks[first] - 0.04, found.ranks[last] + 0.04]
            ax.plot(ends, [depth, depth], color=style.INK, linewidth=2.6, solid_capstyle="round")
        if found.difference < m - 1:
            ax.plot(
                [1, 1 + found.difference], [-0.72, -0.72], color=style.GREY, linewidth=1.2, marker="|", markersize=5
            )
        n = f"n = {found.n} of {data.n_scenarios} tasks and models"
        caption = [f"{data.title}; critical difference {found.difference:.2f}, {n}"]
        if data.left_out:
            names = ", ".join(style.look(name).name for name in data.left_out)
            caption += wrap(f"left out, for not having run on all of these: {names}", 110)
        ax.annotate("\n".join(caption), (0, -3), xycoords="axes points", va="top", fontsize=7, color=style.GREY)
    return figure
