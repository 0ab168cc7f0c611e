"""Figure 11: hypervolume regret of the searchers over time, standard NAS (appendix E)."""

from __future__ import annotations

import pandas as pd

from nasbench.analysis.experiments.definitions import STANDARD_SEARCHERS
from nasbench.analysis.figures import regrets
from nasbench.analysis.scoring.scores import Scores

TITLE = "Hypervolume regret over time, standard NAS"


def data(scores: Scores) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.figures.regrets.over_time` for s-nas."""
    return regrets.over_time(scores, "s-nas", STANDARD_SEARCHERS, "figure 11", "fig11")


draw = regrets.draw
