"""Loss on the labels and distillation loss on a teacher's logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from nasbench.data.batching import Batch
from nasbench.declarations.task import Kind
from nasbench.networks.passes.likelihood import Head, count_marked, distilled_likelihood
from nasbench.networks.supernet import SuperNetwork


def label_loss(kind: Kind, logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy; mean squared error for regression; bits per byte for language modelling.

    Bits per byte are those of all passages together over the bytes of all, not a mean over passages.

    Args:
        logits: ``(n, n_labels)``; ``(n, 1)`` for regression; log-likelihoods (base 2) of passages ``(n, 1)`` or of the
            choices of a zero-shot choice ``(n, n_choices)``.
        labels: ``(n,)``; bytes for language modelling.
    """
    if kind == "language_modelling":
        return -logits.sum() / labels.sum()
    if kind == "regression":
        return functional.mse_loss(logits[:, 0], labels.float())
    if kind == "zero_shot_choice":
        logits = logits * math.log(2)  # to nats
    return functional.cross_entropy(logits, labels.long())


def summed_loss(kind: Kind, logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of the losses that :func:`label_loss` gives each example alone.

    It does not depend on how examples are put into batches: its gradient with respect to what belongs to an example is
    that of the example's own loss. The arguments are those of :func:`label_loss`.
    """
    if kind == "language_modelling":
        return -(logits[:, 0] / labels).sum()
    return len(labels) * label_loss(kind, logits, labels)


@dataclass(frozen=True)
class Shares:
    """Shares of a batch that one of its parts has. The losses of the parts times these add up to that of the batch.

    Attributes:
        labels: of what :func:`label_loss` divides by: examples, or bytes for language modelling.
        marked: of what a mean over logits divides by: examples, or marked tokens of a language model.
        tokens: of what a mean over the hidden states that the head reads divides by: examples, or all tokens of a
            language model.
    """

    labels: float = 1.0
    marked: float = 1.0
    tokens: float = 1.0

    @classmethod
    def of(cls, kind: Kind, part: Batch, whole: Batch) -> Shares:
        """The shares of a part of a batch; both may be padded to other lengths."""
        examples = len(part.labels) / len(whole.labels)
        if kind not in ("language_modelling", "zero_shot_choice"):
            return cls(examples, examples, examples)
        labels = float(part.labels.sum() / whole.labels.sum()) if kind == "language_modelling" else examples
        return cls(labels, count_marked(part) / max(1, count_marked(whole)), _count_tokens(part) / _count_tokens(whole))


WHOLE = Shares()
"""The shares of a batch that is computed at once."""


def share_of(loss: Tensor, share: float) -> Tensor:
    """A loss times a share. A batch that is computed at once needs no product."""
    return loss if share == 1 else share * loss


def _count_tokens(batch: Batch) -> int:
    mask = batch.attention_mask
    return batch.input_ids.numel() if mask is None else int(torch.count_nonzero(mask))


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


def distilled(
    network: SuperNetwork, kind: Kind, batch: Batch, states: Tensor, teacher: Tensor, temperature: float,
    t_squared: bool, teacher_head: Head | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """A network's logits and its distillation loss.

    Args:
        states: hidden states after the last layer, as :meth:`SuperNetwork.encode` gives them.
        teacher: the teacher's logits; for a language model, whose logits are many, its hidden states.
        teacher_head: gives a language model's logits from the teacher's states, if that is not the network's head.

    Returns:
        Logits as from :meth:`SuperNetwork.classify`, and :func:`distillation_loss`, a scalar.
    """
    if network.adapter.readout == "every":
        head = network.adapter.classify
        found, loss = distilled_likelihood(head, states, teacher, batch, temperature, t_squared, teacher_head)
        return found.view(-1, network.n_choices), loss
    logits = network.classify(states, batch)
    return logits, distillation_loss(kind, logits, teacher, temperature, t_squared)
