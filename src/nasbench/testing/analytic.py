"""Two-objective problems over SMALL with the dimensions of BERT-base, whose best fronts are known.

The parameter fraction is that of the real network; the error is a formula, so a searcher is judged in milliseconds.
Every formula depends on the masks alone: configurations without layers, or without heads and units, are worth the same.
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
"""(error, params): a little worse than no layers at all, and the full network."""

_NO_LAYERS = 0.55
"""Error of a network that predicts the majority class."""


def _saturating(x: FloatArray, rate: float) -> FloatArray:
    """Concave from 0 to 1 over [0, 1]."""
    return np.asarray(np.expm1(-rate * x) / np.expm1(-rate))


def _ability(heads: FloatArray, units: FloatArray, layers: FloatArray) -> FloatArray:
    """Fraction of what the full network learns; arguments are fractions of the full counts, ``(n,)`` each.

    More of everything helps, with falling returns; but heads without units, or width without depth, learn less.
    """
    width = 0.4 * _saturating(heads, 2.0) + 0.6 * _saturating(units, 2.0)
    imbalance = 0.7 * (heads - units) ** 2 + 0.5 * (layers - (heads + units) / 2) ** 2
    return _saturating(layers, 2.0) * width * np.exp(-imbalance)


def smooth_error(heads: FloatArray, units: FloatArray, layers: FloatArray) -> FloatArray:
    """The best networks are balanced, and a step away from them costs little."""
    return _NO_LAYERS - 0.4 * _ability(heads, units, layers)


def deceptive_error(heads: FloatArray, units: FloatArray, layers: FloatArray) -> FloatArray:
    """As the smooth one, but deep networks with an eighth of the units learn better than their neighbours suggest.

    With a third of the units all networks learn worse: from the region of wide networks the way there leads uphill.
    """
    ability = _ability(heads, units, layers)
    trench = 0.4 * np.exp(-(((units - 0.32) / 0.08) ** 2))
    island = 0.5 * np.exp(-(((units - 0.12) / 0.08) ** 2) - ((layers - 0.85) / 0.15) ** 2)
    return _NO_LAYERS - 0.4 * ability * (1 - trench + island)


@dataclass(frozen=True)
class AnalyticProblem:
    """An error formula, and how noisily it is observed.

    Attributes:
        error: of fractions of heads, units and layers, ``(n,)`` each; exact.
        noise: standard deviation of the observed error.
    """

    name: str
    error: Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
    noise: float = 0.0

    @property
    def space(self) -> Small:
        return Small(BERT_BASE)

    def values(self, configs: IntArray) -> FloatArray:
        """Exact ``(error, params)`` of configurations ``(n, 3)``; shape ``(n, 2)``."""
        fractions = configs / self.space.upper
        params = self.space.n_params(configs) / BERT_BASE.n_params
        return np.stack([self.error(*fractions.T), params], axis=1)

    @cached_property
    def optimum(self) -> float:
        """Hypervolume of the true front: of all half a million configurations."""
        axes = np.meshgrid(*(np.arange(bound + 1) for bound in self.space.upper), indexing="ij")
        return hypervolume(self.values(np.stack([axis.ravel() for axis in axes], axis=1)), REFERENCE)

    def run(self, searcher: Searcher, n_evaluations: int, rng: np.random.Generator) -> AnalyticRun:
        """Let a searcher evaluate ``n_evaluations`` networks, the three first ones included.

        Args:
            rng: of the noise; another one than the searcher's.
        """
        run = AnalyticRun(self, n_evaluations, rng)
        with suppress(BudgetExhausted):
            search(run, searcher, run.evaluate)
        return run


class AnalyticRun:
    """One search: the part of a :class:`~nasbench.runs.problem.Problem` that the search loop needs, and what it evaluated.

    Attributes:
        configs: in order of evaluation, ``(3,)`` each.
        observed: ``(error, params)`` as told to the searcher, noise included.
        n_duplicates: proposals that named a network already evaluated.
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
        self.n_duplicates += 1

    def evaluate(self, config: Config, subnetwork: SubNetwork) -> Evaluation:
        """Raises :class:`BudgetExhausted` when all evaluations are spent."""
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
        """Of the exact values of the networks on the observed front: noise may mislead, but not flatter."""
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
"""By name."""
