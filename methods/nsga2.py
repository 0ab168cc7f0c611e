"""NSGA-II (Deb et al. 2002) over integers, with pymoo's selection, crossover, mutation and survival."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace
from nasbench.search.searcher import Searcher


@dataclass(frozen=True)
class Nsga2Options:
    """Attributes:
    population_size: survivors and offspring of a generation; small, as budgets are some hundred evaluations.
    crossover_probability: of a pair of parents; otherwise the offspring are mutated copies.
    crossover_eta: larger keeps offspring closer to their parents (simulated binary crossover).
    mutation_eta: larger makes smaller steps (polynomial mutation).
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
    """Breeds generations from the best by rank and crowding distance.

    pymoo's own loop wants a whole generation evaluated; this one hands out offspring one by one, does without those
    that fail, and selects when the last has been asked for. Of several configurations worth exactly the same the
    population keeps one, so that it does not fill with names of the network without layers.
    """

    name = "nsga2"
    summary = "NSGA-II: generations selected by non-dominated rank and crowding distance"
    Options = Nsga2Options

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

        self._problem = Problem(n_var=space.n_dims, n_obj=2, xl=np.zeros(space.n_dims), xu=space.upper, vtype=int)
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
        # What pymoo's tournament reads of its own algorithm.
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
        """Select the survivors of everybody told since, and breed as many offspring."""
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
        return configs or [self.space.sample(self.rng)]  # a space so small that all offspring are survivors
