"""Figure 7: hypervolume by training of the super-network, on the same 100 sub-networks (section 4.1.3).

Beside the paper's six strategies it shows two variants of the distillation term, which at T = 10 without the factor T^2
has 1 to 3 % of the gradient of the label loss.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import TRAININGS, MissingRuns
from nasbench.analysis.experiments.selection import random_samples, subset, trainings
from nasbench.analysis.figures import boxes
from nasbench.analysis.scoring.scores import Scores

TITLE = "Hypervolume by training strategy, the same 100 sub-networks of SMALL"
COLOURS: dict[str, str] = dict(
    zip(
        TRAININGS,
        ("#B5BDC4", "#8FB8D4", "#5A9BC5", "#2F7DB2", "#115F95", "#073B63", "#C9A227", "#8A6D0B"),
        strict=True,
    )
)
"""One hue, darker for each strategy that adds to the previous strategies; another hue for what the paper lacks."""


def data(scores: Scores) -> pd.DataFrame:
    """One row for each run, with the columns :data:`nasbench.analysis.figures.boxes.COLUMNS`.

    Raises:
        MissingRuns: if no scenario has runs of two trainings. The column ``strategy`` has the name of the training.
    """
    in_small = random_samples(scores.runs) & (scores.runs["space"] == "small").to_numpy(dtype=np.bool_)
    chosen = subset(scores, in_small)
    found = boxes.final_hypervolumes(chosen, trainings(chosen.runs))
    n_compared = found.groupby("scenario")["strategy"].nunique()
    if not len(n_compared) or n_compared.max() < 2:
        raise MissingRuns("figure 7", "fig7")
    return found


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each scenario and one box for each training."""
    return boxes.draw(data, "strategy", {name: name for name in TRAININGS}, COLOURS)
