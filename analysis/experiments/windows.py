"""The paper's windows of time for the comparisons of searchers (figures 6, 11, 12).

The paper does not show whole budgets: on RTE, standard NAS is followed for 2,500 s, and weight-sharing NAS from 150 to
400 s, in which about 100 sub-networks are evaluated. Seconds of the paper's models on a GPU are taken as they are. A
small model on a CPU has another speed, so there

- standard NAS has the paper's share of the paper's budget, at most all of it, and
- weight-sharing NAS begins in each run with its own first evaluation. The windows of a block have one length: the time
  in which the fastest searcher evaluates 100 networks beside the three that all evaluate first.

One of two trainings may take minutes longer than the other, and these 100 evaluations take as long. Windows at the same
seconds would compare the trainings, not the searchers.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nasbench.analysis.experiments.definitions import (
    N_INITIAL,
    N_RANDOM,
    STANDARD_SEARCHERS,
    WEIGHT_SHARING_SEARCHERS,
)
from nasbench.analysis.experiments.selection import subset, usual
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring.scores import Scores, horizon_s, score
from nasbench.arrays import BoolArray, FloatArray
from nasbench.declarations.model import DeviceClass, Track
from nasbench.plugins import registry

WEIGHT_SHARING_S = {
    "rte": (150.0, 400.0),
    "mrpc": (150.0, 500.0),
    "stsb": (200.0, 1_000.0),
    "cola": (205.0, 1_000.0),
    "imdb": (500.0, 10_000.0),
    "sst2": (150.0, 1_000.0),
    "swag": (500.0, 5_000.0),
    "qnli": (200.0, 2_000.0),
}
"""Begin and end of the paper's window for weight-sharing NAS, by task (figure 12)."""
STANDARD_S = {
    "rte": 2_500.0,
    "mrpc": 3_500.0,
    "stsb": 5_000.0,
    "cola": 7_000.0,
    "imdb": 30_000.0,
    "sst2": 50_000.0,
    "swag": 14_000.0,
    "qnli": 70_000.0,
}
"""End of the paper's window for standard NAS, by task (figure 11). It is longer than the paper's budget of some."""
SEARCHERS = {"s-nas": STANDARD_SEARCHERS, "ws-nas": WEIGHT_SHARING_SEARCHERS}
_PAPERS: tuple[Track, DeviceClass] = ("paper", "gpu")
"""Track and device class on which the paper's seconds are taken as they are."""


def in_window(results: Results, scores: Scores) -> Scores:
    """The scores of the runs that compare searchers, with the window of each run as its time axis.

    Args:
        results: the results behind the scores.
        scores: their scores; the window has the same quantiles and number of time steps.

    Returns:
        Scores of the usual runs of s-nas and ws-nas in SMALL. ``begin_s`` and ``end_s`` of its runs are the window; the
        time step ``t`` is at ``begin_s + t * (end_s - begin_s)``.
    """
    finished = results.finished()
    keep = compares_searchers(finished.runs)
    limits = windows_s(finished.runs, finished.evaluations)
    begin = np.where(np.isnan(limits[:, 0]), 0.0, limits[:, 0])
    end = np.where(np.isnan(limits[:, 1]), horizon_s(finished.runs), limits[:, 1])
    within = score(results, scores.quantiles, len(scores.grid), limits_s=np.column_stack([begin, end]))
    return subset(within, keep)


def compares_searchers(runs: pd.DataFrame) -> BoolArray:
    """Usual runs of s-nas and ws-nas in SMALL with one of the paper's searchers, ``(n_runs,)``."""
    known = np.zeros(len(runs), dtype=np.bool_)
    for method, searchers in SEARCHERS.items():
        known |= np.asarray((runs["method"] == method) & runs["searcher"].isin(searchers), dtype=np.bool_)
    return known & usual(runs) & (runs["space"] == "small").to_numpy(dtype=np.bool_)


def windows_s(runs: pd.DataFrame, evaluations: pd.DataFrame) -> FloatArray:
    """Begin and end of the window of each run in charged seconds, ``(n_runs, 2)``; NaN for other runs.

    Args:
        runs: the runs, as in :class:`~nasbench.analysis.reading.results.Results`.
        evaluations: their evaluations.
    """
    limits = np.full((len(runs), 2), np.nan)
    keep = compares_searchers(runs)
    horizon = horizon_s(runs)
    ends = {row: np.sort(times.to_numpy()) for row, times in evaluations.groupby("run_row")["elapsed_s"]}
    for (_, method, _), block in runs[keep].groupby(["scenario", "method", "seed"], observed=True):
        rows = block.index.to_numpy()
        task, is_papers = str(block["task"].iloc[0]), tuple(block[["track", "device_class"]].iloc[0]) == _PAPERS
        if method == "s-nas":
            paper_budget = registry.tasks()[task].budgets.get(_PAPERS) if task in STANDARD_S else None
            begin, end = 0.0, float(horizon[rows].max())
            if is_papers and paper_budget:
                end = STANDARD_S[task]
            elif paper_budget:
                end *= min(1.0, STANDARD_S[task] / paper_budget)
        elif is_papers and task in WEIGHT_SHARING_S:
            begin, end = WEIGHT_SHARING_S[task]
        else:
            limits[rows] = _from_first_evaluations([ends.get(row, np.zeros(0)) for row in rows], horizon[rows])
            continue
        end = min(end, float(horizon[rows].max()))
        limits[rows] = (begin, end) if end > begin else (0.0, float(horizon[rows].max()))
    return limits


def _from_first_evaluations(times: list[FloatArray], budgets_s: FloatArray) -> FloatArray:
    """Begin and end of equally long windows from the first evaluation of each run, ``(n_runs, 2)``.

    No window reaches beyond the budget of its run; where that shortens one, it shortens all. A run that evaluates
    nothing in its budget has the whole budget as its window.

    Args:
        times: charged seconds of the evaluations of each run, ascending.
        budgets_s: ``(n_runs,)``.
    """
    n = N_INITIAL + N_RANDOM
    begin = np.array([of_run[0] if len(of_run) else np.inf for of_run in times])
    searches = begin < budgets_s
    lengths = [*(budgets_s - begin)[searches], *(of_run[n - 1] - of_run[0] for of_run in times if len(of_run) >= n)]
    length = min((length for length in lengths if length > 0), default=0.0)
    begin[~searches] = 0.0
    return np.column_stack([begin, np.where(searches, begin + length, budgets_s)])
