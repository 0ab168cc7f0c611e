"""What a network may learn in place of the passes of a schedule."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from nasbench.data.batching import Batch
from nasbench.declarations.task import Kind
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.losses import WHOLE, Shares


class Objective(Protocol):
    """A loss of the whole network, and tensors that are trained beside its weights."""

    @property
    def rate(self) -> float:
        """Learning rate of the tensors times the number of steps, so that short trainings get as far as long ones.

        It has no warm-up and no decay, and the tensors have no weight decay.
        """

    def loss(
        self, network: SuperNetwork, kind: Kind, batch: Batch, embedded: Tensor, progress: float,
        shares: Shares = WHOLE, /,
    ) -> Tensor:  # fmt: skip
        """The loss of a batch, or what one of its parts adds to it.

        Args:
            embedded: the embeddings, ``(n_sequences, length, d)``.
            progress: the share of the training's steps that have been made, from 0 to 1.
            shares: those of the part.
        """

    def tensors(self) -> list[Tensor]:
        """Tensors that are trained beside the weights. They belong to the model, so checkpoints hold them."""
