"""Training passes as CUDA graphs, for GPUs that compute a small batch faster than Python can launch its kernels.

At batch size 4 a pass of BERT-base is several hundred kernels of a few microseconds each, so a GPU spends most of a
step waiting for launches. A CUDA graph replays a whole forward and backward pass in one launch, but only in the shapes
it was recorded with. Therefore each recording runs the whole network under masks that are inputs of the graph, over
batches padded to one of a few lengths. A few recordings then serve all sub-networks of all steps. Slices would save
arithmetic, but that arithmetic costs a GPU less than the launches of sliced passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nasbench.data.batching import Batch
from nasbench.networks.attention import Noise
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.losses import Kind, distillation_loss, label_loss
from nasbench.training.strategies import Pass, Step, TrainingStrategy

N_LENGTHS = 8
"""Largest number of different lengths to which batches are padded, hence of shapes to record."""
MULTIPLE = 8
"""Padded lengths are multiples of this: kernels for masked attention need aligned rows."""
N_WARM_UPS = 3
"""Passes before a recording, in which libraries choose kernels and allocate workspace."""

Recording = Literal["teaching", "on labels", "distilled"]
"""Kind of recorded pass: logits of the teacher only, loss on labels, or loss on labels and teacher."""


class GraphedPasses:
    """Adds up the gradients of a step's passes by replaying recordings. Equals sliced passes up to rounding.

    Without a GPU nothing can be recorded and every pass is computed anew. This is slower than slices but lets tests
    compare the two.

    Args:
        network: each parameter must have a ``grad`` that stays the same tensor throughout training.
        strategy: temperature and T^2 factor of distilled passes.
        n_examples: batch size. Other batches, such as the last one of an epoch, are not covered.
        longest: tokens of the longest sequence.
    """

    def __init__(
        self, network: SuperNetwork, kind: Kind, strategy: TrainingStrategy, n_examples: int, longest: int
    ) -> None:
        self._network, self._kind, self._strategy = network, kind, strategy
        self._n_examples = n_examples
        self._longest, self._length_step = longest, MULTIPLE * -(-longest // (MULTIPLE * N_LENGTHS))
        self._masks = None if network.is_extracted else _Masks(network)
        self._inputs: dict[int, _Inputs] = {}
        self._memory: Any = None

    def covers(self, n_examples: int) -> bool:
        """Whether recordings exist for batches of this size."""
        return n_examples == self._n_examples

    def padded_length(self, length: int) -> int:
        """The length to which a batch of this length must be padded; one of at most :data:`N_LENGTHS` values."""
        return min(self._longest, self._length_step * -(-length // self._length_step))

    def record(self, batch: Batch, step: Step) -> None:
        """Record the passes of a step that are not recorded yet. Call this before seeding random numbers.

        Gradients must be zero, and are zero afterwards.

        Raises:
            RuntimeError: if the device cannot record.
        """
        length = batch.input_ids.shape[1]
        if length not in self._inputs:
            self._inputs[length] = _Inputs.like(batch, self._network)
        inputs = self._inputs[length]
        needed = {_recording(training_pass) for training_pass in step.passes}
        if step.frozen_teacher:
            needed.add("teaching")
        for recording in needed - inputs.replay.keys():
            inputs.replay[recording] = self._recorded(partial(self._pass, inputs, recording))

    def accumulate(self, batch: Batch, embedded: Tensor, step: Step) -> Tensor:
        """Add the gradients of all passes of a step to ``grad``. Call :meth:`record` for the step first.

        Args:
            embedded: embeddings of the batch, ``(n_sequences, length, d)``.

        Returns:
            Gradient of the embeddings; the next step overwrites it.
        """
        inputs = self._inputs[batch.input_ids.shape[1]]
        inputs.take(batch, embedded)
        if step.frozen_teacher:
            self._replay(inputs, "teaching", None)
            inputs.teacher.copy_(inputs.logits)
        for i, training_pass in enumerate(step.passes):
            self._replay(inputs, _recording(training_pass), training_pass.subnetwork)
            if i == 0 and not step.frozen_teacher:
                inputs.teacher.copy_(inputs.logits)
        assert inputs.embedded.grad is not None
        return inputs.embedded.grad

    def _replay(self, inputs: _Inputs, recording: Recording, subnetwork: SubNetwork | None) -> None:
        if self._masks is not None:
            self._masks.take(subnetwork or self._network.subnetwork)
        inputs.replay[recording]()

    def _pass(self, inputs: _Inputs, recording: Recording) -> None:
        """One pass over static tensors. No operation may wait for the device or depend on a tensor's value."""
        with torch.set_grad_enabled(recording != "teaching"):
            logits = self._network.classify(self._encode(inputs.embedded, inputs.is_token))
        with torch.no_grad():
            inputs.logits.copy_(logits)
        if recording == "teaching":
            return
        loss = label_loss(self._kind, logits, inputs.labels)
        if recording == "distilled":
            temperature, t_squared = self._strategy.temperature, self._strategy.t_squared
            loss = loss + distillation_loss(self._kind, logits, inputs.teacher, temperature, t_squared)
        loss.backward()  # type: ignore[no-untyped-call]

    def _encode(self, hidden: Tensor, is_token: Tensor) -> Tensor:
        """Hidden state of the first token, ``(n_sequences, d)``, of the sub-network that the masks select."""
        network, masks = self._network, self._masks
        hidden = network.dropout(hidden)
        for i, layer_slice in enumerate(network.slices()):
            if layer_slice.head_rows is not None:
                context = network.context(i, layer_slice, hidden, is_token)
                if masks is not None:
                    by_head = context.view(*context.shape[:2], layer_slice.n_heads, -1)
                    context = (by_head * masks.heads[i, :, None]).flatten(2)
                output = network.attention_output(i, layer_slice, context, hidden)
                hidden = output if masks is None else torch.where(masks.heads[i].any(), output, hidden)
            if layer_slice.units is not None:
                inner = network.inner(i, layer_slice, hidden)
                if masks is not None:
                    inner = inner * masks.units[i]
                output = network.feed_forward_output(i, layer_slice, inner, hidden)
                hidden = output if masks is None else torch.where(masks.units[i].any(), output, hidden)
        return network.states(network.read(hidden, is_token))

    def _recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record ``work``. Returns a function that repeats it on the same tensors."""
        if self._network.device.type != "cuda":
            return work
        self._network.noise = Noise(0)  # switches dropout on; a GPU draws it from torch's generator
        aside = _side_stream(self._network.device)
        aside.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(aside):
                for _ in range(N_WARM_UPS):
                    work()
            torch.cuda.current_stream().wait_stream(aside)
            if self._memory is None:
                self._memory = torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            # Passes run one after the other and keep no results in the pool, so all can share its memory.
            with torch.cuda.graph(graph, pool=self._memory):
                work()
        finally:
            self._clear_gradients()
        return graph.replay

    def _clear_gradients(self) -> None:
        torch._foreach_zero_([p.grad for p in self._network.parameters() if p.grad is not None])


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of all warm-ups on a device. Each further stream would keep a cuBLAS workspace of its own."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _recording(training_pass: Pass) -> Recording:
    return "distilled" if training_pass.distilled else "on labels"


@dataclass
class _Inputs:
    """Tensors that the recordings for one batch shape read and write, and the recordings themselves."""

    embedded: Tensor
    is_token: Tensor
    labels: Tensor
    logits: Tensor
    teacher: Tensor
    replay: dict[Recording, Callable[[], None]] = field(default_factory=dict)

    @staticmethod
    def like(batch: Batch, network: SuperNetwork) -> _Inputs:
        """Empty inputs in the shape of a batch."""
        device = batch.input_ids.device
        width = network.dims.hidden_size
        embedded = torch.zeros(*batch.input_ids.shape, width, dtype=network.dtype, device=device).requires_grad_()
        embedded.grad = torch.zeros_like(embedded)
        with torch.no_grad():
            logits = torch.zeros_like(network.classify(embedded[:, 0]))
        is_token = torch.ones_like(batch.input_ids, dtype=torch.bool)
        return _Inputs(embedded, is_token, torch.zeros_like(batch.labels), logits, torch.zeros_like(logits))

    def take(self, batch: Batch, embedded: Tensor) -> None:
        """Copy a batch in and zero the gradient of the embeddings."""
        assert self.embedded.grad is not None
        with torch.no_grad():
            self.embedded.copy_(embedded)
            self.embedded.grad.zero_()
            self.labels.copy_(batch.labels)
            if batch.attention_mask is None:
                self.is_token.fill_(True)
            else:
                self.is_token.copy_(batch.attention_mask)


class _Masks:
    """Masks of the next pass's sub-network, on the device."""

    def __init__(self, network: SuperNetwork) -> None:
        full = network.subnetwork
        self.heads = torch.ones(full.heads.shape, dtype=torch.bool, device=network.device)
        self.units = torch.ones(full.units.shape, dtype=torch.bool, device=network.device)

    def take(self, subnetwork: SubNetwork) -> None:
        """Copy a sub-network's masks to the device without waiting for it."""
        for target, source in ((self.heads, subnetwork.heads), (self.units, subnetwork.units)):
            values = torch.from_numpy(np.array(source))
            target.copy_(values.pin_memory() if target.device.type == "cuda" else values, non_blocking=True)
