"""WS-NAS by depth curves: one pass of (h, u, l) evaluates the networks of all depths. SMALL only; not in the paper.

In SMALL, the network (h, u, k) is the first k layers of (h, u, l), so a pass of the deeper network computes it on its
way. Applying the classifier at each depth gives l + 1 evaluations for the price of one. The searcher ``depth`` is made
for this method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nasbench.arrays import FloatArray, IntArray
from nasbench.errors import UserError
from nasbench.networks.space import Config, SearchSpace, Small
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.search.expected_improvement import expected_improvement_of_curves, reference_point
from nasbench.search.loop import MAX_CONSECUTIVE_DUPLICATES, proposal_of, values_of
from nasbench.search.model_based import ErrorModelSearcher, ModelBasedOptions
from nasbench.training.configuration import TRAINING_SHARE, SuperNetworkOptions

LAYER_SHARE = 0.1
"""Time of a layer without heads and units as a fraction of a full layer's: LayerNorms and copies remain."""


class DepthWeightSharingNAS(Method):
    """Trains the super-network of ``ws-nas`` and searches it with passes that evaluate every depth.

    Works with any searcher. The searcher is told the values of all depths up to the depth of its proposal.
    """

    name = "ws-nas-depth"
    summary = "weight-sharing NAS in which one pass evaluates all depths of a network"
    spaces = ("small",)
    default_searcher = "depth"
    evaluates_depths = True
    Options = SuperNetworkOptions

    def run(self, problem: Problem) -> None:
        network = problem.pretrained("super-network")
        training = problem.training(network, self.options, self.options.of(problem.model.super_network))
        training.run(budget_share=TRAINING_SHARE)
        searcher = problem.searcher
        assert searcher is not None

        space = problem.space
        known: dict[str, FloatArray] = {}  # by network; without failed evaluations

        def visit(config: Config) -> bool:
            """Evaluate and tell all depths up to that of a configuration; returns whether any of them was new.

            A configuration that is not among them is told its old values, as in :class:`SearchLoop`.
            """
            evaluations = problem.evaluate_depths(network, config)
            told = []
            for evaluation in evaluations:
                values = values_of(evaluation)
                if values is not None:
                    told.append(space.from_json(evaluation.config))
                    known[space.to_subnetwork(told[-1]).key] = values
                    searcher.tell(told[-1], values)
            old = known.get(space.to_subnetwork(config).key)
            if old is not None and not any(np.array_equal(config, other) for other in told):
                searcher.tell(config, old)
            return bool(evaluations)

        with problem.phase("search"):
            for config in (problem.space.largest, problem.space.midpoint):
                visit(config)
            n_duplicates = 0
            while n_duplicates < MAX_CONSECUTIVE_DUPLICATES:
                n_duplicates = 0 if visit(proposal_of(searcher, problem.space)) else n_duplicates + 1


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
