"""Metrics against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from nasbench.training.metrics import compute, constant_error

RNG = np.random.default_rng(0)


def _case(n, n_logits, signal):
    labels = RNG.integers(n_logits, size=n)
    logits = RNG.normal(size=(n, n_logits))
    logits[np.arange(n), labels] += signal
    return logits, labels


@pytest.mark.parametrize("signal", [-1.0, 0.0, 2.0])
def test_metrics_of_two_classes_equal_scikit_learn(signal):
    logits, labels = _case(200, 2, signal)
    found = compute(("accuracy", "f1", "matthews"), "classification", logits, labels)
    predictions = logits.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predictions))
    assert found["f1"] == pytest.approx(sklearn_metrics.f1_score(labels, predictions))
    assert found["matthews"] == pytest.approx(sklearn_metrics.matthews_corrcoef(labels, predictions))
    assert list(found) == ["accuracy", "f1", "matthews"]


@pytest.mark.parametrize("signal", [-1.0, 0.0, 2.0])
@pytest.mark.parametrize("n_classes", [3, 5])
def test_matthews_of_several_classes_equals_scikit_learn(signal, n_classes):
    logits, labels = _case(200, n_classes, signal)
    predictions = logits.argmax(axis=1)
    found = compute(("matthews",), "classification", logits, labels)["matthews"]
    assert found == pytest.approx(sklearn_metrics.matthews_corrcoef(labels, predictions))
    assert compute(("matthews",), "classification", logits, predictions) == {"matthews": pytest.approx(1.0)}
    assert compute(("matthews",), "classification", logits, np.full(200, 2)) == {"matthews": 0.0}


def test_accuracy_of_four_choices_equals_scikit_learn():
    logits, labels = _case(300, 4, 1.0)
    expected = sklearn_metrics.accuracy_score(labels, logits.argmax(axis=1))
    assert compute(("accuracy",), "multiple_choice", logits, labels) == {"accuracy": pytest.approx(expected)}


def test_correlations_with_ties_equal_scipy():
    labels = RNG.integers(6, size=250).astype(np.float32)
    logits = (np.round(labels + RNG.normal(size=250), 1) / 3)[:, None].astype(np.float32)
    found = compute(("spearman", "pearson"), "regression", logits, labels)
    assert found["spearman"] == pytest.approx(stats.spearmanr(logits[:, 0], labels).statistic)
    assert found["pearson"] == pytest.approx(stats.pearsonr(logits[:, 0], labels).statistic, abs=1e-6)
    assert found["spearman"] != pytest.approx(found["pearson"], abs=1e-4)


@pytest.mark.parametrize("predicted", [0, 1])
@pytest.mark.parametrize("actual", [0, 1])
def test_metrics_if_all_predictions_and_labels_are_of_one_class(predicted, actual):
    logits = np.tile([1.0 - predicted, float(predicted)], (9, 1))
    labels = np.full(9, actual)
    found = compute(("accuracy", "f1", "matthews"), "classification", logits, labels)
    assert found["accuracy"] == float(predicted == actual)
    assert found["f1"] == sklearn_metrics.f1_score(labels, np.full(9, predicted), zero_division=0)
    assert found["matthews"] == 0.0


def test_correlation_of_constant_predictions_is_zero():
    found = compute(("spearman", "pearson"), "regression", np.full((8, 1), 2.5), np.arange(8.0))
    assert found == {"spearman": 0.0, "pearson": 0.0}


def test_correlations_of_perfect_and_inverted_predictions():
    labels = np.arange(10.0)
    names = ("spearman", "pearson")
    assert compute(names, "regression", labels[:, None], labels) == pytest.approx(dict.fromkeys(names, 1.0))
    assert compute(names, "regression", -labels[:, None], labels) == pytest.approx(dict.fromkeys(names, -1.0))
    # A monotone curve has rank correlation 1 and a lower linear correlation.
    found = compute(names, "regression", np.exp(labels)[:, None], labels)
    assert found["spearman"] == pytest.approx(1.0)
    assert found["pearson"] < 0.9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_rejected(bad):
    logits, labels = _case(5, 2, 1.0)
    logits[3, 1] = bad
    with pytest.raises(FloatingPointError, match="not finite"):
        compute(("accuracy",), "classification", logits, labels)


@pytest.mark.parametrize(("metric", "error"), [("accuracy", 0.25), ("f1", 1 - 2 * 3 / (4 + 3)), ("matthews", 1.0)])
def test_constant_error_is_the_lowest_of_all_constant_answers(metric, error):
    """Three of four labels are 1: always answering 1 has accuracy 3/4 and F1 6/7."""
    labels = np.array([1, 1, 0, 1] * 5)
    assert constant_error(metric, "classification", 2, labels) == pytest.approx(error)


def test_constant_error_of_f1_is_not_that_of_the_majority_class():
    """Always answering the majority class 0 has F1 = 0."""
    labels = np.array([0, 0, 0, 1])
    assert constant_error("f1", "classification", 2, labels) == pytest.approx(1 - 2 * 1 / (4 + 1))


def test_constant_error_of_a_choice_and_a_regression():
    assert constant_error("accuracy", "multiple_choice", 4, np.array([0, 1, 2, 3, 3])) == pytest.approx(0.6)
    assert constant_error("spearman", "regression", 1, np.array([0.5, 2.0, 3.0])) == 1.0


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("signal", [-1.0, 0.0, 2.0])
def test_macro_f1_and_balanced_accuracy_equal_scikit_learn(n_classes, signal):
    logits, labels = _case(200, n_classes, signal)
    labels[labels == n_classes - 1] = 0  # a class that is predicted but is not a label
    labels[:3] = n_classes - 1 if n_classes > 2 else 1
    predictions = logits.argmax(axis=1)
    found = compute(("macro_f1", "balanced_accuracy"), "classification", logits, labels)
    assert found["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(labels, predictions, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, predictions))


@pytest.mark.parametrize("signal", [-1.0, 0.0, 2.0])
def test_auc_equals_scikit_learn(signal):
    logits, labels = _case(200, 2, signal)
    logits = np.round(logits, 1)  # with ties
    expected = sklearn_metrics.roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    assert compute(("auc",), "classification", logits, labels)["auc"] == pytest.approx(expected, abs=2e-3)
    logits, labels = _case(200, 4, signal)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = sklearn_metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert compute(("auc",), "classification", logits, labels)["auc"] == pytest.approx(expected)


def test_auc_of_constant_outputs_and_of_one_class_is_a_half():
    logits = np.tile([0.3, 0.7], (6, 1))
    assert compute(("auc",), "classification", logits, np.array([0, 1, 1, 0, 1, 1]))["auc"] == 0.5
    assert compute(("auc",), "classification", RNG.normal(size=(6, 2)), np.ones(6, dtype=int))["auc"] == 0.5
    assert constant_error("auc", "classification", 2, np.array([0, 1])) == 0.5


def test_errors_of_a_regression_equal_scikit_learn():
    labels = RNG.normal(size=50).astype(np.float32)
    logits = RNG.normal(size=(50, 1)).astype(np.float32)
    found = compute(("rmse", "mae"), "regression", logits, labels)
    assert found["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(labels, logits[:, 0]))
    assert found["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(labels, logits[:, 0]))
