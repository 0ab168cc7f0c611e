"""WS-NAS by depth curves: every pass of (h, u, l) reports all the depths it goes through. Our own; SMALL only.

In SMALL the network (h, u, k) is the first k layers of (h, u, l), so a pass of the deeper one computes it on its way.
Reading the classifier at each depth gives l + 1 evaluations for the price of one.
"""

from __future__ import annotations

from nasbench.networks.space import Config
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.search.loop import MAX_CONSECUTIVE_DUPLICATES, proposal_of, values_of
from nasbench.training.configuration import TRAINING_SHARE, SuperNetworkOptions


class DepthWeightSharingNAS(Method):
    """The super-network of ``ws-nas``, searched by passes that report every depth.

    Any searcher can propose; it is told about all depths up to the one it asked for.
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
            """Report and tell all depths up to that of a configuration; False if none of them was new."""
            evaluations = problem.evaluate_depths(network, config)
            for evaluation in evaluations:
                values = values_of(evaluation)
                if values is not None:
                    searcher.tell(problem.space.from_json(evaluation.config), values)
            return bool(evaluations)

        with problem.phase("search"):
            for config in (problem.space.largest, problem.space.midpoint):
                visit(config)
            n_duplicates = 0
            while n_duplicates < MAX_CONSECUTIVE_DUPLICATES:
                n_duplicates = 0 if visit(proposal_of(searcher, problem.space)) else n_duplicates + 1
