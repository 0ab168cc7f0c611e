"""Figure 9: Pareto fronts of single runs on SST-2, IMDB and QNLI, which the paper picks (section 4.2).

The paper shows BERT-base; the figure also has panels for every other model except RoBERTa-base.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nasbench.analysis.experiments.definitions import ROBERTA
from nasbench.analysis.figures import pareto_fronts
from nasbench.analysis.reading.results import Results

TITLE = "Pareto fronts of single runs on SST-2, IMDB and QNLI"
TASKS = ("sst2", "imdb", "qnli")


def shows(task: str, model: str) -> bool:
    """Whether the figure includes runs on a task and a model."""
    return task in TASKS and model != ROBERTA


def data(results: Results) -> pd.DataFrame:
    """The rows of :func:`nasbench.analysis.figures.pareto_fronts.single_runs` for these tasks."""
    keep = np.asarray(results.runs["task"].isin(TASKS) & (results.runs["model"] != ROBERTA), dtype=np.bool_)
    return pareto_fronts.single_runs(results, keep, "figure 9")


draw = pareto_fronts.draw
