"""The problem that a method solves. It is all that a method sees of a run.

A method gets the train and validation data, the pre-trained network, the search space and a seed. It reports by
calling :meth:`Problem.evaluate`. The harness behind the problem measures error and size, records each evaluation before
the next one starts, and computes test metrics for members of the validation Pareto front. It raises
:class:`~nasbench.errors.BudgetExhausted` when the budget is spent. A method has no access to the test split, the clock
or the record.

Resuming is repeating. A resumed run calls the method again from the start, with the clock stopped. The problem answers
recorded evaluations from the record and skips the trainings before them, and before the last checkpoint. The clock
starts again with the first new evaluation, or with the training that goes on from its checkpoint.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from nasbench.arrays import IntArray
from nasbench.data.batching import Batch, collate
from nasbench.declarations.model import Model, TrainingConfiguration
from nasbench.declarations.task import Task
from nasbench.errors import MethodError
from nasbench.networks.factored.rebuilding import rebuilt
from nasbench.networks.space import Config, SearchSpace, Small, make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.records.record import Evaluation
from nasbench.runs.context import RunContext
from nasbench.runs.harness import Harness
from nasbench.runs.session import TrainingSession
from nasbench.search.searcher import Searcher
from nasbench.training.distillation import Distillation
from nasbench.training.evaluation import Evaluator
from nasbench.training.gates import Gates
from nasbench.training.objective import Objective
from nasbench.training.strategies import FINE_TUNING_STEP, Step, TrainingStrategy
from nasbench.training.trainer import Trainer

if TYPE_CHECKING:
    from nasbench.data.splits import Split

LONGEST_NAME = 60
"""Letters of a network's name. Four bytes each and the ending still fit a file's name of 255 bytes."""


class Problem:
    """One task, one pre-trained network, one search space, one budget.

    Attributes:
        task, model: the declarations of the task and the pre-trained network.
        space: the search space.
        train, validation: tokenised examples.
        searcher: the searcher that the user chose, None if the method uses none.
        fine_tuning: the training configuration declared with the model.
        seed: the seed of the run.
        rng: the method's random generator, made from the seed.
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
        self.rng = method_rng(seed)
        self._pretrained = pretrained
        self._context = context
        self._budget = context.budget
        self._trained: dict[str, bool] = {}  # whether the network of each training holds shared weights
        # Made before the method can change the data.
        validator = Evaluator(validation, task, pad_id, context.test.device, context.test.dtype)
        self._harness = Harness(space, validator, context)

    @property
    def dims(self) -> Dimensions:
        """Sizes of the full network."""
        return self.space.dims

    @property
    def is_repeating(self) -> bool:
        """Whether the next evaluation is answered from the record of an earlier attempt."""
        return self._harness.is_repeating

    @property
    def n_evaluations(self) -> int:
        """Number of evaluations of the run so far."""
        return self._harness.n_evaluations

    def pretrained(self, name: str = "network") -> SuperNetwork:
        """A fresh copy of the pre-trained network with its classifier, as loaded. All copies are equal.

        Args:
            name: names the network's training and the file of its weights.
        """
        with self._budget.uncharged("loading"):
            network = self._pretrained()
            network.name = name
            return network

    def batch(self, split: Split, index: IntArray) -> Batch:
        """Some examples of a split, padded, on the run's device.

        Args:
            index: ``(n,)``, positions in the split.
        """
        return collate(split, index, self.pad_id).to(self._device)

    def check_budget(self) -> None:
        """Raise :class:`BudgetExhausted` if the budget is spent. For long loops that neither train nor evaluate."""
        self._budget.check()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside towards a phase of the record. The budget does not depend on phases.

        Args:
            name: one of :data:`nasbench.runs.budget.CHARGED_PHASES`, such as ``training`` or ``search``.

        Raises:
            ValueError: for another name.
        """
        self._context.observer.phase(name, self._budget.elapsed_s)
        with self._budget.charged(name):
            yield

    def note_duplicate(self) -> None:
        """Count a proposal whose network has been evaluated before. The next evaluation records the count."""
        self._harness.note_duplicate()

    def training(
        self,
        network: SuperNetwork,
        strategy: TrainingStrategy | None = None,
        fine_tuning: TrainingConfiguration | None = None,
        distillation: Distillation | None = None,
        gates: Gates | None = None,
    ) -> TrainingSession:
        """A training of a network on the train split. Its ``run`` can train in several parts.

        Args:
            network: trained in place. Its name names the training and its checkpoint.
            strategy: how to train a super-network; None fine-tunes the whole network on the labels.
            fine_tuning: learning rate, epochs and so on; None takes :attr:`fine_tuning`.
            distillation: another network from which this one learns beside the labels.
            gates: gates over the network's heads and units, which are trained with it.

        Raises:
            ValueError: with more than one of ``strategy``, ``distillation`` and ``gates``.
            MethodError: if the run has had a training of this name. The two would share their files.
        """
        self._budget.check_caller()
        if sum(each is not None for each in (strategy, distillation, gates)) > 1:
            raise ValueError("a training has a strategy, a distillation or gates, not several")
        _check_name(network.name)
        if network.name in self._trained:
            raise MethodError(
                f"two trainings are called {network.name!r}; give the second network a name of its own, with "
                "pretrained(name), extract(subnetwork, name) or renamed(name)"
            )
        self._trained[network.name] = not network.is_extracted
        fine_tuning, objective = fine_tuning or self.fine_tuning, distillation or gates
        return TrainingSession(
            self._context, network, fine_tuning, lambda: self._trainer(network, strategy, fine_tuning, objective),
            lambda: self.is_repeating, self._training_key(network, strategy, fine_tuning),
            lambda: self.n_evaluations == 0, len(self.validation),
        )  # fmt: skip

    def evaluate(self, network: SuperNetwork, config: Config, epochs: float | None = None) -> Evaluation:
        """Measure a sub-network on the validation split and record it.

        Args:
            network: the super-network with the shared weights, or the sub-network itself from
                :meth:`SuperNetwork.extract`. Its name names the file of its weights. Changed weights need a new name,
                see :meth:`SuperNetwork.renamed`.
            config: a configuration of the space.
            epochs: epochs of training so far; None unless the method varies them.

        Returns:
            The recorded evaluation without its test results. ``status`` is ``failed`` if the outputs are not finite, or
            the pass or the training before it did not fit the memory.

        Raises:
            BudgetExhausted: if the budget was spent before the measurement ended, and nothing is recorded; or if this
                was the last evaluation that the run may make, which is recorded.
            MethodError: if ``config`` is not in the space, the network is another sub-network or has other parameters,
                or its weights have changed since they were saved under its name.
        """
        config = np.asarray(config)
        subnetwork = self._checked(network, config)
        return self._harness.evaluate(
            network, [config], lambda evaluator: evaluator.logits(network, subnetwork)[None], epochs=epochs
        )[0]

    def evaluate_module(self, module: nn.Module, config: Config, name: str, epochs: float | None = None) -> Evaluation:
        """Measure a module that need not be a sub-network, and record it.

        The module itself is not run. The suite builds a network from the structure that the configuration declares, and
        copies the module's tensors into it. This network is counted, run and saved.

        Args:
            module: built as ``pretrained().extract(space.to_subnetwork(config)).model``, with any values: the same
                classes and tensors, and nothing else. Its tensors are copied.
            config: a configuration of the space, which declares the structure.
            name: names the file of the weights. Changed weights need a new name.
            epochs: as for :meth:`evaluate`.

        Returns:
            As :meth:`evaluate`.

        Raises:
            BudgetExhausted: as for :meth:`evaluate`.
            MethodError: if ``config`` is not in the space, the module is not what it declares, or the weights have
                changed since they were saved under the name.
        """
        config = np.asarray(config)
        network = self._rebuilt(module, config, name)
        return self._harness.evaluate(
            network, [config], lambda evaluator: evaluator.logits(network)[None], epochs=epochs
        )[0]

    def evaluate_depths(self, network: SuperNetwork, config: Config) -> list[Evaluation]:
        """Measure (h, u, l) of SMALL for every depth l = 0, 1, ..., L in one pass.

        The pass of (h, u, L) runs through all shallower networks, and the classifier reads the output of each. So all
        depths cost as much as the deepest one. Depths whose network has been evaluated before are left out; all
        configurations with l = 0 are the same network.

        Args:
            network: the super-network with the shared weights, not an extracted network.
            config: ``(h, u, L)``.

        Returns:
            The new evaluations, shallowest first.

        Raises:
            BudgetExhausted: as for :meth:`evaluate`.
            MethodError: as for :meth:`evaluate`, and if the space is not SMALL.
        """
        if not isinstance(self.space, Small):
            raise MethodError(f"evaluate_depths() needs space 'small', not {self.space.name!r}")
        config = np.asarray(config)
        deepest = self._checked(network, config)
        configs = [np.array([*config[:2], depth], dtype=np.int64) for depth in range(int(config[2]) + 1)]
        keys = [self.space.to_subnetwork(shallower).key for shallower in configs]
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
        self, network: SuperNetwork, strategy: TrainingStrategy | None, fine_tuning: TrainingConfiguration,
        objective: Objective | None,
    ) -> Trainer:  # fmt: skip
        space = self._training_space(strategy)

        def schedule(step: int, n_steps: int, rng: np.random.Generator) -> Step:
            return FINE_TUNING_STEP if strategy is None else strategy.step(step, n_steps, space, rng)

        seed = np.random.SeedSequence((self.seed, _stream(network.name)))
        return Trainer(
            network, self.train, self.task.kind, fine_tuning, schedule, strategy or TrainingStrategy(), self.pad_id,
            int(seed.generate_state(1)[0]), objective,
        )  # fmt: skip

    def _training_space(self, strategy: TrainingStrategy | None) -> SearchSpace:
        name = None if strategy is None else strategy.training_space or self.space.part_of
        return self.space if name is None else make_space(name, self.dims)

    def _training_key(
        self, network: SuperNetwork, strategy: TrainingStrategy | None, fine_tuning: TrainingConfiguration
    ) -> dict[str, Any] | None:
        """JSON values that tell a super-network's training from others on the same data; None for other trainings.

        A strategy of a method's own, which draws or weighs sub-networks in another way, is not told by its values.
        """
        if strategy is None or (type(strategy).step, type(strategy).sample) != (
            TrainingStrategy.step, TrainingStrategy.sample
        ):  # fmt: skip
            return None
        # The strategy may be a method's options, whose training configuration is in ``fine_tuning`` already.
        names = {field.name for field in dataclasses.fields(TrainingStrategy)} - {"training_space"}
        return {
            "seed": [self.seed, network.name],
            "strategy": {name: getattr(strategy, name) for name in sorted(names)},
            "space": self._training_space(strategy).name,
            "fine_tuning": dataclasses.asdict(fine_tuning),
        }

    @cached_property
    def _full(self) -> SuperNetwork:
        """A copy of the full network, from which declared networks are built; a method cannot change it."""
        return self._pretrained()

    def _rebuilt(self, module: nn.Module, config: Config, name: str) -> SuperNetwork:
        """The network that a configuration declares, with the tensors of a module."""
        _check_name(name)
        if self._trained.get(name):  # its file is needed for resuming, and this one goes when it leaves the front
            raise MethodError(
                f"evaluate_module() got the name {name!r} of a network that was trained; use another name"
            )
        try:
            self.space.check(config)
            with self._budget.uncharged("loading"):
                network = rebuilt(self._full, self.space.to_subnetwork(config), module, name)
        except (ValueError, TypeError) as error:
            raise MethodError(
                f"evaluate_module() got something else than its configuration declares: {error}"
            ) from error
        if module in self._context.broken:
            self._context.broken[network.model] = self._context.broken[module]
        return network

    def _checked(self, network: SuperNetwork, config: Config) -> SubNetwork:
        try:
            self.space.check(config)
            subnetwork = self.space.to_subnetwork(config)
            if subnetwork.is_factored:
                raise ValueError(f"space {self.space.name!r} has no sub-networks; report with evaluate_module()")
            network.slices(subnetwork)
            n_params, found = network.subnetwork.n_params(self.dims), network.count_params()
            if found != n_params:
                raise ValueError(f"a network of {found:,} parameters where {n_params:,} are left of the original")
        except (ValueError, TypeError) as error:
            raise MethodError(f"evaluate() got a network or a configuration outside the space: {error}") from error
        _check_name(network.name)
        return subnetwork


def _check_name(name: str) -> None:
    """Check that the name of a network can be that of a file."""
    if len(name) > LONGEST_NAME:
        raise MethodError(f"the network name {name[:20]!r}... has {len(name)} letters; use at most {LONGEST_NAME}")
    if not re.fullmatch(r"[\w.-]+", name):
        raise MethodError(f"the network name {name!r} has other characters than letters, digits, '.', '_', '-'")


def method_rng(seed: int) -> np.random.Generator:
    """The random generator of a method in a run with this seed."""
    return np.random.default_rng((seed, _stream("method")))


def _stream(name: str) -> int:
    """A seed for a purpose, so that each purpose has its own random numbers."""
    return zlib.crc32(name.encode())
