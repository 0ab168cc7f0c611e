"""The objectives of runs as the tables name them. Runs with different objectives are never compared."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from nasbench.declarations.task import OBJECTIVES
from nasbench.objectives.declared import DECLARED, is_modelled

USUAL = ",".join(OBJECTIVES)
"""The text in the column ``objectives`` of runs with error and parameters."""
COST = "cost."
"""What the columns of costs begin with; the parameters have a column of their own."""
MEASURED = {f"{COST}{name}": f"measured_{name}" for name in DECLARED if is_modelled(name)}
"""By the column of a modelled cost, the column of its measured values of networks on a front."""


def label(objectives: Sequence[str] | None) -> str:
    """What the names of tracks and scenarios of runs with these objectives end with: nothing for the usual ones."""
    return "" if objectives is None or ",".join(objectives) == USUAL else f":{'+'.join(objectives)}"


def columns(objectives: str) -> list[str]:
    """The columns of the evaluations that hold the values of these objectives, the error first."""
    return [name if name in OBJECTIVES else f"{COST}{name}" for name in objectives.split(",")]


def of_rows(evaluations: pd.DataFrame) -> pd.Series:
    """The objectives of each evaluation as text, ``(n,)``; the usual ones for a frame that does not say."""
    if "objectives" in evaluations:
        return evaluations["objectives"]
    return pd.Series(USUAL, index=evaluations.index, dtype=str)


def in_use(evaluations: pd.DataFrame) -> list[str]:
    """The columns of all objectives of a frame, the usual two first."""
    texts = sorted(map(str, of_rows(evaluations).unique()))
    return [*dict.fromkeys([*OBJECTIVES, *(name for text in texts for name in columns(text))])]
