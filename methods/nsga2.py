"""NSGA-II (Deb et al. 2002) over integers, with pymoo's selection, crossover, mutation and survival."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace
from nasbench.objectives.declared import MOST_OBJECTIVES
from nasbench.search.searcher import Searcher


@dataclass(frozen=True)
class Nsga2Options:
    """Attributes:
    population_size: survivors and offspring per generation; small, because budgets are a few hundred evaluations.
    crossover_probability: probability that a pair of parents is crossed; otherwise offspring are mutated copies.
    crossover_eta: larger values keep offspring closer to their parents (simulated binary crossover).
    mutation_eta: larger values make smaller steps (polynomial mutation).
    """

    population_size: int = 20
    crossover_probability: float = 0.9
    crossover_eta: float = 15.0
    mutation_eta: float = 20.0

    def __post_init__(self) -> None:
        if self.population_size < 4:
            raise ValueError(f"population_size is {self.population_size}; it must be at least 4")
        if not 0 < self.crossover_probability <= 1:
            raise ValueError(f"crossover_probability is {self.crossover_probability}; it must be in (0, 1]")
        for name in ("crossover_eta", "mutation_eta"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")


class Nsga2(Searcher):
    """Breeds generations from the members with the best rank and crowding distance.

    pymoo's own loop needs values for a whole generation. This class proposes offspring one by one, ignores those whose
    evaluation fails, and selects survivors after the last one was proposed. Of several configurations with equal
    values, the population keeps one, so it does not fill with configurations of the network without layers.
    """

    name = "nsga2"
    summary = "NSGA-II: generations selected by non-dominated rank and crowding distance"
    Options = Nsga2Options
    most_objectives = MOST_OBJECTIVES

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        # Imported here: listing the searchers must not load pymoo.
        from pymoo.algorithms.moo.nsga2 import binary_tournament
        from pymoo.core.duplicate import DefaultDuplicateElimination
        from pymoo.core.mating import Mating
        from pymoo.core.population import Population
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.operators.selection.tournament import TournamentSelection
        from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

        self._problem = Problem(
            n_var=space.n_dims, n_obj=MOST_OBJECTIVES, xl=np.zeros(space.n_dims), xu=space.upper, vtype=int
        )
        self._mating = Mating(
            TournamentSelection(func_comp=binary_tournament),
            SBX(
                prob=self.options.crossover_probability,
                eta=self.options.crossover_eta,
                vtype=float,
                repair=RoundingRepair(),
            ),
            PM(eta=self.options.mutation_eta, vtype=float, repair=RoundingRepair()),
            eliminate_duplicates=DefaultDuplicateElimination(),
        )
        self._survival = RankAndCrowding()
        # The attributes that pymoo's tournament reads from its algorithm.
        self._tournament = SimpleNamespace(tournament_type="comp_by_dom_and_crowding", random_state=rng)
        self._population_class = Population
        self._members: dict[tuple[float, ...], Config] = {}
        self._queue: list[Config] = []

    def ask(self) -> Config:
        if not self._queue:
            self._queue = self._next_generation()
        return self._queue.pop()

    def tell(self, config: Config, values: FloatArray) -> None:
        self._members.setdefault(tuple(values.tolist()), config)

    def _next_generation(self) -> list[Config]:
        """Select survivors among old members and new observations, and breed as many offspring."""
        missing = self.options.population_size - len(self._members)
        if missing > 0:
            return [self.space.sample(self.rng) for _ in range(missing)]
        members = self._population_class.new(X=list(self._members.values()), F=np.array(list(self._members)))
        survivors = self._survival.do(
            self._problem, members, n_survive=self.options.population_size, random_state=self.rng
        )
        self._members = {tuple(member.F.tolist()): member.X for member in survivors}
        offspring = self._mating.do(
            self._problem,
            survivors,
            self.options.population_size,
            random_state=self.rng,
            algorithm=self._tournament,
        )
        configs = [member.X.astype(np.int64) for member in offspring]
        return configs or [self.space.sample(self.rng)]  # in a tiny space all offspring may be survivors
