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
"""Tokens per batch, including padding: on a CPU few enough for the caches, on a GPU enough to fill the device."""
MAX_PADDING = {"cpu": None, "cuda": 1024}
"""Padding tokens per batch; None for no limit. Batches on a GPU are large: without a limit, 66 % of the tokens on RTE
are padding, with it 10 %. Launching another batch costs a GPU less than computing the padding."""


class Evaluator:
    """Runs sub-networks over one split. The batches are made once and stay on the device."""

    def __init__(self, split: Split, task: Task, pad_id: int, device: torch.device) -> None:
        self.task = task
        self.device = device
        self.labels: npt.NDArray[Any] = split.labels
        self._split, self._pad_id = split, pad_id
        self._max_tokens = MAX_TOKENS[device.type]
        self._make_batches()

    def _make_batches(self) -> None:
        batches = evaluation_batches(self._split, self._pad_id, self._max_tokens, MAX_PADDING[self.device.type])
        self._batches = [batch.to(self.device) for batch in batches]
        self._order = np.concatenate([batch.index for batch in self._batches])

    def _halve_batches(self) -> bool:
        """Make batches of half as many tokens, for good. Returns whether any batch has become smaller."""
        n_before = len(self._batches)
        self._max_tokens //= 2
        self._make_batches()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return len(self._batches) > n_before

    def logits(self, network: SuperNetwork, subnetwork: SubNetwork | None = None) -> Logits:
        """Logits ``(n_examples, n_logits)`` in the order of the split."""
        slices = network.slices(subnetwork)
        logits = self._over_batches(
            lambda batch: network.classify(network.encode(network.embed(batch), batch.attention_mask, slices))[None]
        )
        last: Logits = self._without_rounding(logits, slices)[0]
        return last

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
        """Make outputs exactly equal at depths before the first attention block, where they differ only by rounding.

        The classifier reads the first token. It is the same in every sequence until attention mixes in other tokens.
        Without this step, metrics based on ranks or on the largest logit would score rounding noise.

        Args:
            logits: ``(k, n_examples, n_logits)``, of the last k depths of a network; changed in place.
            slices: all layers of that network.
        """
        attention = [i + 1 for i, layer_slice in enumerate(slices) if layer_slice.head_rows is not None]
        depths = range(len(slices) + 1 - len(logits), len(slices) + 1)
        n_equal = sum(depth < min(attention, default=len(slices) + 1) for depth in depths)
        by_sequence = logits.reshape(len(logits), -1, self.task.n_logits)
        by_sequence[:n_equal] = by_sequence[:n_equal, :1]
        return by_sequence.reshape(logits.shape)

    def _over_batches(self, run: Callable[[Batch], Tensor]) -> Logits:
        """Outputs ``(k, n_examples, n_logits)`` of all batches, copied from the device once at the end.

        Where they do not fit the memory, the batches are halved.

        Raises:
            torch.OutOfMemoryError: if batches of one example do not fit either.
        """
        while True:
            try:
                with torch.inference_mode():
                    by_length: Logits = torch.cat([run(batch) for batch in self._batches], dim=1).cpu().numpy()
                break
            except torch.OutOfMemoryError:
                if len(self._batches) == len(self._order):
                    raise
            while not self._halve_batches():
                pass
        logits = np.empty_like(by_length)
        logits[:, self._order] = by_length
        return logits

    def metrics(self, logits: Logits) -> dict[str, float]:
        """The task's metrics by name, the primary one first.

        Raises:
            FloatingPointError: if a logit is not finite.
        """
        return metrics.compute((self.task.metric, *self.task.other_metrics), self.task.kind, logits, self.labels)
