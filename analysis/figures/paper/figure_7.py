"""Figure 7: hypervolume by training strategy of the super-network, on the same 100 sub-networks (section 4.1.3)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.experiments.selection import option, random_samples, subset
from nasbench.analysis.figures import boxes
from nasbench.analysis.scoring.scores import Scores
from nasbench.training.strategies import STRATEGIES

TITLE = "Hypervolume by training strategy, the same 100 sub-networks of SMALL"
COLOURS: dict[str, str] = dict(
    zip(STRATEGIES, ("#B5BDC4", "#8FB8D4", "#5A9BC5", "#2F7DB2", "#115F95", "#073B63"), strict=True)
)
"""One hue, darker for each strategy that adds to the previous strategies."""


def data(scores: Scores) -> pd.DataFrame:
    """One row for each run, with the columns :data:`nasbench.analysis.figures.boxes.COLUMNS`.

    Raises:
        MissingRuns: if no scenario has runs with two strategies.
    """
    in_small = random_samples(scores.runs) & (scores.runs["space"] == "small").to_numpy(dtype=np.bool_)
    chosen = subset(scores, in_small)
    found = boxes.final_hypervolumes(chosen, option(chosen.runs, "strategy"))
    n_compared = found.groupby("scenario")["strategy"].nunique()
    if not len(n_compared) or n_compared.max() < 2:
        raise MissingRuns("figure 7", "fig7")
    return found


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each scenario and one box for each strategy."""
    return boxes.draw(data, "strategy", {name: name for name in STRATEGIES}, COLOURS)
