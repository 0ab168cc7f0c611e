"""Multi-objective local search (algorithm 5 of the paper, after White et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace
from nasbench.search.searcher import Searcher


class LocalSearch(Searcher):
    """Redraws one random dimension of a random member of the current Pareto front.

    Of several configurations worth exactly the same the front keeps one, the last told: a network with many names (in
    SMALL, the one without layers) is then not drawn more often than the others, and its name still drifts until a
    single dimension leads to a network that does something.
    """

    name = "local"
    summary = "redraws one dimension of a random member of the current Pareto front"

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._front: list[Config] = []
        self._values = np.empty((0, 2))  # of the front, (len(front), 2)

    def ask(self) -> Config:
        if not self._front:
            return self.space.sample(self.rng)
        parent = self._front[int(self.rng.integers(len(self._front)))]
        return self.space.redraw(parent, self.rng)

    def tell(self, config: Config, values: FloatArray) -> None:
        at_least_as_good = (self._values <= values).all(axis=1)
        if (at_least_as_good & (self._values < values).any(axis=1)).any():
            return  # dominated
        kept = ~np.all(values <= self._values, axis=1)
        self._front = [member for member, keep in zip(self._front, kept, strict=True) if keep] + [config]
        self._values = np.vstack([self._values[kept], values])
