"""Predictions of sub-networks on a whole split."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasbench.data.batching import Batch, PackedBatch, evaluation_batches, packed_batches
from nasbench.declarations.task import Task
from nasbench.errors import first_line
from nasbench.networks.passes.likelihood import are_likeliest
from nasbench.networks.passes.packed import PackedNetwork, can_pack
from nasbench.networks.passes.variable_length import fused_attention
from nasbench.networks.sliced import gathering, length_grid
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
are padding, with it 10 %. Launching another batch costs a GPU less than computing the padding. Packed batches have no
padding."""


class Evaluator:
    """Runs sub-networks over one split. The batches are made once and stay on the device.

    On a GPU, batches are packed without padding if the architecture allows it.

    Args:
        dtype: data type of the networks' hidden states. Batches fit any network, and are padded for the speed of these.
    """

    def __init__(
        self, split: Split, task: Task, pad_id: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.task = task
        self.device, self.dtype = device, dtype
        self.labels: npt.NDArray[Any] = split.labels
        self.n_choices = split.n_choices
        self._split, self._pad_id = split, pad_id
        self._max_tokens = MAX_TOKENS[device.type]
        self._packs = device.type == "cuda"
        self._packed: PackedNetwork | None = None
        self._fuses = True
        self._length_grid = length_grid(dtype, device)
        self._make_batches()

    def _make_batches(self) -> None:
        self._batches: list[Batch] | list[PackedBatch]
        if self._packs:
            self._batches = [batch.to(self.device) for batch in packed_batches(self._split, self._max_tokens)]
        else:
            max_padding = MAX_PADDING[self.device.type]
            padded = evaluation_batches(self._split, self._pad_id, self._max_tokens, max_padding, self._length_grid)
            self._batches = [batch.to(self.device) for batch in padded]
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
        last: Logits = self._run(network, subnetwork, None)[0]
        return last

    def logits_of_depths(self, network: SuperNetwork, subnetwork: SubNetwork, n_layers: int) -> Logits:
        """Logits of the first 0, 1, ..., ``n_layers`` layers of a sub-network in one pass.

        Returns:
            ``(n_layers + 1, n_examples, n_logits)``, examples in the order of the split.
        """
        return self._run(network, subnetwork, n_layers)

    def are_likeliest(self, network: SuperNetwork) -> npt.NDArray[np.bool_]:
        """Whether a language model's greedy decoding goes on with what each example marks: ``(n_examples,)``."""
        if self._packs:
            self._packs = False
            self._make_batches()
        slices = network.slices()

        def run(batch: Batch) -> Tensor:
            states = network.encode(network.embed(batch), batch.attention_mask, slices)
            return are_likeliest(network.adapter.classify, states, batch)[None]

        with gathering():
            found: npt.NDArray[np.bool_] = self._over_batches(run)[0, :, 0] == 1
        return found

    def _run(self, network: SuperNetwork, subnetwork: SubNetwork | None, n_layers: int | None) -> Logits:
        """Logits ``(k, n_examples, n_logits)`` at all depths up to ``n_layers``; after all layers if that is None."""
        if self._packs and not can_pack(network):
            self._packs = False
            self._make_batches()
        if self._packs:
            logits = self._over_batches(self._packed_pass(network, subnetwork, n_layers))
        else:
            with gathering():
                logits = self._over_batches(_padded_pass(network, subnetwork, n_layers))
        readout = network.adapter.readout
        if readout == "every" or (readout == "last" and network.adapter.embeds_positions):
            return logits
        has_heads = (subnetwork or network.subnetwork).head_counts[:n_layers] > 0
        return self._without_rounding(logits, has_heads.tolist())

    def _packed_pass(
        self, network: SuperNetwork, subnetwork: SubNetwork | None, n_layers: int | None
    ) -> Callable[[Any], Tensor]:
        if self._packed is None or not self._packed.holds(network):
            self._packed = None  # the weights of another network, or of this one before they changed
            self._packed = PackedNetwork(network)
        with torch.inference_mode():
            selected = self._packed.select(network, subnetwork)

        def states(batch: PackedBatch) -> Tensor:
            attention = fused_attention(self.device, network.dtype) if self._fuses else None
            try:
                return selected.states(batch, attention, n_layers)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                if attention is None:
                    raise
                reason = first_line(error)
            self._fuses = False
            warnings.warn(f"evaluation continues without fused attention, more slowly: {reason}", stacklevel=2)
            return selected.states(batch, None, n_layers)

        return lambda batch: _classified(network, states(batch))

    def _without_rounding(self, logits: Logits, has_heads: list[bool]) -> Logits:
        """Make outputs exactly equal at depths before the first attention block, where they differ only by rounding.

        An encoder's classifier reads the first token, the same in every sequence until attention mixes in others. That
        of a decoder reads the last token, with which every text ends. Its embedding is the same, too, unless it depends
        on its place. Without this step, metrics based on ranks or on the largest logit would score rounding noise.

        Args:
            logits: ``(k, n_examples, n_logits)``, of the last k depths of a network; changed in place.
            has_heads: whether each layer of that network has an attention block.
        """
        n_layers = len(has_heads)
        first_attention = has_heads.index(True) + 1 if True in has_heads else n_layers + 1
        depths = range(n_layers + 1 - len(logits), n_layers + 1)
        n_equal = sum(depth < first_attention for depth in depths)
        by_sequence = logits.reshape(len(logits), -1, self.task.n_logits)
        by_sequence[:n_equal] = by_sequence[:n_equal, :1]
        return by_sequence.reshape(logits.shape)

    def _over_batches(self, run: Callable[[Any], Tensor]) -> Logits:
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


def _padded_pass(
    network: SuperNetwork, subnetwork: SubNetwork | None, n_layers: int | None
) -> Callable[[Batch], Tensor]:
    slices = network.slices(subnetwork)[:n_layers]

    def run(batch: Batch) -> Tensor:
        embedded = network.embed(batch)
        if n_layers is None:
            return _classified(network, network.encode(embedded, batch.attention_mask, slices)[None], batch)
        return _classified(network, network.encode_depths(embedded, batch.attention_mask, slices), batch)

    return run


def _classified(network: SuperNetwork, states: Tensor, batch: Batch | None = None) -> Tensor:
    """Logits ``(k, n_examples, n_logits)`` of states ``(k, n_sequences, ...)``. A language model needs the batch."""
    if network.adapter.readout == "every":
        return torch.stack([network.classify(state, batch) for state in states])
    logits = network.classify(states.flatten(0, 1))
    return logits.view(len(states), -1, logits.shape[-1])
