"""Loss on the labels and distillation loss on a teacher's logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from nasbench.declarations.task import Kind


def label_loss(kind: Kind, logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy; mean squared error for regression; bits per byte for language modelling.

    Args:
        logits: ``(n, n_labels)``; ``(n, 1)`` for regression and for the log-likelihoods of passages; ``(n, n_choices)``
            for a choice.
        labels: ``(n,)``.
    """
    if kind == "language_modelling":
        return -logits.sum() / labels.sum()
    if kind == "regression":
        return functional.mse_loss(logits[:, 0], labels.float())
    return functional.cross_entropy(logits, labels.long())


def distillation_loss(kind: Kind, student: Tensor, teacher: Tensor, temperature: float, t_squared: bool) -> Tensor:
    """KL(softmax(z_t / T) || softmax(z_s / T)), the second term of equation (2). For regression: MSE to the teacher.

    Args:
        student: z_s, ``(n, n_labels)``.
        teacher: z_t, the same shape; must not require a gradient.
        t_squared: multiply by T^2, so the size of the gradient does not depend on T.
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
