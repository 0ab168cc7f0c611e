"""Plot one run: all its evaluated networks and their Pareto front, error against size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nasbench.arrays import FloatArray
from nasbench.errors import NasbenchError
from nasbench.objectives.declared import DECLARED, USUAL
from nasbench.records.front import front_of, full_network, is_no_better_than_constant
from nasbench.records.record import Evaluation, RunRecord

BLUE, GREY, RED = "#0072B2", "#9A9A9A", "#D55E00"
"""Colours that colour-blind readers can tell apart; blue and red are from the palette of Okabe and Ito."""


class Picture(Figure):
    """A figure that a notebook shows without any setup."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def draw_front(record: RunRecord, evaluations: Sequence[Evaluation]) -> Figure:
    """Validation error against the first cost, in per cent of the full network's; that is the parameters by default.

    With three objectives, the colours of the front are the second cost.
    """
    identity = record.identity
    figure = Picture(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    front, full = front_of(evaluations), full_network(record, evaluations)
    sizes, errors = _points(evaluations)
    n_measured = int(np.isfinite(errors).sum())
    axes.scatter(sizes, errors, s=14, color=GREY, alpha=0.45, linewidths=0, label=f"evaluated ({n_measured})")
    sizes, errors = _points(front)
    names = [name for name in identity.objectives or USUAL if name != "error"]
    if len(names) == 1:
        axes.step(sizes, errors, where="post", color=BLUE, linewidth=1.2)
        axes.plot(sizes, errors, "o", color=BLUE, markersize=5, label=f"Pareto front ({len(front)})")
    else:
        seconds = [100 * evaluation.cost_values[1] for evaluation in front]
        shown = axes.scatter(sizes, errors, c=seconds, cmap="viridis", s=30, label=f"Pareto front ({len(front)})")
        figure.colorbar(shown, label=_axis(names[1]))
    test_errors = np.array([evaluation.test_error for evaluation in front], dtype=np.float64)
    axes.plot(sizes, test_errors, "o", color=BLUE, markerfacecolor="none", markersize=5, alpha=0.7, label="test error")
    if full is not None:
        axes.plot(*_points([full]), "*", color=RED, markersize=13, label="full network")
    if record.constant_error is not None:
        n_useless = sum(is_no_better_than_constant(record, evaluation) for evaluation in front)
        name = "majority class" if record.metric == "accuracy" else "constant answer"
        name += f" ({n_useless} of the front no better)" if n_useless else ""
        axes.axhline(record.constant_error, color=GREY, linewidth=1, linestyle=":", label=name)
    axes.set_xlabel(_axis(names[0]))
    axes.set_ylabel(f"validation error (1 - {record.metric})")
    axes.set_title(
        f"{identity.algorithm} on {identity.task}, {identity.model}, space {identity.space}, seed {identity.seed}",
        fontsize=10,
        parse_math=False,
    )
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(framealpha=0.9, edgecolor="none", fontsize=9)
    return figure


def save_front(record: RunRecord, evaluations: Sequence[Evaluation], folder: Path) -> Path:
    """Write ``front.png`` and ``front.svg`` into the run's folder.

    Returns:
        The path of ``front.png``.

    Raises:
        NasbenchError: if they cannot be written.
    """
    figure = draw_front(record, evaluations)
    try:
        # Without a date and with fixed ids, the same front always gives the same file.
        with rc_context({"svg.hashsalt": "nasbench"}):
            figure.savefig(folder / "front.svg", metadata={"Date": None})
        figure.savefig(folder / "front.png", dpi=160)
    except OSError as error:
        raise NasbenchError(f"the record is complete, its picture cannot be written: {error}") from error
    return folder / "front.png"


def _axis(name: str) -> str:
    title = DECLARED[name].title if name in DECLARED else name
    return f"{title} (% of the full network)"


def _points(evaluations: Sequence[Evaluation]) -> tuple[FloatArray, FloatArray]:
    """First costs in per cent and validation errors, ``(n,)`` each. The error of a failed evaluation is NaN."""
    sizes = np.array([100 * evaluation.cost_values[0] for evaluation in evaluations], dtype=np.float64)
    return sizes, np.array([evaluation.error for evaluation in evaluations], dtype=np.float64)
