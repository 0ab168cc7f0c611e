"""Proposals for methods that evaluate all depths of a width at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nasbench.errors import UserError
from nasbench.expected_improvement import expected_improvement_of_curves, reference_point
from nasbench.front import pareto_mask
from nasbench.gaussian_process import Hyperparameters, fit
from nasbench.model_based import ModelBasedOptions, ModelBasedSearcher
from nasbench.space import Config, SearchSpace, Small
from nasbench.subnetwork import FloatArray, IntArray


@dataclass(frozen=True)
class DepthOptions(ModelBasedOptions):
    """Attributes:
    n_samples: joint samples of the errors of a curve.
    """

    n_candidates: int = 900
    n_samples: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_samples < 1:
            raise ValueError(f"n_samples is {self.n_samples}; it must be at least 1")


class DepthSearcher(ModelBasedSearcher):
    """Proposes the width (h, u) whose whole curve of depths promises the largest hypervolume improvement.

    For the space SMALL, where one pass through (h, u, L) passes through every (h, u, l). Proposals have all layers; the
    method is expected to tell what every depth of them is worth. The error is modelled as in ``ehvi-exact``, and the
    expectation is over joint samples of a curve, since its points are strongly correlated.
    """

    name = "depth"
    summary = "expected hypervolume improvement of all depths of a width together (SMALL; for all-depth evaluation)"
    spaces = ("small",)
    proposes_widths = True
    Options = DepthOptions

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        if not isinstance(space, Small):
            raise UserError(f"searcher {self.name!r} works in space 'small', not in {space.name!r}")
        super().__init__(space, rng, options)
        self._hyperparameters: Hyperparameters | None = None

    def sample(self) -> Config:
        config = super().sample()
        config[2] = self.space.upper[2]
        return config

    def candidates(self) -> IntArray:
        configs = super().candidates()
        configs[:, 2] = self.space.upper[2]
        return np.unique(configs, axis=0)

    def score(self, candidates: IntArray) -> FloatArray:
        inputs, values = self.inputs, self.values
        model = fit(inputs[self.fitted], values[self.fitted, 0], start=self._hyperparameters)
        self._hyperparameters = model.hyperparameters
        known = np.stack([model.predict(inputs)[0], values[:, 1]], axis=1)
        front = known[pareto_mask(known)]

        depths = np.arange(1, self.space.upper[2] + 1)
        curves = np.repeat(candidates[:, None], len(depths), axis=1)  # (n, L, 3)
        curves[:, :, 2] = depths
        mean, covariance = model.predict_jointly(self.features(curves))
        params = self.params(curves.reshape(-1, 3)).reshape(mean.shape)
        normals = self.rng.standard_normal((self.options.n_samples, len(depths)))
        return expected_improvement_of_curves(mean, covariance, params, front, reference_point(front), normals)
