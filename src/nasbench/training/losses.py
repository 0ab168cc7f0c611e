"""Losses on labels and on a teacher's logits."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

Kind = Literal["classification", "regression", "multiple_choice"]


def label_loss(kind: Kind, logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy, or mean squared error for a regression.

    Args:
        logits: ``(n, n_labels)``; ``(n, 1)`` for a regression; ``(n, n_choices)`` for multiple choice.
        labels: ``(n,)``.
    """
    if kind == "regression":
        return functional.mse_loss(logits[:, 0], labels.float())
    return functional.cross_entropy(logits, labels.long())


def distillation_loss(kind: Kind, student: Tensor, teacher: Tensor, temperature: float, t_squared: bool) -> Tensor:
    """KL(softmax(z_t / T) || softmax(z_s / T)), the second term of equation (2); MSE to the teacher for a regression.

    Args:
        student: z_s, ``(n, n_labels)``.
        teacher: z_t, the same shape, without gradient.
        t_squared: multiply by T^2, which keeps the gradient's size independent of T.
    """
    if kind == "regression":
        return functional.mse_loss(student, teacher)
    divergence = functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1),
        functional.log_softmax(teacher / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return divergence * temperature**2 if t_squared else divergence
