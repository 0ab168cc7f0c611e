"""Task metrics from logits. Every one is better when larger; error = 1 - metric."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from nasbench.declarations.task import MetricName

Labels = npt.NDArray[Any]


def compute(
    names: Iterable[MetricName], kind: str, logits: npt.NDArray[np.floating[Any]], labels: Labels
) -> dict[str, float]:
    """Metrics by name.

    Args:
        logits: ``(n, n_logits)``; the largest is the prediction, the only one the prediction of a regression.
        labels: ``(n,)``.

    Raises:
        FloatingPointError: if a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the network's outputs are not finite")
    predictions = logits[:, 0] if kind == "regression" else logits.argmax(axis=1)
    return {name: _METRICS[name](predictions, labels) for name in names}


def _accuracy(predictions: Labels, labels: Labels) -> float:
    return float((predictions == labels).mean())


def _f1(predictions: Labels, labels: Labels) -> float:
    """Of class 1; 0 where neither a prediction nor a label is 1."""
    hits = int(((predictions == 1) & (labels == 1)).sum())
    total = int((predictions == 1).sum() + (labels == 1).sum())
    return 2 * hits / total if total else 0.0


def _matthews(predictions: Labels, labels: Labels) -> float:
    """Matthews correlation; of more than two classes Gorodkin's R_K (2004, equation 8).

    0 where predictions or labels are all of one class.
    """
    classes = np.union1d(predictions, labels)
    # Of two classes one says all: with the other beside it, every sum below would only double.
    told = classes[1:] if len(classes) == 2 else classes
    return _cosine(_centred(predictions[:, None] == told).ravel(), _centred(labels[:, None] == told).ravel())


def _correlation(a: Labels, b: Labels) -> float:
    """Pearson's r; 0 where either side is constant, which says nothing about the other."""
    return _cosine(_centred(a), _centred(b))


def _centred(x: Labels) -> npt.NDArray[np.float64]:
    """Each column minus its mean."""
    values = x.astype(np.float64)
    return np.asarray(values - values.mean(axis=0))


def _cosine(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else 0.0


def _spearman(predictions: Labels, labels: Labels) -> float:
    """Pearson's r of average ranks."""
    return _correlation(stats.rankdata(predictions), stats.rankdata(labels))


_METRICS: dict[Literal["accuracy", "f1", "matthews", "spearman", "pearson"], Any] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "spearman": _spearman,
    "pearson": _correlation,
}
