"""Multi-objective local search (algorithm 5 of the paper, after White et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace
from nasbench.objectives.declared import MOST_OBJECTIVES
from nasbench.search.pareto import dominates, weakly_dominates
from nasbench.search.searcher import Searcher


class LocalSearch(Searcher):
    """Redraws one random dimension of a random member of the current Pareto front.

    Of several configurations with equal values, the front keeps the one told last. So a network with many
    configurations (in SMALL, the network without layers) is not drawn more often than others, and its configuration
    keeps changing until redrawing a single dimension leads to another network.
    """

    name = "local"
    summary = "redraws one dimension of a random member of the current Pareto front"
    most_objectives = MOST_OBJECTIVES

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._front: list[Config] = []
        self._values = np.empty((0, 2))  # values of the front, (len(front), n_objectives)

    def ask(self) -> Config:
        if not self._front:
            return self.space.sample(self.rng)
        parent = self._front[int(self.rng.integers(len(self._front)))]
        return self.space.redraw(parent, self.rng)

    def tell(self, config: Config, values: FloatArray) -> None:
        self._values = self._values.reshape(-1, len(values))
        if dominates(self._values, values).any():
            return
        kept = ~weakly_dominates(values, self._values)
        self._front = [member for member, keep in zip(self._front, kept, strict=True) if keep] + [config]
        self._values = np.vstack([self._values[kept], values])
