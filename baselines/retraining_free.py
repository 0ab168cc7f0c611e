"""Retraining-free pruning: choose heads and units by Fisher information, then tune their masks (Kwon et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nasbench.arrays import FloatArray, IntArray
from nasbench.baselines.masks.importance import batches, mask_gradients
from nasbench.baselines.masks.search import MacCosts, MaskSearch, rearrange
from nasbench.baselines.masks.tuning import TuningBatch, tune_masks
from nasbench.declarations.task import Kind
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions

if TYPE_CHECKING:
    from nasbench.data.splits import Split

ALPHAS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Fractions of the full network's operations; one evaluation for each."""
N_BATCHES, BATCH_SIZE = 64, 32
"""The importance is measured on 64 batches of 32 training examples, drawn with replacement."""


class RetrainingFreePruning(Method):
    """Fine-tunes the network, then prunes it to nine amounts of computation without training it again.

    All nine share the Fisher information, the sorted sums of the search and the products of the rearrangement. Sums
    over the drawn examples run over the distinct examples, in order of length, each weighted by how often it was drawn.
    A block without heads or units is skipped with its bias and LayerNorm, as everywhere in this suite.
    """

    name = "rfp"
    summary = "retraining-free pruning: fine-tune, choose masks by Fisher information, tune them by least squares"
    spaces = ("large",)
    Options = TrainingOptions

    def run(self, problem: Problem) -> None:
        assert isinstance(problem.space, Large)
        network = problem.pretrained("fine-tuned")
        problem.training(network, fine_tuning=self.options.of(problem.fine_tuning)).run()
        problem.evaluate(network, problem.space.largest)
        costs = MacCosts.of(problem.dims, float(problem.train.lengths.mean()))
        drawn = problem.rng.integers(len(problem.train), size=(N_BATCHES, BATCH_SIZE))
        with problem.phase("search"):
            sample = Sample.of(problem.train, drawn)
            heads, units = sample.gradients(network, problem.task.kind, problem.pad_id, problem.check_budget)
            search = MaskSearch((heads**2).sum(axis=0), (units**2).sum(axis=0), costs)
            students = rearranged([search.best(alpha) for alpha in ALPHAS], heads, units, problem.check_budget)
            examples = sample.tuning_batches(network, problem.pad_id)
        for alpha, student in zip(ALPHAS, students, strict=True):
            with problem.phase("search"):
                teacher = search.best(alpha**0.5)
                scales = tune_masks(network, student, teacher, examples, problem.check_budget)
                name = f"alpha-{alpha}"
                tuned = network.scaled(*scales, name).extract(student, name)
            problem.evaluate(tuned, problem.space.from_subnetwork(student))


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


def rearranged(
    subnetworks: list[SubNetwork], heads: FloatArray, units: FloatArray, after_layer: Callable[[], None] = lambda: None
) -> list[SubNetwork]:
    """Sub-networks with the same numbers of heads and units in each layer, but a cheaper choice of which to remove.

    Args:
        heads: gradients ``(n_batches, n_layers, n_heads)``.
        units: gradients ``(n_batches, n_layers, n_units)``.
    """
    head_masks, unit_masks = [], []
    for layer in range(heads.shape[1]):
        head_masks.append(rearrange(heads[:, layer], [int(s.head_counts[layer]) for s in subnetworks]))
        unit_masks.append(rearrange(units[:, layer], [int(s.unit_counts[layer]) for s in subnetworks]))
        after_layer()
    return [
        SubNetwork(np.stack([masks[i] for masks in head_masks]), np.stack([masks[i] for masks in unit_masks]))
        for i in range(len(subnetworks))
    ]
