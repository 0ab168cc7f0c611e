"""What the adapters of optimisers share: random configurations where an optimiser proposes nothing new."""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from typing import Any

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace
from nasbench.search.searcher import Searcher

MOST_FRUITLESS = 2
"""After so many times without a new proposal, the optimiser is not asked again until something new is told."""


class OutsideSearcher(Searcher):
    """Asks an optimiser. In an exhausted space this costs many proposals each time, so it is soon left alone.

    The values told are in ``_told``, by configuration, and the optimiser's own proposals in ``_proposed``.
    """

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._told: dict[tuple[int, ...], FloatArray] = {}
        self._proposed: set[tuple[int, ...]] = set()
        self._n_fruitless = 0

    @abstractmethod
    def _new_proposal(self) -> Config | None:
        """A configuration that was not told and not proposed before; None if the optimiser has none."""

    def _note(self, config: Config, values: FloatArray) -> None:
        """Hand the values of a configuration to the optimiser."""

    def ask(self) -> Config:
        if self._n_fruitless < MOST_FRUITLESS:
            config = self._new_proposal()
            if config is not None:
                self._proposed.add(tuple(config))
                return config
            self._n_fruitless += 1
        return self.space.sample(self.rng)

    def tell(self, config: Config, values: FloatArray) -> None:
        if tuple(config) not in self._told:
            self._n_fruitless = 0
        self._told[tuple(config)] = np.asarray(values)
        self._note(config, values)


def own_default(cls: Any, name: str) -> dict[str, Any]:
    """A copy of the default of an argument, by its name; empty if a class has no such argument.

    An object that is a default serves all instances: what one search writes into it, the next one would read.
    """
    parameter = inspect.signature(cls).parameters.get(name)
    return {} if parameter is None else {name: copy.deepcopy(parameter.default)}
