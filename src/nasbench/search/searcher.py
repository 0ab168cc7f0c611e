"""The contract of a searcher: ask for a configuration, tell what it was worth.

A searcher sees configurations of one space and pairs of values, both minimised: ``(error, params)`` with params the
fraction of the full network's parameters. It never sees data, weights or a clock, so the same searcher serves
standard and weight-sharing NAS, and an analytic problem in a test.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace


@dataclass(frozen=True)
class NoOptions:
    """The options of what has none."""


class Searcher(ABC):
    """Proposes configurations one at a time.

    The engine first evaluates the largest, the smallest and the middle configuration and tells them, then alternates
    :meth:`ask` and :meth:`tell`. A proposal whose masks were evaluated before is not evaluated again: its old values
    are told. A failed evaluation is never told; :meth:`ask` simply comes again. All randomness comes from ``rng``.

    Attributes:
        name, summary: as ``nasbench searchers`` shows them.
        spaces: search spaces it proposes points of.
        reckons_with_depths: whether it expects to be told of all depths that a pass goes through.
        Options: a frozen dataclass, each field reachable with ``--set searcher.<field>``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    spaces: ClassVar[tuple[str, ...]] = ("small", "medium", "layer", "large")
    reckons_with_depths: ClassVar[bool] = False
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
        """What a configuration was worth: ``values = (error, params)``, shape ``(2,)``, both minimised."""


class Decision(Enum):
    """What becomes of a trial after it reported at a rung."""

    CONTINUE = "continue"
    STOP = "stop"
    """Pruned: worse than its peers at this rung."""
    FINISHED = "finished"
    """Reached the last rung."""


class MultiFidelitySearcher(Searcher):
    """A searcher that also decides, at rungs measured in epochs, whether a trial is worth more training.

    :meth:`tell` is called once a trial, with its last report.
    """

    @property
    @abstractmethod
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which a trial reports, ascending; the last one is the maximum a trial can get."""

    @abstractmethod
    def report(self, trial: int, epoch: int, values: FloatArray) -> Decision:
        """A trial's ``(error, params)`` after ``epoch`` epochs, an element of :attr:`rungs`."""
