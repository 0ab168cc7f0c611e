"""Does a super-network predict which networks are good once they are fine-tuned alone?

The experiment ``weight-sharing`` measures the same networks of LAYER twice: fine-tuned alone (s-nas), and read off a
super-network (ws-nas). Each network's *predicted* error is the shared one. The rival predictor knows the number of
parameters only: the larger, the better. A predictor that is no better than it is not worth a super-network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from nasbench.analysis.experiments.selection import every_layer_network
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring.intervals import interval_on_tasks_like_these, interval_on_these_tasks
from nasbench.arrays import FloatArray

TOP = (1, 5, 10)
"""How many of the networks that look best are fine-tuned, for the regret."""
PREDICTORS = ("super-network", "number of parameters")
ALL = "all"
"""Stands for all scenarios together."""
DIFFERENCE = "super-network - number of parameters"
MEASURES = ("tau", "tau within bins", *(f"regret of top {k}" for k in TOP), "regret within bins")


def pairs(results: Results) -> pd.DataFrame:
    """The networks that both runs of a block have measured.

    Returns:
        One row for each network of each block: ``scenario, task, model, device_class, seed, config, params, shared,
        alone``. ``shared`` and ``alone`` are validation errors.
    """
    finished = results.finished()
    runs = finished.runs
    rows = np.flatnonzero(every_layer_network(runs))
    chosen = finished.evaluations[finished.evaluations["run_row"].isin(rows)].dropna(subset="error")
    keys = ["scenario", "task", "model", "device_class", "seed", "config"]
    plain = chosen.astype(dict.fromkeys([*keys[:4], "method"], str))
    alone, shared = (plain[plain["method"] == method] for method in ("s-nas", "ws-nas"))
    both = alone[[*keys, "params", "error"]].merge(shared[[*keys, "error"]], on=keys, suffixes=("_alone", "_shared"))
    return both.rename(columns={"error_alone": "alone", "error_shared": "shared"})


def table(pairs: pd.DataFrame) -> pd.DataFrame:
    """The measures of both predictors and their difference, with 95 % intervals over seeds.

    A bin holds the networks with the same number of parameters. Number of parameters alone says nothing within one.

    Args:
        pairs: from :func:`pairs`.

    Returns:
        One row for each scenario, measure and predictor: ``scenario, measure, predictor, mean, low, high, task_low,
        task_high, n_seeds, n_networks``. ``low`` and ``high`` say how much other seeds would change the value; they
        are NaN for fewer than three seeds. With several scenarios, rows of the scenario :data:`ALL` follow;
        ``task_low`` and ``task_high`` say what to expect on other tasks, NaN for fewer than three tasks, and
        ``n_seeds`` counts pairs of a scenario and a seed.
    """
    values = pd.DataFrame(list(_values(pairs)), columns=["scenario", "seed", "measure", "predictor", "value", "n"])
    rows = []
    for (scenario, measure, predictor), part in values.groupby(["scenario", "measure", "predictor"], sort=False):
        found = part["value"].dropna()
        mean, low, high = interval_on_these_tasks(found, np.full(len(found), scenario))
        rows.append((scenario, measure, predictor, mean, low, high, np.nan, np.nan, len(found), int(part["n"].min())))
    if len(pairs["scenario"].unique()) > 1:
        for (measure, predictor), part in values.dropna().groupby(["measure", "predictor"], sort=False):
            mean, low, high = interval_on_these_tasks(part["value"], part["scenario"], tasks_alike=True)
            _, task_low, task_high = interval_on_tasks_like_these(part["value"], part["scenario"])
            n = int(part["n"].min())
            rows.append((ALL, measure, predictor, mean, low, high, task_low, task_high, len(part), n))
    columns = ["scenario", "measure", "predictor", "mean", "low", "high", "task_low", "task_high"]
    return pd.DataFrame(rows, columns=[*columns, "n_seeds", "n_networks"])


def _values(pairs: pd.DataFrame) -> Iterator[tuple[str, int, str, str, float, int]]:
    for _, block in pairs.groupby(["scenario", "seed"]):
        scenario, seed = str(block["scenario"].iloc[0]), int(block["seed"].iloc[0])
        truth, params = block["alone"].to_numpy(), block["params"].to_numpy()
        of_both = [measures(predicted, truth, params) for predicted in (block["shared"].to_numpy(), -params)]
        for measure in MEASURES:
            first, second = (found[measure] for found in of_both)
            for predictor, value in zip((*PREDICTORS, DIFFERENCE), (first, second, first - second), strict=True):
                yield scenario, seed, measure, predictor, value, len(block)


def measures(predicted: FloatArray, truth: FloatArray, params: FloatArray) -> dict[str, float]:
    """All :data:`MEASURES` of a predictor.

    Args:
        predicted: ``(n,)``, the smaller, the better the network looks.
        truth: ``(n,)``, errors of the networks fine-tuned alone.
        params: ``(n,)``; networks with equal values form a bin.
    """
    bins = [params == value for value in np.unique(params)]
    bins = [members for members in bins if members.sum() > 1]
    found = {"tau": tau(predicted, truth), "tau within bins": tau(predicted, truth, params)}
    for k in TOP:
        found[f"regret of top {k}"] = top_error(predicted, truth, k) - float(truth.min())
    regrets = [top_error(predicted[b], truth[b], 1) - float(truth[b].min()) for b in bins]
    return found | {"regret within bins": float(np.mean(regrets)) if regrets else float("nan")}


def tau(predicted: FloatArray, truth: FloatArray, bins: FloatArray | None = None) -> float:
    """Kendall's tau-b (Kendall 1945), over all pairs, or over the pairs of equal ``bins`` only.

    Returns:
        Between -1 and 1; 0 if all predictions are tied, as those of the number of parameters within its bins; NaN
        without pairs of different truth.
    """
    upper = np.triu_indices(len(truth), 1)
    signs = [np.sign(values[upper[0]] - values[upper[1]]) for values in (predicted, truth)]
    if bins is not None:
        same = bins[upper[0]] == bins[upper[1]]
        signs = [values[same] for values in signs]
    untied = [float(np.abs(values).sum()) for values in signs]
    if untied[1] == 0:
        return float("nan")
    return float(signs[0] @ signs[1]) / math.sqrt(untied[0] * untied[1]) if untied[0] else 0.0


def top_error(predicted: FloatArray, truth: FloatArray, k: int) -> float:
    """The lowest true error among the ``k`` networks that look best.

    Networks that look equally good around the ``k``-th place are chosen at random; the value is the expectation.

    Args:
        predicted: ``(n,)``.
        truth: ``(n,)``.
        k: at least 1; the whole set if it is larger.
    """
    k = min(k, len(truth))
    limit = np.sort(predicted)[k - 1]
    sure, tied = truth[predicted < limit], np.sort(truth[predicted == limit])
    best, m, n = float(sure.min(initial=np.inf)), k - len(sure), len(tied)
    # The lowest of m of the n tied errors is the i-th one if the other m - 1 are among the later ones.
    chances = [math.comb(n - i - 1, m - 1) / math.comb(n, m) for i in range(n)]
    return float(sum(chance * min(best, value) for chance, value in zip(chances, tied.tolist(), strict=True)))
