"""Predictions of sub-networks on a whole split."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasbench.data.batching import Batch, evaluation_batches
from nasbench.declarations.task import Task
from nasbench.networks.sliced import LayerSlice
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.training import metrics

if TYPE_CHECKING:
    from nasbench.data.splits import Split

Logits = npt.NDArray[np.float32]

MAX_TOKENS = {"cpu": 2048, "cuda": 65536}
"""Of a batch, padding included: on a CPU what stays in the caches, on a GPU what fills the device."""
MAX_PADDING = {"cpu": None, "cuda": 1024}
"""Tokens of padding in a batch. A GPU's batches are so large that most of their examples would be far shorter than the
longest one (66 % padding on RTE, with this 10 %); launching another batch costs it less than to compute that."""


class Evaluator:
    """Runs sub-networks over one split, in batches made once and kept on the device."""

    def __init__(self, split: Split, task: Task, pad_id: int, device: torch.device) -> None:
        self.task = task
        self.device = device
        self.labels: npt.NDArray[Any] = split.labels
        limits = MAX_TOKENS[device.type], MAX_PADDING[device.type]
        self._batches = [batch.to(device) for batch in evaluation_batches(split, pad_id, *limits)]
        self._order = np.concatenate([batch.index for batch in self._batches])

    def logits(self, network: SuperNetwork, subnetwork: SubNetwork | None = None) -> Logits:
        """Logits ``(n_examples, n_logits)`` in the order of the split."""
        slices = network.slices(subnetwork)
        logits = self._over_batches(
            lambda batch: network.classify(network.encode(network.embed(batch), batch.attention_mask, slices))[None]
        )
        only: Logits = self._without_rounding(logits, slices)[0]
        return only

    def logits_of_depths(self, network: SuperNetwork, subnetwork: SubNetwork, n_layers: int) -> Logits:
        """Logits of the first 0, 1, ..., ``n_layers`` layers of a sub-network in one pass.

        Returns:
            ``(n_layers + 1, n_examples, n_logits)``, examples in the order of the split.
        """
        slices = network.slices(subnetwork)[:n_layers]

        def run(batch: Batch) -> Tensor:
            states = network.encode_depths(network.embed(batch), batch.attention_mask, slices)
            logits = network.classify(states.flatten(0, 1))
            return logits.view(n_layers + 1, -1, logits.shape[-1])

        return self._without_rounding(self._over_batches(run), slices)

    def _without_rounding(self, logits: Logits, slices: list[LayerSlice]) -> Logits:
        """Exactly equal outputs where they can differ by rounding only: at depths before the first attention block.

        The classifier reads the first token, which is the same in every sequence until attention brings in others.
        Ranks and largest elements of what rounding left would be a score of noise.

        Args:
            logits: ``(k, n_examples, n_logits)``, of the last k depths of a network.
            slices: all layers of that network.
        """
        attention = [i + 1 for i, part in enumerate(slices) if part.head_rows is not None]
        depths = range(len(slices) + 1 - len(logits), len(slices) + 1)
        n_alike = sum(depth < min(attention, default=len(slices) + 1) for depth in depths)
        by_sequence = logits.reshape(len(logits), -1, self.task.n_logits)
        by_sequence[:n_alike] = by_sequence[:n_alike, :1]
        return by_sequence.reshape(logits.shape)

    def _over_batches(self, run: Callable[[Batch], Tensor]) -> Logits:
        """Outputs ``(k, n_examples, n_logits)`` of all batches; one copy from the device at the end."""
        with torch.inference_mode():
            by_length: Logits = torch.cat([run(batch) for batch in self._batches], dim=1).cpu().numpy()
        logits = np.empty_like(by_length)
        logits[:, self._order] = by_length
        return logits

    def metrics(self, logits: Logits) -> dict[str, float]:
        """The task's metrics by name, the primary one first.

        Raises:
            FloatingPointError: if a logit is not finite.
        """
        return metrics.compute((self.task.metric, *self.task.other_metrics), self.task.kind, logits, self.labels)
