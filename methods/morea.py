"""Multi-objective regularised evolution (Real et al. 2019 with non-dominated sorting; appendix D of the paper)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace
from nasbench.objectives.declared import MOST_OBJECTIVES
from nasbench.search.pareto import crowding_distances, nondominated_ranks
from nasbench.search.searcher import Searcher


@dataclass(frozen=True)
class MoreaOptions:
    """Attributes:
    population_size: number of configurations kept; the oldest are forgotten.
    sample_size: members drawn for one tournament, without replacement.
    """

    population_size: int = 10
    sample_size: int = 5

    def __post_init__(self) -> None:
        if self.sample_size < 1:
            raise ValueError(f"sample_size is {self.sample_size}; it must be at least 1")
        if self.population_size < self.sample_size:
            raise ValueError(f"population_size {self.population_size} is smaller than sample_size {self.sample_size}")


class Morea(Searcher):
    """Mutates one dimension of the best member of a random sample of the population.

    The best member has the lowest non-dominated rank in the whole population. Most of ten members share a rank, so ties
    go to the member with the largest crowding distance (Deb et al. 2002). The population forgets its oldest member.
    Until it is full, configurations are sampled uniformly. A duplicate joins the population like any other proposal.
    """

    name = "morea"
    summary = "regularised evolution, parents chosen by non-dominated rank"
    Options = MoreaOptions
    most_objectives = MOST_OBJECTIVES

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._population: deque[tuple[Config, FloatArray]] = deque(maxlen=self.options.population_size)

    def ask(self) -> Config:
        if len(self._population) < self.options.population_size:
            return self.space.sample(self.rng)
        values = np.array([values for _, values in self._population])
        ranks = nondominated_ranks(values)
        sample = self.rng.choice(len(values), size=self.options.sample_size, replace=False)
        peers = np.flatnonzero(ranks == ranks[sample].min())
        distances = np.full(len(values), -1.0)
        distances[peers] = crowding_distances(values[peers])
        # The order of the sample is random, so taking the first of equal members is fair.
        parent, _ = self._population[int(sample[np.argmax(distances[sample])])]
        return self.space.redraw(parent, self.rng)

    def tell(self, config: Config, values: FloatArray) -> None:
        self._population.append((config, values))
