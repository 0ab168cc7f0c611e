"""Every network of a small space, in a random order: for studies of all of them, not for a comparison of searchers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.errors import UserError
from nasbench.networks.space import Config, SearchSpace
from nasbench.objectives.declared import MOST_OBJECTIVES
from nasbench.search.searcher import Searcher

MOST_CONFIGURATIONS = 2**22
"""Of a space: 34 MB for their order. A run records at most a fraction of them."""


class Exhaustive(Searcher):
    """Proposes each configuration of LAYER once, then starts again. The order is random, so any part is a sample."""

    name = "exhaustive"
    summary = "every network of LAYER in a random order"
    spaces = ("layer",)
    most_objectives = MOST_OBJECTIVES

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._shape = tuple(int(upper) + 1 for upper in space.upper)
        if (n := math.prod(self._shape)) > MOST_CONFIGURATIONS:
            raise UserError(
                f"searcher {self.name!r} takes spaces of at most {MOST_CONFIGURATIONS:,} networks, and {space.name!r} "
                f"has {n:,} here"
            )
        self._order = rng.permutation(n)
        self._next = 0

    def ask(self) -> Config:
        place = int(self._order[self._next % len(self._order)])
        self._next += 1
        return np.array(np.unravel_index(place, self._shape), dtype=np.int64)

    def tell(self, config: Config, values: FloatArray) -> None:
        """Do nothing."""
