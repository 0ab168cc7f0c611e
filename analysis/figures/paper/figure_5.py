"""Figure 5: hypervolume by search space, 100 random sub-networks of one trained super-network (section 4.1.1)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import BEST_STRATEGY, MissingRuns
from nasbench.analysis.experiments.selection import option, random_samples, subset
from nasbench.analysis.figures import boxes, style
from nasbench.analysis.scoring.scores import Scores
from nasbench.networks.space import PAPER_SPACES

TITLE = "Hypervolume by search space, 100 random sub-networks of one super-network"


def data(scores: Scores) -> pd.DataFrame:
    """One row for each run, with the columns :data:`nasbench.analysis.figures.boxes.COLUMNS`.

    The full, the smallest and the middle network, which every run evaluates first, are included.

    Raises:
        MissingRuns: if no scenario has runs in two spaces.
    """
    chosen = subset(scores, random_samples(scores.runs))
    strategies = option(chosen.runs, "strategy")
    chosen = subset(chosen, np.array([strategy == BEST_STRATEGY for strategy in strategies], dtype=np.bool_))
    found = boxes.final_hypervolumes(chosen, [BEST_STRATEGY] * len(chosen.runs))
    n_compared = found.groupby("scenario")["space"].nunique()
    if not len(n_compared) or n_compared.max() < 2:
        raise MissingRuns("figure 5", "fig5")
    return found


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each scenario and one box for each space."""
    return boxes.draw(data, "space", {name: name for name in PAPER_SPACES}, style.SPACES)
