"""Task metrics from logits. Larger is better for all of them; error = 1 - metric."""

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
        logits: ``(n, n_logits)``. The prediction is the index of the largest logit; for regression, the only logit.
        labels: ``(n,)``.

    Raises:
        FloatingPointError: if a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the network's outputs are not finite")
    predictions = logits[:, 0] if kind == "regression" else logits.argmax(axis=1)
    return {name: _METRICS[name](predictions, labels) for name in names}


def constant_error(name: MetricName, kind: str, n_labels: int, labels: Labels) -> float:
    """The lowest error of a network that gives every example the same answer.

    For accuracy, this is the error of always predicting the most frequent class. A correlation is 0.
    """
    if kind == "regression":
        return 1 - float(_METRICS[name](np.full(len(labels), labels.mean()), labels))
    return 1 - max(float(_METRICS[name](np.full(len(labels), answer), labels)) for answer in range(n_labels))


def _accuracy(predictions: Labels, labels: Labels) -> float:
    return float((predictions == labels).mean())


def _f1(predictions: Labels, labels: Labels) -> float:
    """F1 of class 1; 0 if no prediction and no label is 1."""
    hits = int(((predictions == 1) & (labels == 1)).sum())
    total = int((predictions == 1).sum() + (labels == 1).sum())
    return 2 * hits / total if total else 0.0


def _matthews(predictions: Labels, labels: Labels) -> float:
    """Matthews correlation; for more than two classes Gorodkin's R_K (2004, equation 8).

    0 if all predictions or all labels are of one class.
    """
    classes = np.union1d(predictions, labels)
    # With two classes, one indicator column is enough: the second would only double every sum.
    used = classes[1:] if len(classes) == 2 else classes
    return _cosine(_centred(predictions[:, None] == used).ravel(), _centred(labels[:, None] == used).ravel())


def _correlation(a: Labels, b: Labels) -> float:
    """Pearson's r; 0 if either side is constant."""
    return _cosine(_centred(a), _centred(b))


def _centred(x: Labels) -> npt.NDArray[np.float64]:
    """Subtract the mean of each column."""
    values = x.astype(np.float64)
    return np.asarray(values - values.mean(axis=0))


def _cosine(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else 0.0


def _spearman(predictions: Labels, labels: Labels) -> float:
    """Pearson's r of the ranks; ties share their average rank."""
    return _correlation(stats.rankdata(predictions), stats.rankdata(labels))


_METRICS: dict[Literal["accuracy", "f1", "matthews", "spearman", "pearson"], Any] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "spearman": _spearman,
    "pearson": _correlation,
}
