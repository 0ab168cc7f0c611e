"""Figure 12: hypervolume regret of the searchers over time, weight-sharing NAS (appendix E)."""

from __future__ import annotations

import pandas as pd

from nasbench.analysis.experiments.definitions import WEIGHT_SHARING_SEARCHERS
from nasbench.analysis.figures import regrets
from nasbench.analysis.scoring.scores import Scores

TITLE = "Hypervolume regret over time, weight-sharing NAS"


def data(scores: Scores) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.figures.regrets.over_time` for ws-nas."""
    return regrets.over_time(scores, "ws-nas", WEIGHT_SHARING_SEARCHERS, "figure 12", "fig12")


draw = regrets.draw
