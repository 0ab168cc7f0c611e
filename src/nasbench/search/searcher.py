"""The contract of a searcher: ask for a configuration, tell its values.

A searcher sees configurations of one space and their values, all minimised: the error, then costs as fractions of the
full network's. They are ``(error, params)`` unless the user chose other objectives. A searcher never sees data, weights
or a clock, so the same searcher works for standard NAS, weight-sharing NAS and the analytic problems in tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace
from nasbench.objectives.costs import PARAMETERS, Costs


@dataclass(frozen=True)
class NoOptions:
    """Options of a method or searcher without options."""


class Searcher(ABC):
    """Proposes configurations one at a time.

    The engine first evaluates the largest, the smallest and the middle configuration and tells their values. Then it
    alternates :meth:`ask` and :meth:`tell`. If a proposal's network has been evaluated before, the engine tells the old
    values. Failed evaluations are never told; the engine calls :meth:`ask` again. All randomness comes from ``rng``.

    Attributes:
        name, summary: shown by ``nasbench searchers``.
        spaces: names of the search spaces that the searcher supports.
        expects_depths: whether the searcher expects to be told the values of all depths of a pass.
        most_objectives: the largest number of objectives that the searcher can handle, the error among them.
        costs: gives the costs of configurations; the engine sets it before the first ``ask`` and ``tell``.
        Options: a frozen dataclass; users set its fields with ``--set searcher.<field>``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    spaces: ClassVar[tuple[str, ...]] = ("small", "medium", "layer", "large")
    expects_depths: ClassVar[bool] = False
    most_objectives: ClassVar[int] = 2
    costs: Costs = PARAMETERS
    Options: ClassVar[type[Any]] = NoOptions

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        self.space = space
        self.rng = rng
        self.options = self.Options() if options is None else options

    @abstractmethod
    def ask(self) -> Config:
        """The next configuration to evaluate, shape ``(n_dims,)``."""

    @abstractmethod
    def tell(self, config: Config, values: FloatArray) -> None:
        """Learn the values ``(error, params)`` of a configuration, shape ``(2,)``, both minimised.

        With other objectives: the error, then the costs in the order of ``costs.names``.
        """


class Decision(Enum):
    """What happens to a trial after its report at a rung."""

    CONTINUE = "continue"
    STOP = "stop"
    """Stopped early: worse than its peers at this rung."""
    FINISHED = "finished"
    """The trial reached the last rung."""


class MultiFidelitySearcher(Searcher):
    """A searcher that also decides after some epochs (rungs) whether the training of a trial continues.

    The engine calls :meth:`tell` once per trial, with its last report.

    Attributes:
        declared_epochs: epochs of fine-tuning declared with the model; the method sets it before the first ``ask``.
    """

    declared_epochs: int = 5

    @property
    @abstractmethod
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which a trial reports, ascending. The last rung is the full training."""

    @abstractmethod
    def report(self, trial: int, epoch: int, values: FloatArray) -> Decision:
        """Decide about a trial, given its values after ``epoch`` epochs, an element of :attr:`rungs`."""
