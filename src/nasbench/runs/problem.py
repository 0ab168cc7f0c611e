"""What a method sees, and the only way to report.

A method gets train and validation data, the pre-trained network, the space and a seed, and calls
:meth:`Problem.evaluate`. The harness behind it measures error and size itself, writes the evaluation down before the
next one starts, computes the test metric off the clock for members of the validation Pareto front, and raises
:class:`~nasbench.errors.BudgetExhausted` when the time is up. A method has no test split, no clock and no record of
its own.

Resuming is repeating: a run that was killed calls the method again from the start, with the clock stopped.
Evaluations already in the record are answered from it and trainings that led to them are skipped, until the first new
one.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nasbench.arrays import IntArray
from nasbench.data.batching import Batch, collate
from nasbench.declarations.model import Model, TrainingConfiguration
from nasbench.declarations.task import Task
from nasbench.errors import MethodError
from nasbench.networks.space import Config, SearchSpace, Small, make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.records.record import Evaluation
from nasbench.runs.context import RunContext
from nasbench.runs.harness import Harness
from nasbench.runs.session import TrainingSession
from nasbench.search.searcher import Searcher
from nasbench.training.evaluation import Evaluator
from nasbench.training.strategies import FINE_TUNING_STEP, Step, TrainingStrategy
from nasbench.training.trainer import Trainer

if TYPE_CHECKING:
    from nasbench.data.splits import Split


class Problem:
    """One task, one pre-trained network, one space, one budget.

    Attributes:
        task, model: the declarations.
        space: where configurations come from.
        train, validation: tokenised examples.
        searcher: the one asked for, None if the method uses none.
        fine_tuning: defaults declared with the model.
        seed: of everything; ``rng`` is the method's own generator, made from it.
        pad_id: the tokenizer's padding token.
    """

    def __init__(
        self,
        task: Task,
        model: Model,
        space: SearchSpace,
        train: Split,
        validation: Split,
        seed: int,
        pad_id: int,
        pretrained: Callable[[], SuperNetwork],
        context: RunContext,
    ) -> None:
        self.task, self.model, self.space = task, model, space
        self.train, self.validation = train, validation
        self.searcher: Searcher | None = None
        self.seed, self.pad_id = seed, pad_id
        self.fine_tuning: TrainingConfiguration = model.fine_tuning
        self.rng = np.random.default_rng((seed, _stream("method")))
        self._pretrained = pretrained
        self._context = context
        self._budget = context.budget
        self._trained: set[str] = set()
        # Made now, from data that no method has had in its hands.
        validator = Evaluator(validation, task, pad_id, context.test.device)
        self._harness = Harness(space, validator, context)

    @property
    def dims(self) -> Dimensions:
        """Sizes of the full network."""
        return self.space.dims

    @property
    def is_repeating(self) -> bool:
        """Whether the next evaluation is answered from the record of an earlier attempt."""
        return self._harness.is_repeating

    def pretrained(self, name: str = "network") -> SuperNetwork:
        """A fresh copy of the pre-trained network with its untrained classifier, the same at every call."""
        with self._budget.uncharged("loading"):
            network = self._pretrained()
            network.name = name
            return network

    def batch(self, split: Split, index: IntArray) -> Batch:
        """Padded examples of a split on the device."""
        return collate(split, index, self.pad_id).to(self._device)

    def check_budget(self) -> None:
        """Raise :class:`BudgetExhausted` once the budget is spent; for loops that do not evaluate for long."""
        self._budget.check()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the time inside to ``training`` or ``search``; for the account at the end, not for the budget."""
        self._context.observer.phase(name, self._budget.elapsed_s)
        with self._budget.charged(name):
            yield

    def note_duplicate(self) -> None:
        """A proposal named a network that has been evaluated: count it in the next evaluation's record."""
        self._harness.note_duplicate()

    def training(
        self,
        network: SuperNetwork,
        strategy: TrainingStrategy | None = None,
        fine_tuning: TrainingConfiguration | None = None,
    ) -> TrainingSession:
        """A training of a network on the train split, which can be run in slices.

        Args:
            network: trained in place; its name names the training and its checkpoint.
            strategy: how a super-network is trained; None fine-tunes everything the network holds, on the labels.
            fine_tuning: learning rate and so on; None takes the model's.

        Raises:
            MethodError: if there has been a training of that name: what is left of one would pass for the other's.
        """
        if network.name in self._trained:
            raise MethodError(
                f"two trainings are called {network.name!r}; give the second network a name of its own, with "
                "pretrained(name), extract(subnetwork, name) or renamed(name)"
            )
        self._trained.add(network.name)
        fine_tuning = fine_tuning or self.fine_tuning
        return TrainingSession(
            self._context, network, fine_tuning, lambda: self._trainer(network, strategy, fine_tuning),
            lambda: self.is_repeating, self._training_key(network, strategy, fine_tuning),
        )  # fmt: skip

    def evaluate(self, network: SuperNetwork, config: Config, epochs: float | None = None) -> Evaluation:
        """Measure a sub-network on the validation split and record it.

        Args:
            network: the shared weights, of which the sub-network is run as a slice, or a network extracted as it.
                Its name names the file of its weights: other weights need another name, see
                :meth:`SuperNetwork.renamed`.
            config: a point of the space.
            epochs: of training behind it, where that varies.

        Returns:
            What was recorded, without test results. ``status`` is ``failed`` where the outputs were not finite.

        Raises:
            BudgetExhausted: if the budget was spent before the measurement ended; nothing is recorded.
            MethodError: if ``config`` is no point of the space, the network is not one of its sub-networks or has
                other parameters than it says, or other weights have been saved under its name.
        """
        config = np.asarray(config)
        subnetwork = self._checked(network, config)
        return self._harness.evaluate(
            network, [config], lambda evaluator: evaluator.logits(network, subnetwork)[None], epochs=epochs
        )[0]

    def evaluate_depths(self, network: SuperNetwork, config: Config) -> list[Evaluation]:
        """Measure (h, u, l) of SMALL for every depth l = 0, 1, ..., L at the price of the deepest: one pass.

        A pass of (h, u, L) goes through all shallower networks; the classifier reads each of them. Depths whose
        network has been reported before (all with l = 0 are one) are not reported again.

        Args:
            network: shared weights, not extracted.
            config: ``(h, u, L)``.

        Returns:
            New evaluations, shallowest first; errors as for :meth:`evaluate`.

        Raises:
            MethodError: also in another space than SMALL.
        """
        if not isinstance(self.space, Small):
            raise MethodError(f"evaluate_depths() needs space 'small', not {self.space.name!r}")
        config = np.asarray(config)
        deepest = self._checked(network, config)
        configs = [np.array([*config[:2], depth], dtype=np.int64) for depth in range(int(config[2]) + 1)]
        keys = [self.space.to_subnetwork(one).key for one in configs]
        new = [i for i, key in enumerate(keys) if not self._harness.has_evaluated(key) and key not in keys[:i]]
        if not new:
            self.note_duplicate()
            return []
        return self._harness.evaluate(
            network,
            [configs[i] for i in new],
            lambda evaluator: evaluator.logits_of_depths(network, deepest, int(config[2]))[new],
            is_shared=True,
        )

    @property
    def _device(self) -> torch.device:
        return self._context.test.device

    def _trainer(
        self, network: SuperNetwork, strategy: TrainingStrategy | None, fine_tuning: TrainingConfiguration
    ) -> Trainer:
        space = self._training_space(strategy)

        def plan(step: int, n_steps: int, rng: np.random.Generator) -> Step:
            return FINE_TUNING_STEP if strategy is None else strategy.step(step, n_steps, space, rng)

        seed = np.random.SeedSequence((self.seed, _stream(network.name)))
        return Trainer(
            network, self.train, self.task.kind, fine_tuning, plan, strategy or TrainingStrategy(), self.pad_id,
            int(seed.generate_state(1)[0]),
        )  # fmt: skip

    def _training_space(self, strategy: TrainingStrategy | None) -> SearchSpace:
        if strategy is None or strategy.training_space is None:
            return self.space
        return make_space(strategy.training_space, self.dims)

    def _training_key(
        self, network: SuperNetwork, strategy: TrainingStrategy | None, fine_tuning: TrainingConfiguration
    ) -> dict[str, Any] | None:
        """What tells one super-network's training from another's on the same data; None for other trainings."""
        if strategy is None:
            return None
        # Options of a method hold both kinds; what they say about the fine-tuning is in ``fine_tuning`` already.
        names = {field.name for field in dataclasses.fields(TrainingStrategy)} - {"training_space"}
        return {
            "seed": [self.seed, network.name],
            "strategy": {name: getattr(strategy, name) for name in sorted(names)},
            "space": self._training_space(strategy).name,
            "fine_tuning": dataclasses.asdict(fine_tuning),
        }

    def _checked(self, network: SuperNetwork, config: Config) -> SubNetwork:
        try:
            self.space.check(config)
            subnetwork = self.space.to_subnetwork(config)
            network.slices(subnetwork)
            n_params, found = network.subnetwork.n_params(self.dims), network.count_params()
            if found != n_params:
                raise ValueError(f"a network of {found:,} parameters where {n_params:,} are left of the original")
            if not re.fullmatch(r"[\w.-]+", network.name):
                raise ValueError(f"name {network.name!r} has other characters than letters, digits, '.', '_', '-'")
        except (ValueError, TypeError) as error:
            raise MethodError(f"evaluate() was given what is not in the space: {error}") from error
        return subnetwork


def _stream(name: str) -> int:
    """A number for a purpose, so that each has random numbers of its own."""
    return zlib.crc32(name.encode())
