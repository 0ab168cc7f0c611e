"""Training: optimizer steps over sub-networks of one set of weights.

A step looks up the embeddings once and runs each sub-network forward and backward in turn, so only the activations of
one pass are in memory. Every pass adds its gradient to the slices of ``grad`` that it used; then AdamW makes one step.
All randomness of a step comes from (seed, step), so an interrupted training continues as if nothing had happened.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nasbench.arrays import IntArray
from nasbench.data.batching import Batch, collate, example_lengths, n_batches, padded_lengths, training_order
from nasbench.declarations.model import TrainingConfiguration
from nasbench.declarations.task import Kind
from nasbench.errors import first_error, first_line
from nasbench.networks.attention import Noise
from nasbench.networks.sliced import length_grid
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.cuda_graphs import GraphedPasses
from nasbench.training.losses import WHOLE, Shares, distilled, label_loss, share_of
from nasbench.training.objective import Objective
from nasbench.training.strategies import Step, TrainingStrategy
from nasbench.training.vocabulary import ActiveVocabulary, WholeVocabulary

if TYPE_CHECKING:
    from nasbench.data.splits import Split

StepSchedule = Callable[[int, int, np.random.Generator], Step]
"""Gives the passes of each optimizer step: ``(step number, n_steps, rng) -> Step``."""


class Trainer:
    """Trains a network on a split for a fixed number of epochs; can pause after any step.

    The optimizer is AdamW with torch's betas and epsilon. The learning rate rises linearly over the warm-up and then
    falls linearly to 0. Gradients are not clipped (section 4.1.3 of the paper and its published code).

    Args:
        network: trained in place.
        kind: kind of the task; decides the loss.
        schedule: the passes of each step.
        strategy: temperature and T^2 factor of distilled passes; its other fields are not used.
        seed: for batch order, sub-networks and dropout.
        objective: what the whole network learns in place of the schedule's passes.

    Attributes:
        n_declared: number of steps that the training configuration asks for.
        n_steps: number of steps of the whole training; fewer than declared after :meth:`shorten`.
        step: number of steps made so far.
        n_parts: parts in which a batch is computed, one after the other; more than 1 after a lack of memory.
        is_between_steps: False while a step changes the weights; :meth:`state` is then inconsistent.
    """

    def __init__(
        self,
        network: SuperNetwork,
        split: Split,
        kind: Kind,
        fine_tuning: TrainingConfiguration,
        schedule: StepSchedule,
        strategy: TrainingStrategy,
        pad_id: int,
        seed: int,
        objective: Objective | None = None,
    ) -> None:
        self.network = network
        self._objective = objective
        self._split, self._kind, self._schedule, self._strategy = split, kind, schedule, strategy
        self._fine_tuning, self._pad_id, self._seed = fine_tuning, pad_id, seed
        self.steps_per_epoch = n_batches(split, fine_tuning.batch_size)
        self.n_declared = self.n_steps = self.steps_per_epoch * fine_tuning.epochs
        self.step = 0
        self.n_parts = 1
        self.is_between_steps = True
        self._vocabulary: ActiveVocabulary | WholeVocabulary = (
            WholeVocabulary(network.adapter.word_embeddings)  # a language model's head trains every word
            if network.adapter.readout == "every"
            else ActiveVocabulary(network.adapter.word_embeddings, split.tokens, pad_id)
        )
        table = network.adapter.word_embeddings.weight
        self._parameters = [self._vocabulary.rows, *(p for p in network.parameters() if p is not table)]
        groups: list[dict[str, Any]] = [{"params": self._parameters}]
        if objective is not None and objective.tensors():
            groups.append({"params": objective.tensors(), "weight_decay": 0.0})
        self._optimizer = torch.optim.AdamW(
            groups, lr=fine_tuning.learning_rate, weight_decay=fine_tuning.weight_decay, fused=True
        )
        for parameter in self._trained():
            parameter.grad = torch.zeros_like(parameter)
        self._order: tuple[int, list[IntArray]] = (-1, [])
        self._lengths = example_lengths(split)
        self._padded_lengths = padded_lengths(split, length_grid(network.dtype, network.device))
        self._graphed: GraphedPasses | None = None
        is_recordable = network.adapter.readout != "every" and not network.subnetwork.is_factored
        is_recordable = is_recordable and objective is None
        if network.device.type == "cuda" and is_recordable:
            self._graphed = GraphedPasses(network, kind, strategy, fine_tuning.batch_size, int(self._lengths.max()))

    def run(self, until: int | None = None, after_step: Callable[[], None] = lambda: None) -> None:
        """Train until ``until`` steps have been made in total (default: all).

        Args:
            after_step: called after every step; may raise to stop the training.
        """
        self.network.model.train()
        is_interrupted = False
        try:
            with _preserved_random_state(self.network.device):
                while self.step < (self.n_steps if until is None else min(until, self.n_steps)):
                    self._make_step()
                    self.step += 1
                    self.is_between_steps = True
                    after_step()
        except KeyboardInterrupt:
            is_interrupted = True
            raise
        finally:
            self.network.model.eval()
            self.network.noise = None
            if not is_interrupted:  # a resumed training then rounds as if nothing had happened: the state has all parts
                self._vocabulary.write_back()
            self.network.refresh()

    def warm_up(self) -> None:
        """Compute the gradients of the next step and drop them. The training goes on as if nothing had happened.

        What a GPU does once is done then: loading kernels, making handles, recording a step.

        Raises:
            torch.OutOfMemoryError: if one example does not fit the memory.
        """
        self.network.model.train()
        try:
            with _preserved_random_state(self.network.device):
                self._compute_gradients()
                self._clear_gradients()
                # An optimizer of its own: a step of the training's would change its state.
                spare = torch.zeros(1, device=self.network.device, requires_grad=True)
                spare.grad = torch.zeros_like(spare)
                torch.optim.AdamW([spare], fused=True).step()
        finally:
            self.network.model.eval()
            self.network.noise = None

    def shorten(self, n_steps: int) -> None:
        """End after fewer steps. From the next step on, the learning rate is that of a training of this length.

        Raises:
            ValueError: if the training has made more steps already, or has fewer.
        """
        if not self.step <= n_steps <= self.n_steps:
            raise ValueError(f"a training of {self.n_steps} steps, now at {self.step}, cannot end at {n_steps}")
        self.n_steps = n_steps

    def release(self) -> None:
        """Free gradients and optimizer state. The trainer cannot run again."""
        for parameter in self._trained():
            parameter.grad = None
        self._optimizer.state.clear()
        self._graphed = None

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs. The tensors are shared with the running training."""
        return {
            "step": self.step,
            "n_steps": self.n_steps,
            "n_parts": self.n_parts,
            "n_at_once": None if self._graphed is None else self._graphed.n_at_once,
            "model": self.network.model.state_dict(),
            "vocabulary": self._vocabulary.state(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state` of a trainer that was made with the same arguments."""
        self.network.model.load_state_dict(state["model"])
        self._vocabulary.restore(state["vocabulary"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.n_steps = state.get("n_steps", self.n_steps)  # older checkpoints have no shortened trainings
        self.n_parts = state.get("n_parts", 1)
        if self.n_parts > 1:  # parts have no recordings, and little memory is left for them
            self._graphed = None
        if self._graphed is not None:
            self._graphed.n_at_once = state.get("n_at_once")
        self.network.refresh()

    def learning_rate(self, step: int) -> float:
        """Learning rate of step number ``step``, counted from 0: linear warm-up, then linear decay to 0."""
        n_warmup = round(self._fine_tuning.warmup * self.n_steps)
        if step < n_warmup:
            return self._fine_tuning.learning_rate * step / n_warmup
        return self._fine_tuning.learning_rate * (self.n_steps - step) / max(1, self.n_steps - n_warmup)

    def _make_step(self) -> None:
        is_replayed = self._compute_gradients()
        rate = self.learning_rate(self.step)
        self.is_between_steps = False
        self._optimizer.param_groups[0]["lr"] = rate
        for group in self._optimizer.param_groups[1:]:
            assert self._objective is not None
            group["lr"] = self._objective.rate / self.n_steps
        self._optimizer.step()
        self._vocabulary.decay_others(1 - rate * self._fine_tuning.weight_decay)
        if not is_replayed:  # recordings have copies of their own, and slices find out that theirs are old
            self.network.refresh()
        self._clear_gradients()

    def _compute_gradients(self) -> bool:
        """Add the gradients of the next step to ``grad``. Returns whether the step has a recording."""
        index = self._batch_index()
        graphed = self._graphed if self._graphed is not None and self._graphed.covers(len(index)) else None
        if graphed is None:
            length = int(self._padded_lengths[index].max())
        else:
            length = graphed.padded_length(int(self._lengths[index].max()))
        batch = collate(self._split, index, self._pad_id, length).to(self.network.device)
        rng = np.random.default_rng((self._seed, 1, self.step))
        step = self._schedule(self.step, self.n_steps, rng)
        if graphed is not None and not self._can_record(graphed, batch, step):
            graphed = self._graphed = None
        noise_seed = int(rng.integers(2**63))
        self._accumulate_within_memory(index, batch, step, graphed, noise_seed)
        return graphed is not None

    @staticmethod
    def _can_record(graphed: GraphedPasses, batch: Batch, step: Step) -> bool:
        outer = sys.exc_info()[1]
        try:
            graphed.record(batch, step)
        except RuntimeError as error:
            reason = first_line(first_error(error, outer))
            warnings.warn(f"training continues without CUDA graphs, more slowly: {reason}", stacklevel=2)
            return False
        return True

    def _accumulate_within_memory(
        self, index: IntArray, batch: Batch, step: Step, graphed: GraphedPasses | None, noise_seed: int
    ) -> None:
        """Add the gradients of a step. Where the batch does not fit the memory, it is halved, for good.

        Raises:
            torch.OutOfMemoryError: if one example does not fit either.
        """
        while True:
            try:
                if self.n_parts == 1:
                    self._set_noise(noise_seed)
                    self._accumulate_gradients(batch, step, graphed)
                    return
                for number, part in enumerate(np.array_split(index, min(self.n_parts, len(index)))):
                    self._set_noise((noise_seed + number) % 2**63)
                    piece = collate(self._split, part, self._pad_id).to(self.network.device)
                    self._accumulate_gradients(piece, step, None, Shares.of(self._kind, piece, batch))
                return
            except torch.OutOfMemoryError:
                if self.n_parts >= len(index):
                    raise
            self.n_parts *= 2
            self._graphed = None
            self._clear_gradients()
            if self.network.device.type == "cuda":
                torch.cuda.empty_cache()

    def _set_noise(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.network.noise = Noise(seed)

    def _clear_gradients(self) -> None:
        self._vocabulary.clear_gradient(only_last=self.n_parts == 1)
        torch._foreach_zero_([p.grad for p in self._trained()[1:] if p.grad is not None])

    def _trained(self) -> list[Tensor]:
        """The word vectors in use, the network's other parameters, and the tensors of the objective."""
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _accumulate_gradients(
        self, batch: Batch, step: Step, graphed: GraphedPasses | None, shares: Shares = WHOLE
    ) -> None:
        """Add the gradients of all passes of a step to ``grad``, or what a part of its batch adds to them."""
        embedded = self.network.embed(batch, self._vocabulary.look_up(batch.input_ids))
        if graphed is not None:
            gradient = graphed.accumulate(batch, embedded, step)
        else:
            gradient = self._run_passes(batch, embedded.detach().requires_grad_(), step, shares)
        embedded.backward(gradient)  # type: ignore[no-untyped-call]

    def _run_passes(self, batch: Batch, embedded: Tensor, step: Step, shares: Shares) -> Tensor:
        """Run each pass sliced. Returns the gradient of the embeddings, a leaf that all passes share."""
        if self._objective is not None:
            progress = self.step / self.n_steps
            loss = self._objective.loss(self.network, self._kind, batch, embedded, progress, shares)
            loss.backward()  # type: ignore[no-untyped-call]
            assert embedded.grad is not None
            return embedded.grad
        network, is_language_model = self.network, self.network.adapter.readout == "every"
        teacher: Tensor | None = None  # logits; for a language model, the hidden states
        if step.frozen_teacher:
            with torch.no_grad():
                teacher = network.encode(embedded, batch.attention_mask, network.slices())
                teacher = teacher if is_language_model else network.classify(teacher)
        for training_pass in step.passes:
            slices = network.slices(training_pass.subnetwork)
            states = network.encode(embedded, batch.attention_mask, slices)
            if training_pass.distilled:
                assert teacher is not None
                temperature, t_squared = self._strategy.temperature, self._strategy.t_squared
                logits, extra = distilled(network, self._kind, batch, states, teacher, temperature, t_squared)
                loss = share_of(label_loss(self._kind, logits, batch.labels), shares.labels)
                loss = loss + share_of(extra, shares.marked)
            else:
                logits = network.classify(states, batch)
                loss = share_of(label_loss(self._kind, logits, batch.labels), shares.labels)
                if teacher is None:
                    teacher = (states if is_language_model else logits).detach()
            loss.backward()  # type: ignore[no-untyped-call]
        assert embedded.grad is not None
        return embedded.grad

    def _batch_index(self) -> IntArray:
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if self._order[0] != epoch:
            rng = np.random.default_rng((self._seed, 0, epoch))
            self._order = epoch, training_order(self._split, self._fine_tuning.batch_size, rng)
        return self._order[1][position]


@contextmanager
def _preserved_random_state(device: torch.device) -> Iterator[None]:
    """Restore torch's global generators afterwards: dropout on a GPU draws from them."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices, device_type="cuda"):
        yield
