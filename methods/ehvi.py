"""EHVI: Bayesian optimisation of the expected hypervolume improvement (Daulton et al. 2020; appendix D), on BoTorch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nasbench.arrays import FloatArray, IntArray
from nasbench.networks.space import SearchSpace
from nasbench.objectives.declared import MOST_OBJECTIVES
from nasbench.search.expected_improvement import reference_point
from nasbench.search.model_based import ModelBasedOptions, ModelBasedSearcher
from nasbench.search.pareto import pareto_mask

if TYPE_CHECKING:
    import torch
    from botorch.models import SingleTaskGP

_MAX_FIT_ITERATIONS = 50


@dataclass(frozen=True)
class EhviOptions(ModelBasedOptions):
    """Options of every model-based searcher; fewer candidates, since BoTorch needs 0.1 ms for each."""

    n_candidates: int = 1000


class Ehvi(ModelBasedSearcher):
    """Proposes the candidate with the largest expected hypervolume improvement under a Gaussian process per objective.

    As in the paper, all objectives are modelled, even the costs; ``ehvi-exact`` uses the known costs.
    Observations are noisy, so the front to improve on is that of the posterior means. For one proposal at a time and
    independent objectives, the expectation has a closed form (Yang et al. 2019), so nothing is sampled.
    """

    name = "ehvi"
    summary = "expected hypervolume improvement with a Gaussian process per objective (BoTorch)"
    Options = EhviOptions
    most_objectives = MOST_OBJECTIVES
    max_observations = 300

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        import botorch  # noqa: F401 - takes seconds: not during a proposal, and not when searchers are listed

    def score(self, candidates: IntArray) -> FloatArray:
        import torch

        # BoTorch restarts a failed fit with numbers from the global generator.
        with torch.random.fork_rng(devices=[]), _one_thread():
            torch.manual_seed(int(self.rng.integers(2**31)))
            model = fit(self.inputs[self.fitted], self.values[self.fitted])
            return expected_improvement(model, self.inputs, self.features(candidates))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit torch to one thread. For small matrices, waiting for a second thread took ten times the work (measured)."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def fit(inputs: FloatArray, values: FloatArray) -> SingleTaskGP:
    """Fit independent Gaussian processes to the negated, standardised objectives, each with its own noise.

    Args:
        inputs: ``(n, d)`` in [0, 1].
        values: ``(n, n_objectives)``, all minimised.
    """
    import torch
    from botorch.exceptions.warnings import InputDataWarning
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood

    scale = Standardize(m=values.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputDataWarning)  # values that are all equal have no deviation of 1
        model = SingleTaskGP(torch.from_numpy(inputs), torch.from_numpy(-values), outcome_transform=scale)
    fit_gpytorch_mll(
        ExactMarginalLogLikelihood(model.likelihood, model),
        optimizer_kwargs={"options": {"maxiter": _MAX_FIT_ITERATIONS}},
    )
    return model


def expected_improvement(model: SingleTaskGP, observed: FloatArray, candidates: FloatArray) -> FloatArray:
    """Expected hypervolume improvement of candidates over the front of the posterior means.

    Args:
        model: from :func:`fit`.
        observed: inputs of the observations, ``(m, d)``.
        candidates: ``(n, d)``.

    Returns:
        ``(n,)``.
    """
    import torch
    from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
    from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning

    with torch.no_grad():
        means = model.posterior(torch.from_numpy(observed)).mean
        # BoTorch maximises. Signs change only here, for the front and for its reference.
        minimised = -means.numpy()
        reference = torch.from_numpy(-reference_point(minimised[pareto_mask(minimised)]))
        partitioning = FastNondominatedPartitioning(reference, Y=means)
        acquisition = ExpectedHypervolumeImprovement(model, reference.tolist(), partitioning)  # type: ignore[arg-type]
        scores: torch.Tensor = acquisition(torch.from_numpy(candidates)[:, None])
    return np.asarray(scores.numpy())
