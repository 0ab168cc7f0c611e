"""Test metric of the best network under a limit on parameters, relative to the full network (figure 8)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasbench.analysis.reading.entries import option
from nasbench.analysis.reading.results import Results
from nasbench.analysis.reading.scenarios import of_language_models
from nasbench.arrays import BoolArray, FloatArray, IntArray

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FULL_NETWORK_METHODS = ("head-pruning", "rfp")
"""The two of the paper's methods that only fine-tune the full network, and evaluate it before they prune it.

Other baselines do so, too, and are not used: the metric of a scenario does not depend on which of them have run.
Neither are runs of these two with changed options, another budget or a limit on the evaluations.
"""
UNTRAINED_METHODS = (*FULL_NETWORK_METHODS, "shortgpt", "wanda-sp", "flap", "magnitude")
"""Methods that evaluate a language model as it is, unless ``epochs`` is set, before they prune it.

All of them evaluate the same network: FLAP adds biases, which are 0 in the full network.
"""


def relative_performance(
    results: Results, thresholds: npt.ArrayLike = THRESHOLDS, *, prunable: bool = False
) -> pd.DataFrame:
    """The best network of each run at each limit on the fraction of parameters.

    Among the configurations within the limit, the one with the lowest *validation* error is picked; of equal errors the
    smaller network, then the earlier one. Its *test* metric is reported. The picked network is on the run's Pareto
    front, so it has a test metric. The metric is divided by that of the full network, see :func:`full_metric`.

    Args:
        results: runs that have ended; left unchanged.
        thresholds: ``(n_thresholds,)``, fractions of the full network's parameters.
        prunable: whether thresholds are fractions of the parameters that can be pruned, those of the layers, instead of
            all. Embeddings are 53 % of MiniLM, so no network has 50 % of all its parameters.

    Returns:
        One row per run and threshold: ``run_row, run, entry, algorithm, scenario, task, model, seed, threshold``;
        ``index, params, error, test_metric`` of the picked network; ``full_metric``; and ``relative =
        test_metric / full_metric``. Values are NaN if the run has no network within the limit or a test metric is
        missing. ``relative`` is also NaN if ``full_metric`` is not positive, which a Matthews or Spearman correlation
        may be.
    """
    runs = results.runs
    beta = np.asarray(thresholds, dtype=np.float64)
    evaluations = results.evaluations
    sizes = prunable_fraction(results) if prunable else evaluations["params"].to_numpy(dtype=np.float64)
    picked = _picks(evaluations, sizes, len(runs), beta)
    names = ["run", "entry", "algorithm", "scenario", "task", "model", "seed"]
    rows = np.repeat(np.arange(len(runs)), len(beta))
    frame = runs[names].iloc[rows].reset_index(drop=True)
    frame.insert(0, "run_row", rows)
    frame["threshold"] = np.tile(beta, len(runs))
    # An extra row -1, all NaN, stands for "nothing picked".
    chosen = results.evaluations[["index", "params", "error", "test_error"]].astype(np.float64)
    chosen = chosen.reindex([*range(len(chosen)), -1]).iloc[picked.ravel()].reset_index(drop=True)
    frame[["index", "params", "error"]] = chosen[["index", "params", "error"]]
    frame["test_metric"] = 1.0 - chosen["test_error"]
    frame["full_metric"] = full_metric(results)[rows]
    frame["relative"] = frame["test_metric"] / frame["full_metric"].where(frame["full_metric"] > 0)
    return frame


def prunable_fraction(results: Results) -> FloatArray:
    """Kept share of the parameters that can be pruned, for each evaluation, ``(n_evaluations,)``.

    These are the parameters of the layers. NaN if the record does not know how many there are.
    """
    evaluations, rows = results.evaluations, results.evaluations["run_row"].to_numpy()
    whole, fixed = _parameters(results)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((evaluations["n_params"].to_numpy() - fixed[rows]) / (whole - fixed)[rows])


def prunable_parameters(results: Results) -> FloatArray:
    """Fraction of the full network's parameters that can be pruned, for each run, ``(n_runs,)``.

    These are the parameters of the layers. NaN if the record does not know how many there are.
    """
    whole, fixed = _parameters(results)
    return (whole - fixed) / whole


def _parameters(results: Results) -> tuple[FloatArray, FloatArray]:
    """Parameters of the full network of each run, all and those outside the layers, ``(n_runs,)`` each."""
    runs = results.runs
    counts = [(dims or {}).get("n_fixed_params") for dims in runs["dimensions"]]
    # Some sizes of a network are lists, so a foreign record may have a list here, too.
    fixed = np.array([n if isinstance(n, int) else np.nan for n in counts], dtype=np.float64)
    return runs["n_params_full"].to_numpy(dtype=np.float64), fixed


def full_metric(results: Results, error: str = "test_error") -> FloatArray:
    """The full network's test metric that each run is compared with, ``(n_runs,)``; NaN without such a metric.

    It is the mean over seeds of the full networks that the methods in :data:`FULL_NETWORK_METHODS` evaluated in the
    same scenario, with default options and the usual budget. On a language model's task, it is the metric of the
    network without any training, which the methods in :data:`UNTRAINED_METHODS` evaluated. In a scenario without such
    runs, it is the metric of the full network that the run itself evaluated.

    Args:
        results: runs and their evaluations.
        error: ``test_error``, or ``error`` for the validation metric.
    """
    runs, evaluations = results.runs, results.evaluations
    full = evaluations["n_params"].to_numpy() == runs["n_params_full"].to_numpy()[evaluations["run_row"].to_numpy()]
    known = evaluations[full & evaluations[error].notna().to_numpy()]
    own = (1.0 - known.groupby("run_row")[error].first()).reindex(range(len(runs)))
    references = pd.DataFrame({"scenario": runs["scenario"], "seed": runs["seed"], "metric": own.to_numpy()})
    references = references[_gives_reference(runs)].dropna()
    # Several methods of one seed evaluate the same network, so every seed has the same weight, not every run.
    by_scenario = references.groupby(["scenario", "seed"])["metric"].mean().groupby("scenario").mean()
    shared = runs["scenario"].map(by_scenario).to_numpy(dtype=np.float64)
    return np.where(np.isnan(shared), own.to_numpy(dtype=np.float64), shared)


def _gives_reference(runs: pd.DataFrame) -> BoolArray:
    """Runs whose full network is that of the scenario, see :func:`full_metric`, ``(n_runs,)``."""
    on_text = of_language_models(runs)
    # Brackets in the name of an entry hold what is changed: options of the training, its budget.
    is_usual = ~runs["entry"].astype(str).str.contains(" [", regex=False)
    fine_tuned = runs["method"].isin(FULL_NETWORK_METHODS) & is_usual
    gives = np.where(on_text, runs["method"].isin(UNTRAINED_METHODS), fine_tuned)
    # Epochs that are not set, or 0, leave a language model as it is.
    gives[on_text] &= np.array([not epochs for epochs in option(runs[on_text], "epochs")], dtype=np.bool_)
    return gives


def _picks(evaluations: pd.DataFrame, params: FloatArray, n_runs: int, beta: FloatArray) -> IntArray:
    """Row of the evaluation picked in each run at each threshold, ``(n_runs, n_thresholds)``; -1 for none.

    Args:
        params: size of each evaluated network, in the unit of the thresholds ``beta``.
    """
    error = evaluations["error"].to_numpy()
    run, index = evaluations["run_row"].to_numpy(), evaluations["index"].to_numpy()
    rows = np.flatnonzero((evaluations["status"] == "ok").to_numpy())
    preference = np.empty(len(rows), dtype=np.int64)
    preference[np.lexsort((index[rows], params[rows], error[rows]))] = np.arange(len(rows))
    order = np.lexsort((params[rows], run[rows]))
    rows, preference = rows[order], preference[order]
    # Running minimum by ascending parameters. An offset larger than its range makes it start anew in each run.
    offset = run[rows].astype(np.int64) * len(rows)
    best = np.minimum.accumulate(preference - offset) + offset
    row_of = np.empty(len(rows), dtype=np.int64)
    row_of[preference] = rows
    starts = np.searchsorted(run[rows], np.arange(n_runs))
    picked = np.full((n_runs, len(beta)), -1, dtype=np.int64)
    for column, limit in enumerate(beta):
        n_within = np.bincount(run[rows][params[rows] <= limit], minlength=n_runs)
        some = n_within > 0
        picked[some, column] = row_of[best[(starts + n_within - 1)[some]]]
    return picked
