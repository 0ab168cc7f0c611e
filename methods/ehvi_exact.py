"""EHVI in closed form: a Gaussian process models the error; the costs are known."""

from __future__ import annotations

from nasbench.arrays import FloatArray, IntArray
from nasbench.objectives.declared import MOST_OBJECTIVES
from nasbench.search.expected_improvement import expected_hypervolume_improvement, reference_point
from nasbench.search.model_based import ErrorModelSearcher


class ExactEhvi(ErrorModelSearcher):
    """Proposes the candidate with the largest expected hypervolume improvement in closed form."""

    name = "ehvi-exact"
    summary = "expected hypervolume improvement in closed form: the error is modelled, the costs are known"
    most_objectives = MOST_OBJECTIVES

    def score(self, candidates: IntArray) -> FloatArray:
        model, front = self.fit_error()
        mean, deviation = model.predict(self.features(candidates))
        costs = self.known_costs(candidates)
        return expected_hypervolume_improvement(mean, deviation, costs, front, reference_point(front))
