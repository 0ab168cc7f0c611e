"""Figure 6: average rank of the searchers over time, a) standard, b) weight-sharing NAS (sections 4.1.2, 4.1.3).

A panel has the runs of one model on one device class, in one track: the demo and users' tasks may have the same model.
Ranks of different models, devices or tracks are never averaged.
"""

from __future__ import annotations

from itertools import chain, repeat
from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import STANDARD_SEARCHERS, WEIGHT_SHARING_SEARCHERS, MissingRuns
from nasbench.analysis.experiments.selection import subset, usual
from nasbench.analysis.figures import style
from nasbench.analysis.scoring.ranks import average_ranks
from nasbench.analysis.scoring.scores import Scores, block_table

TITLE = "Average rank of the searchers over time"
METHODS = {
    "s-nas": ("standard NAS", STANDARD_SEARCHERS),
    "ws-nas": ("weight-sharing NAS", WEIGHT_SHARING_SEARCHERS),
}
_PANEL = ["method", "model", "device_class", "track"]


def data(scores: Scores) -> pd.DataFrame:
    """Average rank of each searcher over time, by validation hypervolume as in the paper.

    Searchers are compared in the blocks (scenario and seed) in which all searchers of the panel have run.

    Returns:
        One row for each panel, searcher and time step: ``method, model, device_class, track, algorithm, time, rank,
        low, high, n_blocks``. ``time`` is the fraction of the time axis: of the budget, or of the window. ``low`` and
        ``high`` bound the 95 % interval on tasks like these; they are NaN for fewer than
        :data:`nasbench.analysis.scoring.ranks.MIN_RANKED_TASKS`.

    Raises:
        MissingRuns: if in no panel two searchers share a block.
    """
    runs = scores.runs
    known = np.zeros(len(runs), dtype=np.bool_)
    for method, (_, searchers) in METHODS.items():
        known |= np.asarray((runs["method"] == method) & runs["searcher"].isin(searchers), dtype=np.bool_)
    keep = usual(runs) & known & (runs["space"] == "small").to_numpy(dtype=np.bool_)
    parts = []
    for panel, _ in runs[keep].groupby(_PANEL, observed=True):
        chosen = keep & (runs[_PANEL] == list(panel)).all(axis=1).to_numpy(dtype=np.bool_)
        blocks = block_table(subset(scores, chosen), by="algorithm")
        complete = ~np.isnan(blocks.final).any(axis=0)
        ranks = average_ranks(blocks.hypervolume[:, complete], blocks.scenarios[complete])
        for i, algorithm in enumerate(blocks.names):
            if ranks.n_blocks[i]:
                columns = {"rank": ranks.mean[i], "low": ranks.low[i], "high": ranks.high[i]}
                constant = {**dict(zip(_PANEL, panel, strict=True)), "algorithm": algorithm}
                parts.append(
                    pd.DataFrame({**constant, "time": scores.grid, **columns, "n_blocks": int(ranks.n_blocks[i])})
                )
    if not parts:
        raise MissingRuns("figure 6", "fig6")
    return pd.concat(parts, ignore_index=True)


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each method, model, device class and track, and a line for each searcher.

    Rank 1 is at the top. A title names the track if the model has runs in several. Panels after z) have no letter.
    """
    names = data[_PANEL].drop_duplicates().astype(str).itertuples(index=False, name=None)
    panels = sorted(names, key=lambda panel: (*panel[1:], list(METHODS).index(panel[0])))
    tracks = data.groupby("model")["track"].nunique()
    with style.applied():
        figure, axes = style.panels(len(panels), per_row=2, height_in=2.1)
        letters = chain((f"{letter}) " for letter in ascii_lowercase), repeat(""))
        for letter, ax, names_of_panel in zip(letters, axes, panels, strict=False):
            method, model, device, track = names_of_panel
            panel = data[(data[_PANEL] == list(names_of_panel)).all(axis=1)]
            title, searchers = METHODS[method]
            for searcher in searchers:
                line = panel[panel["algorithm"] == f"{method}/{searcher}"]
                if line.empty:
                    continue
                look, time = style.look(f"{method}/{searcher}"), 100 * line["time"].to_numpy()
                ax.fill_between(time, line["low"], line["high"], color=look.colour, alpha=0.13, linewidth=0)
                name = style.searcher_name(f"{method}/{searcher}")
                every = (len(line) // 10, max(len(line) // 5, 1))
                ax.plot(time, line["rank"], label=name, markevery=every, **look.line)
            ax.set_title(f"{letter}{title}", loc="left")
            place = f"{style.model_name(model)}, {device.upper()}" + (f", {track}" if tracks[model] > 1 else "")
            ax.set_title(place, loc="right", fontsize=6.5, color=style.GREY)
            ax.set(ylabel="average rank", xlim=(0, 100))
            ax.set_yticks(range(1, panel["algorithm"].nunique() + 1))
            ax.invert_yaxis()
        style.label_bottom(axes, "time (%)")
        style.legend_below(figure, axes)
    return figure
