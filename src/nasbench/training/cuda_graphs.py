"""Training steps as CUDA graphs, for GPUs that compute a small batch faster than Python can launch its kernels.

At batch size 4 a pass of BERT-base is several hundred kernels of a few microseconds each, so a GPU spends most of a
step waiting for launches. All passes of a step therefore run as one batch under masks
(:mod:`nasbench.networks.passes.batched`), and a CUDA graph replays that batch, forward and backward, in one launch. A
graph repeats only the shapes that it was recorded with, so batches are padded to one of a few lengths. A few recordings
then serve all sub-networks of all steps. Slices would save arithmetic, but that arithmetic costs a GPU less than the
launches of sliced passes.

Where the memory does not hold the activations of all passes, a step is recorded in two groups of passes, then in four,
down to one pass in each group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nasbench.data.batching import Batch
from nasbench.declarations.task import Kind
from nasbench.networks.attention import Noise
from nasbench.networks.passes.batched import BatchedEncoder, Masks
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.losses import distillation_loss, label_loss
from nasbench.training.strategies import Step, TrainingStrategy

N_LENGTHS = 8
"""Largest number of different lengths to which batches are padded, hence of shapes to record."""
MULTIPLE = 8
"""Padded lengths are multiples of this, up to the length of the longest text: kernels prefer aligned rows."""
N_WARM_UPS = 3
"""Runs before a recording, in which libraries choose kernels and allocate workspace."""

Role = Literal["teaching", "on labels", "distilled"]
"""What a pass does: logits of the teacher only, loss on labels, or loss on labels and teacher."""


@dataclass(frozen=True)
class Group:
    """Passes of a step that run as one batch. Steps whose groups are equal share a recording.

    Attributes:
        roles: what each pass does.
        begins: whether these are the first passes of a step. The first of them is then the teacher of all others.
    """

    roles: tuple[Role, ...]
    begins: bool


class GraphedPasses:
    """Adds up the gradients of a step's passes by replaying recordings. Equals sliced passes up to rounding.

    Without a GPU nothing can be recorded and every group is computed anew. This is slower than slices but lets tests
    compare the two.

    Args:
        network: each parameter must have a ``grad`` that stays the same tensor throughout training.
        strategy: temperature and T^2 factor of distilled passes.
        n_examples: batch size. Other batches, such as the last one of an epoch, are not covered.
        longest: tokens of the longest sequence.

    Attributes:
        n_at_once: largest number of passes in a group; None for all of a step.
    """

    def __init__(
        self, network: SuperNetwork, kind: Kind, strategy: TrainingStrategy, n_examples: int, longest: int
    ) -> None:
        self.n_at_once: int | None = None
        self._network, self._kind, self._strategy = network, kind, strategy
        self._n_examples = n_examples
        self._longest, self._length_step = longest, MULTIPLE * -(-longest // (MULTIPLE * N_LENGTHS))
        self._encoder = BatchedEncoder(network)
        self._inputs: dict[int, _Inputs] = {}
        self._memory: Any = None

    def covers(self, n_examples: int) -> bool:
        """Whether recordings exist for batches of this size."""
        return n_examples == self._n_examples

    def padded_length(self, length: int) -> int:
        """The length to which a batch of this length must be padded; one of at most :data:`N_LENGTHS` values."""
        return min(self._longest, self._length_step * -(-length // self._length_step))

    def record(self, batch: Batch, step: Step) -> None:
        """Record the groups of a step that are not recorded yet. Call this before seeding random numbers.

        Gradients must be zero, and are zero afterwards. Where a group does not fit the memory, groups are halved, for
        good.

        Raises:
            torch.OutOfMemoryError: if one pass does not fit either.
            RuntimeError: if the device cannot record.
        """
        while True:
            largest = max(len(group.roles) for group, _ in self._groups(step))
            try:
                self._record_groups(batch, step)
                return
            except torch.OutOfMemoryError:
                if largest == 1:
                    raise
            self.n_at_once = -(-largest // 2)
            self._inputs.clear()
            self._memory = None
            if self._network.device.type == "cuda":
                torch.cuda.empty_cache()

    def accumulate(self, batch: Batch, embedded: Tensor, step: Step) -> Tensor:
        """Add the gradients of all passes of a step to ``grad``. Call :meth:`record` for the step first.

        Args:
            embedded: embeddings of the batch, ``(n_sequences, length, d)``.

        Returns:
            Gradient of the embeddings; the next step overwrites it.
        """
        inputs = self._inputs[batch.input_ids.shape[1]]
        inputs.take(batch, embedded)
        for group, subnetworks in self._groups(step):
            recording = inputs.recordings[group]
            if recording.masks is not None:
                recording.masks.take(subnetworks)
            recording.replay()
        assert inputs.embedded.grad is not None
        return inputs.embedded.grad

    def _groups(self, step: Step) -> list[tuple[Group, list[SubNetwork]]]:
        """The groups of a step, with the sub-network of each pass."""
        full = self._network.subnetwork
        passes: list[tuple[Role, SubNetwork]] = [("teaching", full)] if step.frozen_teacher else []
        passes += [("distilled" if p.distilled else "on labels", p.subnetwork or full) for p in step.passes]
        size = self.n_at_once or len(passes)
        parts = [passes[start : start + size] for start in range(0, len(passes), size)]
        return [(Group(tuple(role for role, _ in part), i == 0), [s for _, s in part]) for i, part in enumerate(parts)]

    def _record_groups(self, batch: Batch, step: Step) -> None:
        length = batch.input_ids.shape[1]
        if length not in self._inputs:
            self._inputs[length] = _Inputs.like(batch, self._network)
        inputs = self._inputs[length]
        for group, _ in self._groups(step):
            if group not in inputs.recordings:
                masks = None if self._network.is_extracted else _StaticMasks(self._network, len(group.roles))
                replay = self._recorded(partial(self._run, inputs, group, masks))
                inputs.recordings[group] = _Recording(replay, masks)

    def _run(self, inputs: _Inputs, group: Group, masks: _StaticMasks | None) -> None:
        """All passes of a group over static tensors. No operation may wait for the device or depend on a value."""
        n_passes = len(group.roles)
        learns = group.roles != ("teaching",)
        if group.begins:
            self._encoder.refresh()
        with torch.set_grad_enabled(learns):
            selected = None if masks is None else masks.selected
            states = self._encoder.encode(inputs.embedded, inputs.is_token, selected, n_passes)
            logits = self._network.classify(states.flatten(0, 1)).view(n_passes, *inputs.teacher.shape)
        if group.begins:
            with torch.no_grad():
                inputs.teacher.copy_(logits[0])
        if learns:
            self._loss(logits, inputs, group).backward()  # type: ignore[no-untyped-call]
            self._encoder.add_gradients()

    def _loss(self, logits: Tensor, inputs: _Inputs, group: Group) -> Tensor:
        """Sum of the losses of all passes, from logits ``(n_passes, n_examples, n_logits)``."""
        by_role = list(zip(group.roles, logits.unbind(), strict=True))
        learning = [values for role, values in by_role if role != "teaching"]
        distilled = [values for role, values in by_role if role == "distilled"]
        # The losses are means over examples, and all passes have equally many.
        loss = len(learning) * label_loss(self._kind, torch.cat(learning), inputs.labels.repeat(len(learning)))
        if distilled:
            teacher = inputs.teacher.repeat(len(distilled), 1)
            temperature, t_squared = self._strategy.temperature, self._strategy.t_squared
            divergence = distillation_loss(self._kind, torch.cat(distilled), teacher, temperature, t_squared)
            loss = loss + len(distilled) * divergence
        return loss

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
            # Groups run one after the other and keep no results in the pool, so all can share its memory.
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


@dataclass(frozen=True)
class _Recording:
    """What repeats a group, and the masks that it reads; None if the network has no sub-networks."""

    replay: Callable[[], None]
    masks: _StaticMasks | None


@dataclass
class _Inputs:
    """Tensors that the recordings for one batch shape read and write, and the recordings themselves."""

    embedded: Tensor
    is_token: Tensor
    labels: Tensor
    teacher: Tensor
    recordings: dict[Group, _Recording] = field(default_factory=dict)

    @staticmethod
    def like(batch: Batch, network: SuperNetwork) -> _Inputs:
        """Empty inputs in the shape of a batch."""
        device = batch.input_ids.device
        width = network.dims.hidden_size
        embedded = torch.zeros(*batch.input_ids.shape, width, dtype=network.dtype, device=device).requires_grad_()
        embedded.grad = torch.zeros_like(embedded)
        with torch.no_grad():
            teacher = torch.zeros_like(network.classify(embedded[:, 0]))
        is_token = torch.ones_like(batch.input_ids, dtype=torch.bool)
        return _Inputs(embedded, is_token, torch.zeros_like(batch.labels), teacher)

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


class _StaticMasks:
    """Masks of the sub-networks of a group, on the device, in memory that stays the same."""

    def __init__(self, network: SuperNetwork, n_passes: int) -> None:
        dims = network.dims
        shape = (n_passes, dims.n_layers, dims.n_heads + dims.n_units)
        self._values = torch.ones(shape, dtype=torch.bool, device=network.device)
        self.selected = Masks(self._values[:, :, : dims.n_heads], self._values[:, :, dims.n_heads :])

    def take(self, subnetworks: Sequence[SubNetwork]) -> None:
        """Copy the masks of sub-networks to the device, in one copy and without waiting for it."""
        values = torch.from_numpy(np.stack([np.concatenate((s.heads, s.units), axis=1) for s in subnetworks]))
        on_gpu = self._values.device.type == "cuda"
        self._values.copy_(values.pin_memory() if on_gpu else values, non_blocking=True)
