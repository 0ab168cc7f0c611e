"""Figure 10: Pareto fronts of single runs on every data set (appendix E).

The paper shows BERT-base; the figure also has panels for every other model except RoBERTa-base, whose panels are the
figure ``10-roberta``, which is not in the paper.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nasbench.analysis.experiments.definitions import ROBERTA
from nasbench.analysis.figures import pareto_fronts
from nasbench.analysis.reading.results import Results

TITLE = "Pareto fronts of single runs on every data set, all models but RoBERTa-base"
ROBERTA_TITLE = "Pareto fronts of single runs on every data set, RoBERTa-base"


def data(results: Results, roberta: bool = False) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.figures.pareto_fronts.single_runs` for every task.

    Args:
        roberta: show RoBERTa-base instead of all other models.
    """
    keep = np.asarray((results.runs["model"] == ROBERTA) == roberta, dtype=np.bool_)
    return pareto_fronts.single_runs(results, keep, "figure 10-roberta" if roberta else "figure 10")


draw = pareto_fronts.draw
