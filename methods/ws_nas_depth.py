"""WS-NAS by whole depth curves: every pass of (h, u, L) reports all its depths. Our own; SMALL only.

In SMALL the network (h, u, l) is the first l layers of (h, u, L), so a pass of the deepest computes all L + 1 of them
on its way. Reading the classifier at each depth gives L + 1 evaluations for the price of one, and the searcher only has
to choose (h, u).
"""

from __future__ import annotations

import numpy as np

from nasbench.fine_tuning import TRAINING_SHARE, SuperNetworkOptions
from nasbench.method import Method
from nasbench.problem import Problem
from nasbench.search import MAX_CONSECUTIVE_DUPLICATES
from nasbench.space import Config


class DepthWeightSharingNAS(Method):
    """The super-network of ``ws-nas``, searched by passes that report every depth.

    Any searcher can propose; the number of layers it asks for is ignored, and it is told about all of them.
    """

    name = "ws-nas-depth"
    summary = "weight-sharing NAS whose every pass reports all depths it goes through"
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

        def visit(config: Config) -> bool:
            """Report and tell all depths of (h, u); False if none of them was new."""
            evaluations = problem.evaluate_depths(network, np.array([*config[:2], problem.dims.n_layers]))
            for evaluation in evaluations:
                if evaluation.error is not None:
                    told = problem.space.from_json(evaluation.config)
                    searcher.tell(told, np.array([evaluation.error, evaluation.params]))
            return bool(evaluations)

        with problem.phase("search"):
            for config in (problem.space.largest, problem.space.midpoint):
                visit(config)
            n_duplicates = 0
            while n_duplicates < MAX_CONSECUTIVE_DUPLICATES:
                n_duplicates = 0 if visit(searcher.ask()) else n_duplicates + 1
