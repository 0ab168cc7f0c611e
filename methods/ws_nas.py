"""WS-NAS: train one super-network, then search it on the shared weights (section 3.2 of the paper).

In the space ``auto``, the super-network is trained in all four of the paper's spaces, and the search finds out which of
them is best. The paper leaves this choice to the user.
"""

from __future__ import annotations

from nasbench.networks.space import PAPER_SPACES, Auto, Config
from nasbench.networks.subnetwork import SubNetwork
from nasbench.plugins.method import Method
from nasbench.records.record import Evaluation
from nasbench.runs.problem import Problem
from nasbench.search.halving import search_parts
from nasbench.search.loop import search
from nasbench.training.configuration import TRAINING_SHARE, SuperNetworkOptions


class WeightSharingNAS(Method):
    """Trains a super-network with one of six strategies, then runs any searcher. An evaluation is one forward pass.

    The paper's WS-NAS searches with EHVI: ``--searcher ehvi``. The default is random search. It stays the default
    because a record's identity names its searcher: another default would make the same command another run.
    """

    name = "ws-nas"
    summary = "weight-sharing NAS: train a super-network once, then search it (the paper's has --searcher ehvi)"
    spaces = (*PAPER_SPACES, Auto.name)
    default_searcher = "random"
    Options = SuperNetworkOptions

    def run(self, problem: Problem) -> None:
        network = problem.pretrained("super-network")
        training = problem.training(network, self.options, self.options.of(problem.model.super_network))
        training.run(budget_share=TRAINING_SHARE)

        def evaluate(config: Config, _: SubNetwork) -> Evaluation:
            return problem.evaluate(network, config)

        assert problem.searcher is not None
        with problem.phase("search"):
            if isinstance(problem.space, Auto):
                search_parts(problem, problem.space, problem.searcher, evaluate)
            else:
                search(problem, problem.searcher, evaluate)
