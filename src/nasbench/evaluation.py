"""Predictions of sub-networks on a whole split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from nasbench import metrics
from nasbench.batching import evaluation_batches
from nasbench.subnetwork import SubNetwork
from nasbench.supernet import SuperNetwork
from nasbench.task import Task

if TYPE_CHECKING:
    from nasbench.data import Split

Logits = npt.NDArray[np.float32]

MAX_TOKENS = {"cpu": 2048, "cuda": 65536}
"""Padded tokens of a batch: on a CPU what stays in the caches, on a GPU what fills the device."""


class Evaluator:
    """Runs sub-networks over one split, in batches made once and kept on the device."""

    def __init__(self, split: Split, task: Task, pad_id: int, device: torch.device) -> None:
        self.task = task
        self.device = device
        self.labels: npt.NDArray[Any] = split.labels
        self._batches = [b.to(device) for b in evaluation_batches(split, pad_id, MAX_TOKENS[device.type])]
        self._order = np.concatenate([batch.index for batch in self._batches])

    def logits(self, network: SuperNetwork, subnetwork: SubNetwork | None = None) -> Logits:
        """Logits ``(n_examples, n_logits)`` in the order of the split; one copy from the device at the end."""
        with torch.inference_mode():
            parts = network.parts(subnetwork)
            outputs = [
                network.classify(network.encode(network.embed(batch), batch.attention_mask, parts))
                for batch in self._batches
            ]
            sorted_logits: Logits = torch.cat(outputs).cpu().numpy()
        logits = np.empty_like(sorted_logits)
        logits[self._order] = sorted_logits
        return logits

    def metrics(self, logits: Logits) -> dict[str, float]:
        """The task's metrics by name, the primary one first.

        Raises:
            FloatingPointError: if a logit is not finite.
        """
        return metrics.compute((self.task.metric, *self.task.other_metrics), self.task.kind, logits, self.labels)
