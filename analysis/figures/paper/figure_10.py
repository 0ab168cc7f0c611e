"""Figure 10: Pareto fronts of single runs on RoBERTa-base."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nasbench.analysis.experiments.definitions import ROBERTA
from nasbench.analysis.figures import pareto_fronts
from nasbench.analysis.reading.results import Results

TITLE = "Pareto fronts of single runs, RoBERTa-base"


def data(results: Results) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.figures.pareto_fronts.single_runs` for RoBERTa-base."""
    keep = np.asarray(results.runs["model"] == ROBERTA, dtype=np.bool_)
    return pareto_fronts.single_runs(results, keep, "figure 10")


draw = pareto_fronts.draw
