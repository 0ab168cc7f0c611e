"""A searcher for methods that evaluate all depths of a network in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nasbench.arrays import FloatArray, IntArray
from nasbench.errors import UserError
from nasbench.networks.space import Config, SearchSpace, Small
from nasbench.search.expected_improvement import expected_improvement_of_curves, reference_point
from nasbench.search.model_based import ErrorModelSearcher, ModelBasedOptions

LAYER_SHARE = 0.1
"""Time of a layer without heads and units as a fraction of a full layer's: LayerNorms and copies remain."""


@dataclass(frozen=True)
class DepthOptions(ModelBasedOptions):
    """Attributes:
    n_candidates: widths scored per proposal, each at every depth.
    n_samples: joint samples of the errors of a curve.
    """

    n_candidates: int = 300
    n_samples: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_samples < 1:
            raise ValueError(f"n_samples is {self.n_samples}; it must be at least 1")


class DepthSearcher(ErrorModelSearcher):
    """Proposes the pass whose curve of depths has the largest expected hypervolume improvement for its price.

    Works in the space SMALL, where a pass through (h, u, l) computes every shallower network (h, u, k) on its way; the
    method must tell the values of each. The error is modelled as in ``ehvi-exact``. The expectation is over joint
    samples of a curve, because its points are strongly correlated. The price of a pass follows from its cost, such as
    its parameters, and its layers, which are known.
    """

    name = "depth"
    summary = "expected hypervolume improvement of all depths of a pass, for its price (SMALL; for ws-nas-depth)"
    spaces = ("small",)
    expects_depths = True
    Options = DepthOptions

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        if not isinstance(space, Small):
            raise UserError(f"searcher {self.name!r} works in space 'small', not in {space.name!r}")
        super().__init__(space, rng, options)

    def sample(self) -> Config:
        config = super().sample()
        config[2] = self.space.upper[2]
        return config

    def candidates(self) -> IntArray:
        widths = np.unique(super().candidates()[:, :2], axis=0)
        return self._curves(widths).reshape(-1, 3)

    def score(self, candidates: IntArray) -> FloatArray:
        model, front = self.fit_error()
        widths, place = np.unique(candidates[:, :2], axis=0, return_inverse=True)
        curves = self._curves(widths)
        mean, covariance = model.predict_jointly(self.features(curves))
        costs = self.known_costs(curves.reshape(-1, 3)).reshape(mean.shape)
        normals = self.rng.standard_normal((self.options.n_samples, mean.shape[1]))
        improvement = expected_improvement_of_curves(mean, covariance, costs, front, reference_point(front), normals)
        least = self.known_costs(self.space.smallest[None])[0]
        price = (costs - least) / (1 - least) + LAYER_SHARE * curves[:, :, 2] / self.space.upper[2]
        return np.asarray((improvement / price)[place, candidates[:, 2] - 1])

    def _curves(self, widths: IntArray) -> IntArray:
        """Every depth from 1 to L of ``(n, 2)`` heads and units: ``(n, L, 3)``."""
        n_layers = int(self.space.upper[2])
        depths = np.broadcast_to(np.arange(1, n_layers + 1)[:, None], (len(widths), n_layers, 1))
        return np.concatenate([np.repeat(widths[:, None], n_layers, axis=1), depths], axis=2)
