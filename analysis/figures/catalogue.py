"""All figures by name. ``nasbench report --figure 6`` makes one figure; the report contains all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import BERT_BASE, ROBERTA
from nasbench.analysis.experiments.windows import in_window
from nasbench.analysis.figures import contest, critical_difference, families, method_fronts, weight_sharing
from nasbench.analysis.figures.paper import (
    figure_2,
    figure_3,
    figure_4,
    figure_5,
    figure_6,
    figure_7,
    figure_8,
    figure_9,
    figure_10,
    figure_11,
    figure_12,
    figure_13,
)
from nasbench.analysis.reading.results import Results
from nasbench.analysis.scoring.scores import Scores


@dataclass(frozen=True)
class FigureEntry:
    """A figure of the catalogue: its heading and title, and how to make it.

    Attributes:
        data: computes from results and scores the data that ``draw`` takes; raises
            :class:`~nasbench.analysis.experiments.definitions.MissingRuns` if there is nothing to draw.
        draw: draws the data.
        extra: not in the paper or the report's own set: drawn where its runs exist, and not missed where they do not.
        shows: whether the figure includes runs on a task and a model, by their names.
    """

    heading: str
    title: str
    data: Callable[[Results, Scores], Any]
    draw: Callable[[Any], Figure]
    shows: Callable[[str, str], bool] = lambda *_: True
    extra: bool = False


def _in_window(heading: str, title: str, data: Callable[[Scores], Any], draw: Callable[[Any], Figure]) -> FigureEntry:
    """The figure with the paper's window as its time axis, beside the one over whole budgets."""

    def within(results: Results, scores: Scores) -> Any:
        return data(in_window(results, scores))

    return FigureEntry(f"{heading} in the paper's window", f"{title}, in the paper's window", within, draw, extra=True)


FIGURES: dict[str, FigureEntry] = {
    "front": FigureEntry(
        "Fronts", method_fronts.TITLE, lambda results, _: method_fronts.data(results), method_fronts.draw
    ),
    "ranks": FigureEntry(
        "Critical difference",
        critical_difference.TITLE,
        lambda _, scores: critical_difference.data(scores),
        critical_difference.draw,
    ),
    "2": FigureEntry("Figure 2", figure_2.TITLE, lambda *_: figure_2.data(BERT_BASE), figure_2.draw),
    "3": FigureEntry("Figure 3", figure_3.TITLE, lambda *_: figure_3.data(BERT_BASE), figure_3.draw),
    "4": FigureEntry("Figure 4", figure_4.TITLE, lambda *_: figure_4.data(), figure_4.draw),
    "5": FigureEntry("Figure 5", figure_5.TITLE, lambda _, scores: figure_5.data(scores), figure_5.draw),
    "5-shared": FigureEntry(
        "Figure 5 on one super-network",
        figure_5.SHARED_TITLE,
        lambda _, scores: figure_5.data(scores, shared=True),
        figure_5.draw,
        extra=True,
    ),
    "6": FigureEntry("Figure 6", figure_6.TITLE, lambda _, scores: figure_6.data(scores), figure_6.draw),
    "6-window": _in_window("Figure 6", figure_6.TITLE, figure_6.data, figure_6.draw),
    "7": FigureEntry("Figure 7", figure_7.TITLE, lambda _, scores: figure_7.data(scores), figure_7.draw),
    "8": FigureEntry("Figure 8", figure_8.TITLE, lambda results, _: figure_8.data(results), figure_8.draw),
    "9": FigureEntry(
        "Figure 9",
        figure_9.TITLE,
        lambda results, _: figure_9.data(results),
        figure_9.draw,
        figure_9.shows,
    ),
    "10": FigureEntry(
        "Figure 10",
        figure_10.TITLE,
        lambda results, _: figure_10.data(results),
        figure_10.draw,
        lambda _, model: model != ROBERTA,
    ),
    "10-roberta": FigureEntry(
        "Figure 10 for RoBERTa-base",
        figure_10.ROBERTA_TITLE,
        lambda results, _: figure_10.data(results, roberta=True),
        figure_10.draw,
        lambda _, model: model == ROBERTA,
        extra=True,
    ),
    "11": FigureEntry("Figure 11", figure_11.TITLE, lambda _, scores: figure_11.data(scores), figure_11.draw),
    "11-window": _in_window("Figure 11", figure_11.TITLE, figure_11.data, figure_11.draw),
    "12": FigureEntry("Figure 12", figure_12.TITLE, lambda _, scores: figure_12.data(scores), figure_12.draw),
    "12-window": _in_window("Figure 12", figure_12.TITLE, figure_12.data, figure_12.draw),
    "13": FigureEntry(
        "Figure 13", figure_13.TITLE, lambda results, _: figure_13.data(results), figure_13.draw, extra=True
    ),
    "families": FigureEntry(
        "Families", families.TITLE, lambda results, _: families.data(results), families.draw, extra=True
    ),
    "contest": FigureEntry(
        "Contest", contest.TITLE, lambda results, _: contest.data(results), contest.draw, extra=True
    ),
    "weight-sharing": FigureEntry(
        "Weight sharing",
        weight_sharing.TITLE,
        lambda results, _: weight_sharing.data(results),
        weight_sharing.draw,
        extra=True,
    ),
}
"""The figures in the order of the page."""
