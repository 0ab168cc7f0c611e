"""Multi-objective algorithms of pymoo as searchers."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.util.ref_dirs import get_reference_directions

from nasbench.arrays import IntArray
from nasbench.errors import UnknownName
from nasbench.networks.space import Config
from nasbench.search.outside.proposals import OutsideSearcher, own_default
from nasbench.search.searcher import Searcher

MODULES = {"NSGA2": "nsga2", "NSGA3": "nsga3", "SMSEMOA": "sms", "AGEMOEA": "age", "MOEAD": "moead", "SPEA2": "spea2"}
POPULATION = 20
"""As in the suite's own NSGA-II: budgets are a few hundred evaluations."""
WORST_ERROR = 2.0  # until a network is told, and for good if it fails; its costs are then the full ones
PARTITIONS = {2: POPULATION - 1, 3: 4}  # of each axis, by number of objectives: 20 and 15 reference directions
MOST_KNOWN = 1000  # after so many known configurations in a row, there is nothing new


def load(name: str) -> type[Searcher]:
    """The searcher of an algorithm, such as ``SMSEMOA``, with its default operators, rounded to integers.

    Raises:
        ImportError: if pymoo, or a library that the algorithm needs, is not installed.
        UnknownName: if there is no such algorithm.
    """
    if name not in MODULES:
        raise UnknownName("algorithm of pymoo", name, MODULES)
    try:
        algorithm = getattr(importlib.import_module(f"pymoo.algorithms.moo.{MODULES[name]}"), name)
    except Exception as error:  # pymoo raises a bare Exception for a missing numba
        raise ImportError(str(error), name=getattr(error, "name", None)) from error
    members = {"name": f"pymoo:{name}", "summary": f"pymoo's {name}", "algorithm": algorithm, "__module__": "pymoo"}
    return type(name, (PymooSearcher,), members)


class PymooSearcher(OutsideSearcher):
    """Proposes infills one by one and answers known ones at once. MOEA/D asks for individuals, not populations."""

    algorithm: Any
    most_objectives = 3
    _algorithm: Any = None
    _infills: Any = None
    _next, _is_population = 0, True

    def _start(self) -> Any:  # the first generation has the configurations told so far and random ones
        n, name = 1 + len(self.costs.names), self.algorithm.__name__
        directions = get_reference_directions("uniform", n, n_partitions=PARTITIONS[n])
        n_members = len(directions) if name == "MOEAD" else POPULATION  # MOEA/D has a member for each direction
        told = list(self._told)[:n_members]
        arguments: dict[str, Any] = {
            "sampling": np.array(told + [tuple(self.space.sample(self.rng)) for _ in range(n_members - len(told))]),
            "crossover": SBX(prob=0.9, eta=15, vtype=float, repair=RoundingRepair()),
            "mutation": PM(eta=20, vtype=float, repair=RoundingRepair()),
        }
        arguments |= {"ref_dirs": directions} if name in ("MOEAD", "NSGA3") else {}
        arguments |= own_default(self.algorithm, "survival") | ({} if name == "MOEAD" else {"pop_size": POPULATION})
        problem = Problem(n_var=self.space.n_dims, n_obj=n, xl=0 * self.space.upper, xu=self.space.upper, vtype=int)
        seed = int(self.rng.integers(2**31))
        return self.algorithm(**arguments).setup(problem, termination=("n_gen", 10**9), seed=seed)

    def _new_proposal(self) -> Config | None:
        self._algorithm = self._algorithm or self._start()
        for _ in range(MOST_KNOWN):
            if (config := self._proposal()) is None:
                break
            if tuple(config) not in self._told and tuple(config) not in self._proposed:
                return config
        return None

    def _proposal(self) -> Config | None:
        """The next infill; a new generation once all are evaluated. None if mating finds no new one."""
        if self._infills is not None and self._next == len(self._infills):
            worst = np.array([WORST_ERROR, *[1.0] * len(self.costs.names)])
            self._infills.set("F", np.array([self._told.get(tuple(c), worst) for c in self._configs()]))
            self._infills.apply(lambda infill: infill.evaluated.update({"F", "G", "H"}))
            self._algorithm.tell(infills=self._infills if self._is_population else self._infills[0])
            self._infills = None
        if self._infills is None:
            asked = self._algorithm.ask()
            if asked is None or len(np.atleast_1d(asked)) == 0:
                return None
            self._is_population = isinstance(asked, Population)
            self._infills, self._next = asked if self._is_population else Population.create(asked), 0
        self._next += 1
        return np.asarray(self._configs()[self._next - 1])

    def _configs(self) -> IntArray:
        return np.array(np.clip(np.rint(self._infills.get("X").astype(float)), 0, self.space.upper), dtype=np.int64)
