"""Losses against their definitions, written out in numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from nasbench.training.losses import distillation_loss, label_loss, summed_loss

RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 3))
LABELS = RNG.integers(3, size=7)


def _tensor(x):
    return torch.tensor(x)


@pytest.mark.parametrize("kind", ["classification", "multiple_choice"])
def test_cross_entropy_equals_numpy(kind):
    expected = -log_softmax(STUDENT, axis=1)[np.arange(7), LABELS].mean()
    assert float(label_loss(kind, _tensor(STUDENT), _tensor(LABELS))) == pytest.approx(expected)


def test_choice_by_likelihood_reads_logits_as_powers_of_two():
    """Likelihoods of 1/2 and 1/4 give the first ending 2/3; as powers of e they would give it 0.73."""
    logits = _tensor(np.log2([[1 / 2, 1 / 4]]))
    assert float(label_loss("zero_shot_choice", logits, _tensor([0]))) == pytest.approx(np.log(1.5))
    likelihoods = RNG.uniform(0.01, 0.5, size=(7, 3))
    chosen = likelihoods[np.arange(7), LABELS] / likelihoods.sum(axis=1)
    loss = label_loss("zero_shot_choice", _tensor(np.log2(likelihoods)), _tensor(LABELS))
    assert float(loss) == pytest.approx(-np.log(chosen).mean())


def test_bits_per_byte_are_a_ratio_of_sums_and_each_passage_has_its_own():
    logits, n_bytes = _tensor([[-30.0], [-10.0]]), _tensor([10, 20])
    assert float(label_loss("language_modelling", logits, n_bytes)) == pytest.approx(40 / 30)
    assert float(summed_loss("language_modelling", logits, n_bytes)) == pytest.approx(3 + 0.5)


@pytest.mark.parametrize("kind", ["classification", "multiple_choice", "regression", "zero_shot_choice"])
def test_summed_loss_is_that_of_each_example_alone(kind):
    logits = _tensor(STUDENT[:, :1] if kind == "regression" else STUDENT)
    alone = [float(label_loss(kind, logits[i : i + 1], _tensor(LABELS[i : i + 1]))) for i in range(7)]
    assert float(summed_loss(kind, logits, _tensor(LABELS))) == pytest.approx(sum(alone))


def test_squared_error_equals_numpy():
    labels = RNG.normal(size=7).astype(np.float32)
    expected = ((STUDENT[:, 0] - labels) ** 2).mean()
    assert float(label_loss("regression", _tensor(STUDENT[:, :1]), _tensor(labels))) == pytest.approx(expected)
    # Broadcasting (n, 1) against (n,) would give another number: the mean over all pairs.
    assert expected != pytest.approx(((STUDENT[:, :1] - labels) ** 2).mean())


@pytest.mark.parametrize("temperature", [1.0, 4.0, 10.0])
def test_distillation_equals_the_divergence_in_numpy(temperature):
    log_t, log_s = log_softmax(TEACHER / temperature, axis=1), log_softmax(STUDENT / temperature, axis=1)
    expected = (np.exp(log_t) * (log_t - log_s)).sum(axis=1).mean()
    arguments = "classification", _tensor(STUDENT), _tensor(TEACHER), temperature
    assert float(distillation_loss(*arguments, t_squared=False)) == pytest.approx(expected)
    assert float(distillation_loss(*arguments, t_squared=True)) == pytest.approx(temperature**2 * expected)
    # The divergence in the other direction is another number.
    assert expected != pytest.approx((np.exp(log_s) * (log_s - log_t)).sum(axis=1).mean(), rel=1e-3)


def test_distillation_is_zero_if_student_and_teacher_agree():
    shifted, teacher = _tensor(TEACHER + 5), _tensor(TEACHER)
    assert float(distillation_loss("classification", shifted, teacher, 3.0, False)) == pytest.approx(0, abs=1e-9)


def test_regression_distils_with_squared_error():
    expected = ((STUDENT[:, :1] - TEACHER[:, :1]) ** 2).mean()
    for t_squared in (False, True):
        loss = distillation_loss("regression", _tensor(STUDENT[:, :1]), _tensor(TEACHER[:, :1]), 10.0, t_squared)
        assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("temperature", "t_squared", "least", "most"),
    [(10.0, False, 0.005, 0.03), (1.0, False, 0.5, 1.5), (10.0, True, 0.5, 3.0)],
)
def test_weight_of_the_distillation_term(temperature, t_squared, least, most):
    """Its gradient as a share of that of the label loss: almost nothing in the paper's form."""
    generator = torch.Generator().manual_seed(0)
    student = (2.0 * torch.randn(2_000, 2, generator=generator)).requires_grad_()
    teacher = 2.0 * torch.randn(2_000, 2, generator=generator)
    labels = torch.randint(0, 2, (2_000,), generator=generator)
    (of_labels,) = torch.autograd.grad(label_loss("classification", student, labels), student)
    term = distillation_loss("classification", student, teacher, temperature, t_squared)
    (of_term,) = torch.autograd.grad(term, student)
    assert least < float(of_term.norm() / of_labels.norm()) < most
