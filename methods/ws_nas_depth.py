"""WS-NAS by depth curves: one pass of (h, u, l) evaluates the networks of all depths. SMALL only; not in the paper.

In SMALL, the network (h, u, k) is the first k layers of (h, u, l), so a pass of the deeper network computes it on its
way. Applying the classifier at each depth gives l + 1 evaluations for the price of one.
"""

from __future__ import annotations

from nasbench.networks.space import Config
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.search.loop import MAX_CONSECUTIVE_DUPLICATES, proposal_of, values_of
from nasbench.training.configuration import TRAINING_SHARE, SuperNetworkOptions


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

        def visit(config: Config) -> bool:
            """Evaluate and tell all depths up to that of a configuration; returns whether any of them was new."""
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
