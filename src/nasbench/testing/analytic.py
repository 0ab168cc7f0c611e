"""Two-objective problems over SMALL with the dimensions of BERT-base, whose true Pareto fronts are known.

The parameter fraction is exact, and the error is a formula. So a test of a searcher takes milliseconds. The formulas
depend only on the masks: configurations without layers, or without heads and units, have the same error.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nasbench.arrays import FloatArray, IntArray
from nasbench.errors import BudgetExhausted
from nasbench.networks.space import Config, Small
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.records.record import Evaluation
from nasbench.search.loop import search
from nasbench.search.pareto import hypervolume, pareto_mask
from nasbench.search.searcher import Searcher

BERT_BASE = Dimensions(n_layers=12, n_heads=12, n_units=3072, hidden_size=768, head_size=64, n_fixed_params=23_257_346)
REFERENCE = np.array([0.6, 1.0])
"""Reference point (error, params): an error a little above that without layers, and the full network's size."""

_NO_LAYERS = 0.55
"""Error without layers: the network predicts the majority class."""


def _saturating(x: FloatArray, rate: float) -> FloatArray:
    """A concave function that rises from 0 to 1 over [0, 1]."""
    return np.asarray(np.expm1(-rate * x) / np.expm1(-rate))


def _ability(heads: FloatArray, units: FloatArray, layers: FloatArray) -> FloatArray:
    """Ability relative to the full network, ``(n,)``. Arguments are fractions of the full counts, ``(n,)`` each.

    More heads, units and layers help, with diminishing returns. Heads without units, or width without depth, help less.
    """
    width = 0.4 * _saturating(heads, 2.0) + 0.6 * _saturating(units, 2.0)
    imbalance = 0.7 * (heads - units) ** 2 + 0.5 * (layers - (heads + units) / 2) ** 2
    return _saturating(layers, 2.0) * width * np.exp(-imbalance)


def smooth_error(heads: FloatArray, units: FloatArray, layers: FloatArray) -> FloatArray:
    """Error with a smooth optimum: balanced networks are best, and a step away costs little. ``(n,)`` each."""
    return _NO_LAYERS - 0.4 * _ability(heads, units, layers)


def deceptive_error(heads: FloatArray, units: FloatArray, layers: FloatArray) -> FloatArray:
    """Error with an island: deep networks with an eighth of the units are better than their neighbours suggest.

    All networks with a third of the units are worse than in :func:`smooth_error`. So a search that comes from wide
    networks has to go uphill first. Shapes ``(n,)`` each.
    """
    ability = _ability(heads, units, layers)
    trench = 0.4 * np.exp(-(((units - 0.32) / 0.08) ** 2))
    island = 0.5 * np.exp(-(((units - 0.12) / 0.08) ** 2) - ((layers - 0.85) / 0.15) ** 2)
    return _NO_LAYERS - 0.4 * ability * (1 - trench + island)


@dataclass(frozen=True)
class AnalyticProblem:
    """An error formula with observation noise.

    Attributes:
        error: the exact error as a function of the fractions of heads, units and layers, ``(n,)`` each.
        noise: standard deviation of the noise on the observed error.
    """

    name: str
    error: Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
    noise: float = 0.0

    @property
    def space(self) -> Small:
        """The search space SMALL with the dimensions of BERT-base."""
        return Small(BERT_BASE)

    def values(self, configs: IntArray) -> FloatArray:
        """The exact ``(error, params)`` of configurations ``(n, 3)``, as ``(n, 2)``."""
        fractions = configs / self.space.upper
        params = self.space.n_params(configs) / BERT_BASE.n_params
        return np.stack([self.error(*fractions.T), params], axis=1)

    @cached_property
    def optimum(self) -> float:
        """Hypervolume of the true front, from all of the half million configurations."""
        axes = np.meshgrid(*(np.arange(bound + 1) for bound in self.space.upper), indexing="ij")
        return hypervolume(self.values(np.stack([axis.ravel() for axis in axes], axis=1)), REFERENCE)

    def run(self, searcher: Searcher, n_evaluations: int, rng: np.random.Generator) -> AnalyticRun:
        """Let a searcher evaluate ``n_evaluations`` networks, including the three initial ones.

        Args:
            rng: generator of the noise, not the searcher's.
        """
        run = AnalyticRun(self, n_evaluations, rng)
        with suppress(BudgetExhausted):
            search(run, searcher, run.evaluate)
        return run


class AnalyticRun:
    """One search. It has the part of a :class:`~nasbench.runs.problem.Problem` that the search loop needs.

    Attributes:
        configs: the evaluated configurations in order, ``(3,)`` each.
        observed: ``(error, params)`` as told to the searcher, with noise.
        n_duplicates: number of proposals whose network had been evaluated before.
    """

    def __init__(self, problem: AnalyticProblem, n_evaluations: int, rng: np.random.Generator) -> None:
        self.problem = problem
        self.space = problem.space
        self.n_evaluations = n_evaluations
        self.rng = rng
        self.configs: list[Config] = []
        self.observed: list[tuple[float, float]] = []
        self.n_duplicates = 0

    def note_duplicate(self) -> None:
        """Count a proposal whose network has been evaluated before."""
        self.n_duplicates += 1

    def evaluate(self, config: Config, subnetwork: SubNetwork) -> Evaluation:
        """Evaluate the formula. Raises :class:`BudgetExhausted` after ``n_evaluations`` evaluations."""
        if len(self.configs) >= self.n_evaluations:
            raise BudgetExhausted
        error, params = self.problem.values(config[None])[0]
        if self.problem.noise:
            error += self.problem.noise * self.rng.standard_normal()
        self.configs.append(config)
        self.observed.append((float(error), float(params)))
        return Evaluation(
            index=len(self.configs) - 1,
            config=self.space.to_json(config),
            key=subnetwork.key,
            head_counts=subnetwork.head_counts.tolist(),
            unit_counts=subnetwork.unit_counts.tolist(),
            error=float(error),
            params=float(params),
            n_params=subnetwork.n_params(BERT_BASE),
            elapsed_s=float(len(self.configs)),
        )

    @property
    def hypervolume(self) -> float:
        """Hypervolume of the observed front's networks at their exact values, so that lucky noise does not help."""
        on_front = pareto_mask(self.observed)
        return hypervolume(self.problem.values(np.array(self.configs)[on_front]), REFERENCE)


PROBLEMS = {
    problem.name: problem
    for problem in (
        AnalyticProblem("smooth", smooth_error),
        AnalyticProblem("noisy", smooth_error, noise=0.02),
        AnalyticProblem("deceptive", deceptive_error),
    )
}
"""The analytic problems by name."""
