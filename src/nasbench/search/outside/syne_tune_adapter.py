"""Searchers of Syne Tune as searchers. Those with one objective are told the sum of error and costs."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import syne_tune.config_space as domains
from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import MOPriority

from nasbench.arrays import FloatArray, IntArray
from nasbench.errors import UnknownName
from nasbench.networks.space import Config, SearchSpace
from nasbench.search.outside.randomness import seeded_from
from nasbench.search.pareto import nondominated_ranks
from nasbench.search.searcher import Searcher

# Not EHVI and BOTorch: with botorch 0.18 the first raises "expected scalar type Double but found Float", and the second
# had not made 12 proposals after four minutes.
CLASSES = {
    "RandomSearch": "searchers.random_searcher MultiObjectiveRandomSearcher",
    "MOREA": "multiobjective.multi_objective_regularized_evolution MultiObjectiveRegularizedEvolution",
    "REA": "searchers.regularized_evolution RegularizedEvolution",
    "TPE": "searchers.kde KernelDensityEstimator statsmodels",
    "BORE": "searchers.bore Bore xgboost",
}
"""Module and class of each searcher, and the package without which Syne Tune hides the class."""
MOST_KNOWN = 20  # in a row; then a configuration is drawn at random, because no searcher avoids repetitions


class Ranks(MOPriority):  # type: ignore[misc]  # Syne Tune has no types
    """Non-dominated ranks. ``NonDominatedPriority`` of Syne Tune 0.16.0 gives the order of the points instead."""

    def priority_unsafe(self, objectives: FloatArray) -> IntArray:
        return nondominated_ranks(objectives)


def load(name: str) -> type[Searcher]:
    """The searcher with this name, such as ``MOREA``, with its default options. Raises ImportError and UnknownName."""
    if name not in CLASSES:
        raise UnknownName("searcher of Syne Tune", name, CLASSES)
    module, cls, *packages = CLASSES[name].split()
    found = getattr(importlib.import_module(f"syne_tune.optimizer.schedulers.{module}"), cls, None)
    if found is None:  # Syne Tune swallows the error
        raise ImportError(f"Syne Tune's {cls} cannot be imported; pip install {' '.join(packages)}")
    members = {"name": f"syne-tune:{name}", "summary": f"Syne Tune's {cls}", "__module__": "syne_tune", "cls": found}
    return type(name, (SyneTuneSearcher,), members | {"is_multi": name in ("RandomSearch", "MOREA")})


class SyneTuneSearcher(Searcher):
    """Asks for suggestions and completes trials. Searchers only know trials that they have suggested."""

    cls: Any
    most_objectives = 3
    _asked: tuple[int, Config] | None = None
    _n_trials = 0

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        domain = {name: domains.randint(0, int(upper)) for name, upper in zip(space.names, space.upper, strict=True)}
        extra = {"multiobjective_priority": Ranks()} if self.name.endswith(":MOREA") else {}
        self._known: dict[tuple[int, ...], list[float]] = {}
        with seeded_from(self.rng):
            self._searcher = self.cls(domain, random_seed=int(rng.integers(2**31)), **extra)

    def ask(self) -> Config:
        with seeded_from(self.rng):
            for _ in range(MOST_KNOWN):
                self._asked = trial, config = self._suggestion()
                if tuple(config) not in self._known:
                    return config.copy()
                self._complete(trial, config)
        return self.space.sample(self.rng)

    def tell(self, config: Config, values: FloatArray) -> None:
        self._known[tuple(config)] = [float(value) for value in values]
        with seeded_from(self.rng):
            if self._asked is None or not np.array_equal(self._asked[1], config):
                self._searcher.points_to_evaluate.insert(0, self._named(config))
                self._asked = self._suggestion()
            self._complete(self._asked[0], config)
        self._asked = None

    def _suggestion(self) -> tuple[int, Config]:
        found, self._n_trials = self._searcher.suggest(), self._n_trials + 1
        return self._n_trials - 1, np.array([found[name] for name in self.space.names], dtype=np.int64)

    def _complete(self, trial: int, config: Config) -> None:
        pair, is_multi = self._known[tuple(config)], self.is_multi  # type: ignore[attr-defined]  # set by load
        self._searcher.on_trial_complete(trial, self._named(config), pair if is_multi else sum(pair))

    def _named(self, config: Config) -> dict[str, int]:
        return dict(zip(self.space.names, config.tolist(), strict=True))
