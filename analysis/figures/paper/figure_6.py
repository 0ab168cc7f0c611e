"""Figure 6: average rank of the searchers over time, a) standard, b) weight-sharing NAS (sections 4.1.2, 4.1.3)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import STANDARD_SEARCHERS, WEIGHT_SHARING_SEARCHERS, MissingRuns
from nasbench.analysis.experiments.selection import subset, usual
from nasbench.analysis.figures import style
from nasbench.analysis.scoring.ranks import bootstrap_ranks
from nasbench.analysis.scoring.scores import Scores, block_table

TITLE = "Average rank of the searchers over time"
PANELS = {
    "s-nas": ("a) standard NAS", STANDARD_SEARCHERS),
    "ws-nas": ("b) weight-sharing NAS", WEIGHT_SHARING_SEARCHERS),
}


def data(scores: Scores, seed: int = 0) -> pd.DataFrame:
    """Average rank of each searcher over time, by hypervolume.

    Args:
        seed: seed of the bootstrap.

    Returns:
        One row for each searcher and time step: ``method, algorithm, time, rank, low, high, n_blocks``. ``time`` is the
        fraction of the budget that is spent. ``low`` and ``high`` bound 95 % of the bootstrap samples. ``n_blocks``
        counts the blocks (scenario and seed) that the searcher shares with another searcher.

    Raises:
        MissingRuns: if no two searchers share a block.
    """
    parts = []
    runs = scores.runs
    for method, (_, searchers) in PANELS.items():
        keep = usual(runs) & (
            (runs["method"] == method) & (runs["space"] == "small") & runs["searcher"].isin(searchers)
        )
        blocks = block_table(subset(scores, np.asarray(keep, dtype=np.bool_)), by="algorithm")
        bands = bootstrap_ranks(blocks.hypervolume, blocks.scenarios, np.random.default_rng(seed))
        for i, algorithm in enumerate(blocks.names):
            if bands.n_blocks[i]:
                columns = {"rank": bands.mean[i], "low": bands.low[i], "high": bands.high[i]}
                constant = {"method": method, "algorithm": algorithm, "n_blocks": int(bands.n_blocks[i])}
                parts.append(pd.DataFrame({**constant, "time": scores.grid, **columns}))
    if not parts:
        raise MissingRuns("figure 6", "fig6")
    return pd.concat(parts, ignore_index=True)


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each method and a line with its band for each searcher. Rank 1 is at the top."""
    methods = [method for method in PANELS if (data["method"] == method).any()]
    with style.applied():
        figure = style.new_figure(style.PAGE_IN if len(methods) > 1 else style.COLUMN_IN, 2.5)
        axes = figure.subplots(1, len(methods), squeeze=False).ravel().tolist()
        for ax, method in zip(axes, methods, strict=True):
            title, searchers = PANELS[method]
            for searcher in searchers:
                part = data[data["algorithm"] == f"{method}/{searcher}"]
                if part.empty:
                    continue
                look, time = style.look(f"{method}/{searcher}"), 100 * part["time"].to_numpy()
                ax.fill_between(time, part["low"], part["high"], color=look.colour, alpha=0.13, linewidth=0)
                name = style.searcher_name(f"{method}/{searcher}")
                ax.plot(
                    time, part["rank"], label=name, markevery=(len(part) // 10, max(len(part) // 5, 1)), **look.line
                )
            ax.set(title=title, xlabel="budget spent (%)", ylabel="average rank", xlim=(0, 100))
            ax.set_yticks(range(1, data.loc[data["method"] == method, "algorithm"].nunique() + 1))
            ax.invert_yaxis()
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=5, handlelength=1.8, columnspacing=1.2)
    return figure
