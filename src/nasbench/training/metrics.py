"""Task metrics from logits. Larger is better for all but RMSE, MAE and bits per byte; error = 1 - primary metric."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
        logits: ``(n, n_logits)``. The prediction is the index of the largest logit; for regression, the only logit. For
            language modelling, base-2 logarithms of the likelihoods of passages.
        labels: ``(n,)``; for language modelling, the bytes of the passages.

    Raises:
        FloatingPointError: if a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the network's outputs are not finite")
    predictions = logits[:, 0] if kind in ("regression", "language_modelling") else logits.argmax(axis=1)
    return {name: _auc(logits, labels) if name == "auc" else _METRICS[name](predictions, labels) for name in names}


def constant_error(name: MetricName, kind: str, n_labels: int, labels: Labels) -> float:
    """The lowest error of a network that gives every example the same answer.

    For accuracy, this is the error of always predicting the most frequent class. A correlation is 0, an AUC 1/2. For
    language modelling, every byte is as likely as any other.
    """
    if name == "auc":
        return 0.5
    if kind == "language_modelling":
        return 1.0  # eight bits for each byte
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


def _f1_of(one: int, predictions: Labels, labels: Labels) -> float:
    return _f1((predictions == one).astype(np.int64), (labels == one).astype(np.int64))


def _macro_f1(predictions: Labels, labels: Labels) -> float:
    """Mean of the F1 of all classes that are predicted or are a label."""
    return float(np.mean([_f1_of(one, predictions, labels) for one in np.union1d(predictions, labels)]))


def _balanced_accuracy(predictions: Labels, labels: Labels) -> float:
    """Mean recall of all classes that are a label."""
    return float(np.mean([(predictions[labels == one] == one).mean() for one in np.unique(labels)]))


def _auc(logits: npt.NDArray[np.floating[Any]], labels: Labels) -> float:
    """Area under the ROC curve; for more than two classes, the mean of one class against the rest.

    The score is the class's probability. Classes without examples are left out; 1/2 if only one class has any.
    """
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    if logits.shape[1] == 2:
        scores = {1: shifted[:, 1] - shifted[:, 0]}  # probabilities near 1 would be rounded to ties
    else:
        probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        scores = dict(enumerate(probabilities.T))
    areas = [_area(score, labels == one) for one, score in scores.items() if 0 < (labels == one).sum() < len(labels)]
    return float(np.mean(areas)) if areas else 0.5


def _area(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Probability that a positive example has a larger score than a negative one; a tie counts half (Mann-Whitney)."""
    n_positive = int(positive.sum())
    rank_sum = float(stats.rankdata(scores)[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * (len(positive) - n_positive))


def _rmse(predictions: Labels, labels: Labels) -> float:
    return float(np.sqrt(np.mean(np.square(predictions.astype(np.float64) - labels))))


def _mae(predictions: Labels, labels: Labels) -> float:
    return float(np.mean(np.abs(predictions.astype(np.float64) - labels)))


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


def _bits_per_byte(predictions: Labels, labels: Labels) -> float:
    """Bits that a code made with the network needs for a byte of text."""
    return float(-predictions.astype(np.float64).sum() / labels.sum())


def _compression(predictions: Labels, labels: Labels) -> float:
    """The share of the text's size that such a code saves: 1 - bits per byte / 8.

    Codes of more than 16 bits count as -1, because no error is above 2. ``bits_per_byte`` has no such bound.
    """
    return max(1 - _bits_per_byte(predictions, labels) / 8, -1.0)


_METRICS: dict[MetricName, Any] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "balanced_accuracy": _balanced_accuracy,
    "matthews": _matthews,
    "spearman": _spearman,
    "pearson": _correlation,
    "rmse": _rmse,
    "mae": _mae,
    "compression": _compression,
    "bits_per_byte": _bits_per_byte,
}
