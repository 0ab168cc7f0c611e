"""Shared parts of Bayesian searchers: observations, candidates, no repeated proposals, a model of the error."""

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
"""In spaces of more dimensions, the inputs of the model are the numbers of heads and units kept in each layer."""

_MAX_CANDIDATE_BITS = 10_000_000


@dataclass(frozen=True)
class ModelBasedOptions:
    """Attributes:
    n_initial: observations before the model is used, including the first three networks. Until then proposals are
        uniform samples.
    n_candidates: configurations scored per proposal (fewer in LARGE, to bound the memory).
    """

    n_initial: int = 6
    n_candidates: int = 3000

    def __post_init__(self) -> None:
        if self.n_initial < 1:
            raise ValueError(f"n_initial is {self.n_initial}; it must be at least 1")
        if self.n_candidates < 3:
            raise ValueError(f"n_candidates is {self.n_candidates}; it must be at least 3")


class ModelBasedSearcher(Searcher):
    """Proposes the best of many discrete candidates under a model of the observations.

    Scoring a finite set in one batch needs no gradients of the acquisition function, no rounding and no restarts. A
    third of the candidates are uniform samples. A third redraw one dimension of a member of the observed front. A third
    take small steps from a member of the observed front. Subclasses define :meth:`score`.
    """

    Options = ModelBasedOptions
    max_observations: ClassVar[int] = 1000
    """Most observations that a model is fitted to, evenly spaced in time. The cost of a fit is cubic in this number."""

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._configs: list[Config] = []
        self._inputs: list[FloatArray] = []
        self._values: list[FloatArray] = []
        self._told: set[str] = set()
        self._asked: set[str] = set()

    @abstractmethod
    def score(self, candidates: IntArray) -> FloatArray:
        """Acquisition values ``(n,)`` of candidates ``(n, n_dims)``, given the observations; larger is better."""

    @property
    def inputs(self) -> FloatArray:
        """Features of the observed networks, ``(n, d)``; each network once."""
        return np.array(self._inputs)

    @property
    def values(self) -> FloatArray:
        """Values of the observed networks, the error and the costs, ``(n, n_objectives)``."""
        return np.array(self._values)

    @property
    def fitted(self) -> IntArray:
        """Indices of the observations that the model is fitted to; at most :attr:`max_observations`."""
        n = len(self._configs)
        return np.unique(np.linspace(0, n - 1, min(n, self.max_observations)).astype(np.int64))

    def ask(self) -> Config:
        config = self.sample() if len(self._configs) < self.options.n_initial else self._best()
        self._asked.add(self._key(config))
        return config

    def tell(self, config: Config, values: FloatArray) -> None:
        key = self._key(config)
        if key not in self._told:  # a second copy would make the model too certain
            self._told.add(key)
            self._configs.append(config)
            self._inputs.append(self.features(config[None])[0])
            self._values.append(values)

    def features(self, configs: IntArray) -> FloatArray:
        """Inputs of the model ``(n, d)`` in [0, 1]: the configuration itself, or counts per layer in large spaces."""
        if self.space.n_dims <= MAX_MODEL_DIMS:
            return np.asarray(configs / np.maximum(self.space.upper, 1))
        heads, units = self.space.counts(configs)
        dims = self.space.dims
        return np.hstack([heads / max(dims.n_heads, 1), units / max(dims.n_units, 1)])

    def known_costs(self, configs: IntArray) -> FloatArray:
        """Fractions of the full network's costs, ``(n, n_costs)``; they need no evaluation."""
        return self.costs.of(self.space, configs)

    def _best(self) -> Config:
        """The best candidate whose network was not observed or proposed before, even if its evaluation failed."""
        candidates = self.candidates()
        if self._first_new(candidates) is None:  # the space is almost exhausted: fit no model
            return self.sample()
        order = np.argsort(-self.score(candidates), kind="stable")
        best = self._first_new(candidates[order])
        assert best is not None
        return best

    def sample(self) -> Config:
        """A proposal that needs no model."""
        return self.space.sample(self.rng)

    def candidates(self) -> IntArray:
        """Configurations to score for one proposal, ``(n, n_dims)``."""
        n = min(self.options.n_candidates, max(3, _MAX_CANDIDATE_BITS // self.space.n_dims)) // 3
        front = np.stack([self._configs[i] for i in np.flatnonzero(pareto_mask(self.values))])
        parents = front[self.rng.integers(len(front), size=2 * n)]
        uniform = np.stack([self.space.sample(self.rng) for _ in range(n)])
        redrawn = np.stack([self.space.redraw(parent, self.rng) for parent in parents[:n]])
        return np.unique(np.concatenate([uniform, redrawn, self._steps(parents[n:])]), axis=0)

    def _steps(self, parents: IntArray) -> IntArray:
        """Move about three dimensions of each parent by about a tenth of their range, inside the space."""
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
    """Models the error only; the costs, such as the number of parameters, are known before an evaluation."""

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._hyperparameters: Hyperparameters | None = None

    def fit_error(self) -> tuple[GaussianProcess, FloatArray]:
        """Posterior of the error, and the front to improve on, ``(m, n_objectives)`` with the error first.

        The errors to beat are posterior means, not observations. Otherwise a lucky observation would make all
        configurations near it look worthless.
        """
        inputs, values = self.inputs, self.values
        model = fit(inputs[self.fitted], values[self.fitted, 0], start=self._hyperparameters)
        self._hyperparameters = model.hyperparameters
        known = np.column_stack([model.predict(inputs)[0], values[:, 1:]])
        return model, known[pareto_mask(known)]
