"""The problem that a method sees when a table answers in place of a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn, cast

import numpy as np
import torch
from torch import nn

from nasbench.declarations.model import Model, TrainingConfiguration
from nasbench.declarations.task import Task
from nasbench.errors import MethodError
from nasbench.networks.space import Config
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.runs.context import RunContext
from nasbench.runs.harness import Harness
from nasbench.runs.problem import Problem, method_rng
from nasbench.runs.session import TrainingSession
from nasbench.tables.table import Entry, Table
from nasbench.training.distillation import Distillation
from nasbench.training.evaluation import Evaluator
from nasbench.training.gates import Gates
from nasbench.training.strategies import TrainingStrategy


class SimulatedClock:
    """A real clock plus the recorded seconds of work that was not done again.

    Args:
        clock: gives seconds from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._skipped_s = clock, 0.0

    def __call__(self) -> float:
        return self._clock() + self._skipped_s

    def skip(self, seconds: float) -> None:
        """Let this many seconds pass at once."""
        self._skipped_s += seconds


class TableEvaluator:
    """Has the interface of an :class:`Evaluator`. Its "logits" are rows of the table.

    Args:
        clock: is moved on by the recorded seconds of each pass; None for the test split, whose passes cost nothing.
    """

    device = torch.device("cpu")

    def __init__(self, table: Table, task: Task, clock: SimulatedClock | None) -> None:
        self.task, self._table, self._clock = task, table, clock
        # The harness divides the time of a pass by the number of examples.
        self.labels = np.empty(table.info.n_validation)

    def logits(self, _: SuperNetwork, subnetwork: SubNetwork) -> Any:
        """The row of a network, as an array without dimensions."""
        entry = self._table.entry(self._table.config_of(subnetwork))
        self._wait(entry.seconds)
        return _objects([entry])[0, ...]

    def logits_of_depths(self, _: SuperNetwork, subnetwork: SubNetwork, n_layers: int) -> Any:
        """The rows of depths 0, 1, ..., ``n_layers``, as an array ``(n_layers + 1,)``."""
        heads, steps, _n = self._table.config_of(subnetwork)
        entries = [self._table.entry(np.array([heads, steps, depth])) for depth in range(n_layers + 1)]
        self._wait(entries[-1].pass_s if n_layers == self._table.space.upper[2] else entries[-1].seconds)
        return _objects(entries)

    def metrics(self, logits: Any) -> dict[str, float]:
        """The recorded metrics of a row.

        Raises:
            FloatingPointError: if the outputs were not finite.
        """
        entry: Entry = logits.item() if isinstance(logits, np.ndarray) else logits
        found = entry.test_metrics if self._clock is None else entry.metrics
        if not found:
            raise FloatingPointError("the outputs were not finite when the table was made")
        return found

    def _wait(self, seconds: float) -> None:
        if self._clock is not None:
            self._clock.skip(seconds)


def _objects(entries: list[Entry]) -> Any:
    """An array of rows ``(n,)``."""
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array


class TableNetwork:
    """Stands for the super-network of a table. It has a name and no weights."""

    is_extracted = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> NoReturn:
        _refuse("a network", name)


class TableTraining:
    """Stands for the training of the super-network: it takes the recorded time."""

    def __init__(self, context: RunContext, clock: SimulatedClock, training_s: float) -> None:
        self._context, self._clock, self._training_s = context, clock, training_s

    def run(self, until_epoch: int | None = None, budget_share: float = 1.0) -> None:  # noqa: ARG002
        """Charge the recorded seconds of the training.

        Raises:
            BudgetExhausted: if they are more than the budget.
            MethodError: if the method would train only a part.
        """
        if until_epoch is not None:
            raise MethodError("a table holds values after the whole training, not after epochs; run without --table")
        budget = self._context.budget
        self._context.observer.phase("training", budget.elapsed_s)
        with budget.charged("training"):
            self._clock.skip(self._training_s)
        budget.check()


class TableProblem(Problem):
    """A problem whose errors and seconds come from a table. The harness that measures and records is the usual one.

    Args:
        clock: the clock of the run's budget.
        context: the record and the budget; ``context.test`` is a :class:`TableEvaluator` without a clock.
    """

    def __init__(
        self, table: Table, task: Task, model: Model, seed: int, clock: SimulatedClock, context: RunContext
    ) -> None:
        self.task, self.model, self.space = task, model, table.space
        self.searcher = None
        self.seed = seed
        self.fine_tuning = model.fine_tuning
        self.rng = method_rng(seed)
        self._table, self._clock = table, clock
        self._context, self._budget = context, context.budget
        self._trained = {}
        validator = cast(Evaluator, TableEvaluator(table, task, clock))
        self._harness = Harness(self.space, validator, context)

    def __getattr__(self, name: str) -> NoReturn:
        _refuse("the problem", name)

    def pretrained(self, name: str = "network") -> SuperNetwork:
        return cast(SuperNetwork, TableNetwork(name))

    def training(
        self,
        network: SuperNetwork,
        strategy: TrainingStrategy | None = None,
        fine_tuning: TrainingConfiguration | None = None,  # noqa: ARG002 - the method's options are those of the table
        distillation: Distillation | None = None,  # noqa: ARG002
        gates: Gates | None = None,  # noqa: ARG002
    ) -> TrainingSession:
        if strategy is None or self._trained:
            raise MethodError("a table holds one super-network, which is trained once; run without --table")
        self._trained[network.name] = True
        return cast(TrainingSession, TableTraining(self._context, self._clock, self._table.info.training_s))

    def _checked(self, network: SuperNetwork, config: Config) -> SubNetwork:
        try:
            self.space.check(config)
        except ValueError as error:
            raise MethodError(f"evaluate() got a configuration outside the space: {error}") from error
        if network.name not in self._trained:
            raise MethodError("a table holds the values of a trained super-network; train before evaluate()")
        return self.space.to_subnetwork(config)

    def _rebuilt(self, module: nn.Module, config: Config, name: str) -> NoReturn:  # noqa: ARG002
        _refuse("the problem", "evaluate_module")


def _refuse(what: str, name: str) -> NoReturn:
    """Refuse to give an attribute that needs weights or data."""
    if name.startswith("_"):
        raise AttributeError(name)
    raise MethodError(
        f"on a table there are no weights and no examples, so {what} has no {name!r}; run without --table"
    )
