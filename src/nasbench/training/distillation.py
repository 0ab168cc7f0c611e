"""Distillation from another network: its logits, and its hidden states at layers that are mapped to the student's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from nasbench.data.batching import Batch
from nasbench.declarations.task import Kind
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.losses import WHOLE, Shares, distilled, label_loss, share_of


@dataclass(frozen=True)
class Distillation:
    """What a student learns beside the labels.

    The loss is that on the labels, plus T^2 times the divergence from the teacher's logits at temperature T, plus
    ``hidden_weight`` times 1 - the cosine of the hidden states, as in DistilBERT (Sanh et al. 2019). The hidden states
    are compared at several depths and at the tokens that the head reads, as in patient distillation (Sun et al. 2019,
    equation 7, which is twice 1 - cosine).

    Attributes:
        teacher: runs without gradient and without dropout.
        depths: pairs of a depth of the student and one of the teacher. Depth l is the state after the first l layers of
            the original network, also in a student that has dropped some of them.
        temperature: T.
        hidden_weight: 0 leaves the hidden states out.
    """

    teacher: SuperNetwork
    depths: tuple[tuple[int, int], ...]
    temperature: float
    hidden_weight: float

    rate: ClassVar[float] = 0.0

    def tensors(self) -> list[Tensor]:
        """None are trained beside the student's weights."""
        return []

    def loss(
        self,
        student: SuperNetwork,
        kind: Kind,
        batch: Batch,
        embedded: Tensor,
        progress: float = 0.0,  # noqa: ARG002
        shares: Shares = WHOLE,
    ) -> Tensor:
        """The loss of a batch or of a part, see :class:`~nasbench.training.objective.Objective`."""
        with torch.no_grad():
            wanted = _states(self.teacher, batch, self.teacher.embed(batch))
        found = _states(student, batch, embedded)
        is_language_model = student.adapter.readout == "every"
        teacher, head = wanted[-1], self.teacher.adapter.classify if is_language_model else None
        if not is_language_model:
            with torch.no_grad():
                teacher = self.teacher.classify(teacher, batch)
        logits, extra = distilled(student, kind, batch, found[-1], teacher, self.temperature, True, head)
        loss = share_of(label_loss(kind, logits, batch.labels), shares.labels) + share_of(extra, shares.marked)
        if self.hidden_weight == 0 or not self.depths:
            return loss
        ours, theirs = (list(depths) for depths in zip(*self.depths, strict=True))
        cosines = functional.cosine_similarity(found[ours].float(), wanted[theirs].float(), dim=-1)
        if is_language_model and batch.attention_mask is not None:
            cosines = cosines[:, batch.attention_mask]
        return loss + share_of(self.hidden_weight * (1 - cosines.mean()), shares.tokens)


def _states(network: SuperNetwork, batch: Batch, embedded: Tensor) -> Tensor:
    return network.encode_depths(embedded, batch.attention_mask, network.slices())
