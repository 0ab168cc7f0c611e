"""What Bayesian searchers share: observations, candidates, the rule never to ask for the same twice, error models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nasbench.arrays import FloatArray, IntArray
from nasbench.networks.space import Config, SearchSpace
from nasbench.search.gaussian_process import GaussianProcess, Hyperparameters, fit
from nasbench.search.pareto import pareto_mask
from nasbench.search.searcher import Searcher

MAX_MODEL_DIMS = 64
"""Spaces of more dimensions are modelled through heads and units kept in each layer."""

_MAX_CANDIDATE_BITS = 10_000_000


@dataclass(frozen=True)
class ModelBasedOptions:
    """Attributes:
    n_initial: observations before the model is asked, the three first ones included; until then, uniform samples.
    n_candidates: configurations scored for one proposal (fewer in LARGE, to bound the memory).
    """

    n_initial: int = 6
    n_candidates: int = 3000

    def __post_init__(self) -> None:
        if self.n_initial < 1:
            raise ValueError(f"n_initial is {self.n_initial}; it must be at least 1")
        if self.n_candidates < 3:
            raise ValueError(f"n_candidates is {self.n_candidates}; it must be at least 3")


class ModelBasedSearcher(Searcher):
    """Proposes the best of many discrete candidates under a model of what was observed.

    Scoring a finite set in one batch needs no gradients of the acquisition, no rounding and no restarts. A third of the
    candidates are uniform samples, a third redraw one dimension of a member of the observed front, a third take small
    steps from one. Subclasses define :meth:`score`.
    """

    Options = ModelBasedOptions
    max_observations: ClassVar[int] = 1000
    """What a model is fitted to at most, evenly spaced in time: its cost is cubic, and a proposal must stay cheap."""

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._configs: list[Config] = []
        self._inputs: list[FloatArray] = []
        self._values: list[FloatArray] = []
        self._told: set[str] = set()
        self._asked: set[str] = set()

    @abstractmethod
    def score(self, candidates: IntArray) -> FloatArray:
        """How much each of ``(n, n_dims)`` promises, ``(n,)``; larger is better. There are observations by then."""

    @property
    def inputs(self) -> FloatArray:
        """Features of the networks observed, once each, ``(n, d)``."""
        return np.array(self._inputs)

    @property
    def values(self) -> FloatArray:
        """Their (error, params), ``(n, 2)``."""
        return np.array(self._values)

    @property
    def fitted(self) -> IntArray:
        """Indices of the observations that the model is fitted to, at most :attr:`max_observations`."""
        n = len(self._configs)
        return np.unique(np.linspace(0, n - 1, min(n, self.max_observations)).astype(np.int64))

    def ask(self) -> Config:
        config = self.sample() if len(self._configs) < self.options.n_initial else self._best()
        self._asked.add(self._key(config))
        return config

    def tell(self, config: Config, values: FloatArray) -> None:
        key = self._key(config)
        if key not in self._told:  # a second copy of the same observation would feign certainty
            self._told.add(key)
            self._configs.append(config)
            self._inputs.append(self.features(config[None])[0])
            self._values.append(values)

    def features(self, configs: IntArray) -> FloatArray:
        """Inputs of a model, ``(n, d)`` in [0, 1]: the dimensions of the space, or counts by layer if they are many."""
        if self.space.n_dims <= MAX_MODEL_DIMS:
            return np.asarray(configs / self.space.upper)
        heads, units = self.space.counts(configs)
        return np.hstack([heads / self.space.dims.n_heads, units / self.space.dims.n_units])

    def params(self, configs: IntArray) -> FloatArray:
        """Fraction of the full network's parameters, ``(n,)``: known without a model."""
        return np.asarray(self.space.n_params(configs) / self.space.dims.n_params)

    def _best(self) -> Config:
        """The best candidate whose network was neither observed nor asked for before, failed ones included."""
        candidates = self.candidates()
        if self._first_new(candidates) is None:  # all but exhausted: do not pay for a model
            return self.sample()
        order = np.argsort(-self.score(candidates), kind="stable")
        best = self._first_new(candidates[order])
        assert best is not None
        return best

    def sample(self) -> Config:
        """A configuration to ask for where no model is of use."""
        return self.space.sample(self.rng)

    def candidates(self) -> IntArray:
        """What is scored for one proposal, ``(n, n_dims)``."""
        n = min(self.options.n_candidates, max(3, _MAX_CANDIDATE_BITS // self.space.n_dims)) // 3
        front = np.stack([self._configs[i] for i in np.flatnonzero(pareto_mask(self.values))])
        parents = front[self.rng.integers(len(front), size=2 * n)]
        uniform = np.stack([self.space.sample(self.rng) for _ in range(n)])
        redrawn = np.stack([self.space.redraw(parent, self.rng) for parent in parents[:n]])
        return np.unique(np.concatenate([uniform, redrawn, self._steps(parents[n:])]), axis=0)

    def _steps(self, parents: IntArray) -> IntArray:
        """Each parent with some three dimensions moved by about a tenth of their range, inside the space."""
        upper = self.space.upper
        deviation = np.maximum(0.1 * upper, 1.0)
        steps = np.rint(deviation * self.rng.standard_normal(parents.shape)).astype(np.int64)
        steps *= self.rng.random(parents.shape) < 3 / self.space.n_dims
        reflected = upper - np.abs(upper - np.abs(parents + steps))
        return np.asarray(np.clip(reflected, 0, upper))

    def _first_new(self, configs: Iterable[Config]) -> Config | None:
        known = self._told | self._asked
        return next((config for config in configs if self._key(config) not in known), None)

    def _key(self, config: Config) -> str:
        return self.space.to_subnetwork(config).key


class ErrorModelSearcher(ModelBasedSearcher):
    """Models the error alone: the parameters of a network are known before it is evaluated."""

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._hyperparameters: Hyperparameters | None = None

    def fit_error(self) -> tuple[GaussianProcess, FloatArray]:
        """The posterior of the error, and the front to improve on, ``(m, 2)`` with columns (error, params).

        The errors to beat are posterior means, not observations: a lucky observation would otherwise hide its
        neighbours.
        """
        inputs, values = self.inputs, self.values
        model = fit(inputs[self.fitted], values[self.fitted, 0], start=self._hyperparameters)
        self._hyperparameters = model.hyperparameters
        known = np.stack([model.predict(inputs)[0], values[:, 1]], axis=1)
        return model, known[pareto_mask(known)]
