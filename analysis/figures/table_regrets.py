"""True regret of searchers over simulated time, one panel for each table: figure 12 on the tabular benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nasbench.analysis.figures import style
from nasbench.analysis.scoring.intervals import interval_on_these_tasks
from nasbench.analysis.scoring.table_curves import Curve, table_curves
from nasbench.arrays import FloatArray
from nasbench.tables.table import Table

N_TIMES = 200
_METHOD = "ws-nas"
"""Of all runs on tables that compare searchers."""
_FIRST = 0.05
"""The axis of regret ends at the largest mean after this share of the time."""
_LOWEST = 0.7
"""The axis of regret begins at this share of the lowest mean: a bound of an interval may be near zero or below."""


def data(
    tables: Sequence[Table], results: Path, searchers: Sequence[str], seeds: Sequence[int], max_evaluations: int
) -> pd.DataFrame:
    """Mean true regret of each searcher on each table, over time.

    A line begins when each of its runs has evaluated a network, and ends with the first of its runs.

    Args:
        results: the folder of :func:`nasbench.tables.comparison.run_all`.
        searchers: their names; runs of others are left out.
        seeds: runs with other seeds are left out.
        max_evaluations: runs with another number are left out.

    Returns:
        One row for each table, searcher and time: ``table, task, model, searcher, time_s, regret, low, high, n``.
        ``regret`` is the mean over ``n`` runs with its 95 % interval over seeds (NaN for fewer than three runs).
        ``time_s`` leaves out the training of the super-network.

    Raises:
        UserError: if there are no such runs on a table.
    """
    parts = []
    for table in tables:
        curves = table_curves(table, results / table.name, searchers, seeds, max_evaluations)
        ends = {searcher: min(float(curve.seconds[-1]) for curve in own) for searcher, own in curves.items()}
        times = np.linspace(0, max(ends.values()), N_TIMES + 1)[1:]
        for searcher, own in curves.items():
            begin = max(float(curve.seconds[0]) for curve in own)
            inner = times[(times > begin) & (times < ends[searcher])]
            part = _means(own, np.array([begin, *inner, ends[searcher]]))
            names = {"table": table.name, "task": table.info.task, "model": table.info.model, "searcher": searcher}
            parts.append(part.assign(**names))
    return pd.concat(parts, ignore_index=True)


def _means(curves: Sequence[Curve], times: FloatArray) -> pd.DataFrame:
    regret = np.array([curve.regret_at(times) for curve in curves])
    one_table = np.zeros(len(curves))
    rows = [interval_on_these_tasks(values, one_table) for values in regret.T]
    return pd.DataFrame(rows, columns=["regret", "low", "high"]).assign(time_s=times, n=len(curves))


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each table. Bands are 95 % intervals; optimisers of other libraries have dashed lines."""
    titles = _titles(data)
    with style.applied():
        figure, axes = style.panels(len(titles), per_row=2, height_in=3.1)
        for ax, (table, title) in zip(axes, titles.items(), strict=True):
            part = data[data["table"] == table]
            for searcher in sorted(part["searcher"].unique(), key=lambda name: (":" in name, name)):
                line, look = part[part["searcher"] == searcher], style.look(f"{_METHOD}/{searcher}")
                ax.fill_between(line["time_s"], line["low"], line["high"], color=look.colour, alpha=0.1, linewidth=0)
                every = max(len(line) // 5, 1)
                ax.plot(
                    line["time_s"], line["regret"], label=style.searcher_name(f"{_METHOD}/{searcher}"), linewidth=1.1,
                    markevery=(every // 2, every), **look.line | {"linestyle": "--" if ":" in searcher else "-"},
                )  # fmt: skip
            style.set_title(ax, title)
            _scale(ax, part)
        style.label_bottom(axes, "simulated seconds of search")
        figure.supylabel("true hypervolume regret", fontsize=7.5)
        style.legend_below(figure, axes)
    return figure


def _scale(ax: Axes, part: pd.DataFrame) -> None:
    """A logarithmic axis of regret without the first evaluations, which would flatten what follows."""
    end_s = part["time_s"].max()
    later = part.loc[part["time_s"] >= _FIRST * end_s, "regret"]
    lowest = max(float(part["regret"].min()), 1e-6)  # a search may find the whole front
    ax.set(yscale="log", xlim=(0, end_s), ylim=(_LOWEST * lowest, max(1.15 * float(later.max()), 1.2 * lowest)))
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _titles(data: pd.DataFrame) -> dict[str, style.PanelTitle]:
    """The tables with their panel titles; a table's own name stands on the right if a task and a model have several."""
    frame = data.drop_duplicates("table")
    several = frame.duplicated(["task", "model"], keep=False)
    titles = style.panel_titles(frame.assign(scenario=frame["table"]))
    own = {name for name, has_others in zip(frame["table"], several, strict=True) if has_others}
    return {
        name: style.PanelTitle(title.task, style.text(name)) if name in own else title for name, title in titles.items()
    }
