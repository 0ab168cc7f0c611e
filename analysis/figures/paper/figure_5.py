"""Figure 5: hypervolume by search space, 100 random sub-networks of a trained super-network (section 4.1.1).

As in the paper, the super-network of each space is trained in that space. The figure ``5-shared``, which is not in the
paper, has all spaces on one super-network, trained in SMALL.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import BEST_STRATEGY, MissingRuns
from nasbench.analysis.experiments.selection import random_samples, subset, trainings
from nasbench.analysis.figures import boxes, style
from nasbench.analysis.scoring.scores import Scores
from nasbench.networks.space import PAPER_SPACES

TITLE = "Hypervolume by search space, 100 random sub-networks of a super-network trained in that space"
SHARED_TITLE = "Hypervolume by search space, 100 random sub-networks of one super-network trained in SMALL"


def data(scores: Scores, shared: bool = False) -> pd.DataFrame:
    """One row for each run, with the columns :data:`nasbench.analysis.figures.boxes.COLUMNS`.

    The full, the smallest and the middle network, which every run evaluates first, are included.

    Args:
        shared: show the runs on super-networks trained in SMALL, instead of those trained in each space.

    Raises:
        MissingRuns: if no scenario has runs in two spaces.
    """
    chosen = subset(scores, random_samples(scores.runs, shared))
    names = trainings(chosen.runs)
    chosen = subset(chosen, np.array([name == BEST_STRATEGY for name in names], dtype=np.bool_))
    found = boxes.final_hypervolumes(chosen, [BEST_STRATEGY] * len(chosen.runs))
    n_compared = found.groupby("scenario")["space"].nunique()
    if not len(n_compared) or n_compared.max() < 2:
        raise MissingRuns("figure 5-shared" if shared else "figure 5", "fig5-shared" if shared else "fig5")
    return found


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each scenario and one box for each space."""
    return boxes.draw(data, "space", {name: name for name in PAPER_SPACES}, style.SPACES)
