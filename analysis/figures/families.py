"""Which family of compression owns which part: the best test metric at each size, of pruning, NAS and the others.

Sizes are bytes of the weights, because a quantised network has fewer bytes and as many parameters. A family chooses
among the networks of all its methods. Quantisation is a family of its own where it is applied to the full network, and
one family with each other where it is applied to the networks of a front.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures import best_by_size
from nasbench.analysis.reading.objectives import USUAL
from nasbench.analysis.reading.quantized import variants
from nasbench.analysis.reading.results import Results

TITLE = "Which family of compression is best at which size; the strip is pale where it is not separated from the next"
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "pruning": ("head-pruning", "rfp", "layer-dropping", "shortgpt", "wanda-sp", "flap", "magnitude", "learned-gates"),
    "NAS": ("s-nas", "ws-nas", "ws-nas-depth", "ws-nas-ordered"),
    "distillation": ("distillation",),
    "low rank": ("low-rank",),
}
"""Methods of each family, beside quantisation; any other method is in the family of its searcher and its space."""
QUANTISED = "quantised"
LIMITS = np.round(np.arange(0.05, 1.0001, 0.01), 2)
"""Limits on the bytes, as shares of those of the full network in fp32."""
COLOURS = {
    "pruning": "#0072B2",
    "NAS": "#D55E00",
    "distillation": "#009E73",
    "low rank": "#E69F00",
    QUANTISED: "#CC79A7",
    f"pruning, {QUANTISED}": "#332288",
    f"NAS, {QUANTISED}": "#56B4E9",
    f"distillation, {QUANTISED}": "#117733",
    f"low rank, {QUANTISED}": "#999933",
}


def data(results: Results) -> pd.DataFrame:
    """The rows of :func:`~nasbench.analysis.figures.best_by_size.table` for families, in scenarios of two or more.

    The limits are on the bytes of the weights.

    Raises:
        MissingRuns: if no scenario has networks of two families.
    """
    chosen = results.finished()
    runs = chosen.runs[chosen.runs["objectives"] == USUAL]
    networks = pd.concat([_pruned(chosen, runs), _quantised(runs)], ignore_index=True)
    networks = networks[networks.groupby("scenario")["name"].transform("nunique") > 1]
    if networks.empty:
        raise MissingRuns("the figure of families, which needs runs of two", "fig8")
    return best_by_size.table(networks, runs, LIMITS)


def _pruned(results: Results, runs: pd.DataFrame) -> pd.DataFrame:
    """Networks with test results whose weights are in fp32."""
    found = results.evaluations[["run_row", "index", "params", "error", "test_error"]].dropna(subset="test_error")
    found = found.join(runs[["scenario", "seed"]].assign(name=_families(runs)), on="run_row", how="inner")
    return found.rename(columns={"params": "size"})


def _families(runs: pd.DataFrame) -> pd.Series:
    """The family of each run, see :data:`FAMILIES`.

    A method that is not listed searches if it has a searcher, factorises in the space ``ranks``, and else prunes.
    """
    listed = runs["method"].map({method: family for family, methods in FAMILIES.items() for method in methods})
    searches, factorises = runs["algorithm"] != runs["method"], runs["space"] == "ranks"
    return listed.fillna(pd.Series(np.select([searches, factorises], ["NAS", "low rank"], "pruning"), runs.index))


def _quantised(runs: pd.DataFrame) -> pd.DataFrame:
    """Networks whose weights are not in fp32."""
    table = variants(runs)
    whole = table[table["is_full"] & (table["scheme"] == "fp32")].groupby("run")["megabytes"].first()
    table = table[(table["scheme"] != "fp32") & table["test_error"].notna()]
    family = table["run"].map(dict(zip(runs["run"], _families(runs), strict=True)))
    name = np.where(table["is_full"], QUANTISED, family + f", {QUANTISED}")
    table = table.join(whole.rename("whole"), on="run").assign(name=name)
    table = table.assign(size=table["megabytes"] / table["whole"]).dropna(subset=["size", "name"])
    return table[["scenario", "seed", "name", "index", "size", "error", "test_error"]]


def draw(data: pd.DataFrame) -> Figure:
    """Draw the table, see :func:`nasbench.analysis.figures.best_by_size.draw`."""
    looks = {family: (family, colour) for family, colour in COLOURS.items()}
    return best_by_size.draw(data, looks, "bytes of the weights,\n% of the full network in fp32")
