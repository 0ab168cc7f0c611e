"""The contest of ``ws-nas-ordered`` with the two methods that it joins: the best test metric at each size.

On language modelling, it has more rivals.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import DECODER_ENTRIES, MissingRuns
from nasbench.analysis.figures import best_by_size, style
from nasbench.analysis.reading.objectives import USUAL
from nasbench.analysis.reading.results import Results
from nasbench.analysis.reading.scenarios import of_language_models

TITLE = "Which method is best at which size; the strip is pale where it is not separated from the next"
ENTRIES = ("rfp@large", "ws-nas/ehvi@small", "ws-nas-ordered/ehvi-exact@large")
"""The contestants, with their default options; on language modelling, those of :data:`DECODER_ENTRIES`."""
LIMITS = np.round(np.arange(0.2, 1.0001, 0.01), 2)
"""Limits on the parameters, as shares of those of the full network."""


def data(results: Results) -> pd.DataFrame:
    """The rows of :func:`~nasbench.analysis.figures.best_by_size.table` for the contestants, where two have runs.

    The limits are on the parameters.

    Raises:
        MissingRuns: if no scenario has runs of two contestants.
    """
    chosen = results.finished()
    entry = chosen.runs["entry"]
    takes_part = np.where(of_language_models(chosen.runs), entry.isin(DECODER_ENTRIES), entry.isin(ENTRIES))
    runs = chosen.runs[(chosen.runs["objectives"] == USUAL) & takes_part]
    runs = runs[runs.groupby("scenario")["entry"].transform("nunique") > 1]
    if runs.empty:
        raise MissingRuns("the figure of the contest, which needs runs of two of its methods", "fig8")
    networks = chosen.evaluations[["run_row", "index", "params", "error", "test_error"]].dropna(subset="test_error")
    networks = networks.join(runs[["scenario", "seed", "entry"]], on="run_row", how="inner")
    networks = networks.rename(columns={"params": "size", "entry": "name"})
    return best_by_size.table(networks, runs, LIMITS)


def draw(data: pd.DataFrame) -> Figure:
    """Draw the table, see :func:`nasbench.analysis.figures.best_by_size.draw`."""
    # No scenario has two contestants that differ in their options only, so the names leave the options out.
    looks = {entry: style.look(entry.partition(" [")[0]) for entry in (*ENTRIES, *DECODER_ENTRIES)}
    shown = {entry: (look.name, look.colour) for entry, look in looks.items()}
    return best_by_size.draw(data, shown, "parameters,\n% of the full network")
