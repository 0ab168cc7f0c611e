"""EHVI for what is actually uncertain: a Gaussian process of the error, the parameters known, the integral closed."""

from __future__ import annotations

from typing import Any

import numpy as np

from nasbench.expected_improvement import expected_hypervolume_improvement, reference_point
from nasbench.front import pareto_mask
from nasbench.gaussian_process import Hyperparameters, fit
from nasbench.model_based import ModelBasedSearcher
from nasbench.space import SearchSpace
from nasbench.subnetwork import FloatArray, IntArray


class ExactEhvi(ModelBasedSearcher):
    """Proposes the candidate with the largest expected hypervolume improvement in closed form.

    The errors to beat are posterior means, not observations: a lucky observation would otherwise hide its neighbours.
    """

    name = "ehvi-exact"
    summary = "expected hypervolume improvement in closed form: the error is modelled, the parameters are known"

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._hyperparameters: Hyperparameters | None = None

    def score(self, candidates: IntArray) -> FloatArray:
        inputs, values = self.inputs, self.values
        model = fit(inputs[self.fitted], values[self.fitted, 0], start=self._hyperparameters)
        self._hyperparameters = model.hyperparameters
        known = np.stack([model.predict(inputs)[0], values[:, 1]], axis=1)
        front = known[pareto_mask(known)]
        mean, deviation = model.predict(self.features(candidates))
        return expected_hypervolume_improvement(mean, deviation, self.params(candidates), front, reference_point(front))
