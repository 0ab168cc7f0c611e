"""Examples drawn with replacement: gradients with respect to masks, and the examples on which masks are tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nasbench.arrays import FloatArray, IntArray
from nasbench.declarations.task import Kind, Task
from nasbench.masks.importance import batches, mask_gradients
from nasbench.masks.tuning import TuningBatch
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork

if TYPE_CHECKING:
    from nasbench.data.splits import Split

N_BATCHES, BATCH_SIZE = 64, 32
"""A sample has 64 batches of 32 examples, as in the code of Kwon et al. 2022."""
PASSAGES = 2
"""Examples of a batch for a language model. Each token of a passage is predicted, so 128 passages of 230 tokens say
more than 2,048 labels. On two CPU cores, gradients of 2,048 passages would take most of the budget."""


@dataclass(frozen=True)
class Sample:
    """Examples drawn with replacement, in batches.

    Attributes:
        distinct: the distinct examples drawn.
        counts: how often each batch contains each of them, ``(n_batches, n_distinct)``.
    """

    distinct: Split
    counts: IntArray

    @classmethod
    def of(cls, split: Split, drawn: IntArray) -> Sample:
        """The sample of a split with the indices ``drawn``, ``(n_batches, batch_size)``."""
        distinct, places = np.unique(drawn, return_inverse=True)
        counts = np.zeros((len(drawn), len(distinct)), dtype=np.int64)
        np.add.at(counts, (np.arange(len(drawn))[:, None], places.reshape(drawn.shape)), 1)
        return cls(split.take(distinct), counts)

    @classmethod
    def draw(cls, split: Split, task: Task, rng: np.random.Generator) -> Sample:
        """:data:`N_BATCHES` batches of a train split, drawn with replacement."""
        size = PASSAGES if task.needs_language_model else BATCH_SIZE
        return cls.of(split, rng.integers(len(split), size=(N_BATCHES, size)))

    def gradients(
        self, network: SuperNetwork, kind: Kind, pad_id: int, after_batch: Callable[[], None] = lambda: None
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients g_b of the mean loss of each batch with respect to all masks, at masks of 1.

        Returns:
            ``(n_batches, n_layers, n_heads)`` and ``(n_batches, n_layers, n_units)``.
        """
        shares = torch.from_numpy(self.counts / self.counts.sum(axis=1, keepdims=True)).float().to(network.device)
        full = SubNetwork.full(network.dims)
        totals = [torch.zeros(len(shares), mask.size, device=network.device) for mask in (full.heads, full.units)]
        for batch in batches(self.distinct, network, pad_id):
            for total, gradients in zip(totals, mask_gradients(network, batch, kind, full), strict=True):
                total.addmm_(shares[:, batch.index], gradients.flatten(1))
            after_batch()
        heads, units = (total.double().cpu().numpy() for total in totals)
        return heads.reshape(-1, *full.heads.shape), units.reshape(-1, *full.units.shape)

    def tuning_batches(self, network: SuperNetwork, pad_id: int) -> list[TuningBatch]:
        """The embedded examples; each token's weight is how often its example was drawn."""
        drawn = torch.from_numpy(self.counts.sum(axis=0)).float().to(network.device)
        found = []
        with torch.inference_mode():
            for batch in batches(self.distinct, network, pad_id):
                counts = drawn[batch.index].repeat_interleave(self.distinct.n_choices)[:, None]
                mask = batch.attention_mask
                tokens = torch.ones(batch.input_ids.shape, device=network.device) if mask is None else mask.float()
                found.append(TuningBatch(network.embed(batch), mask, counts * tokens))
        return found
