"""S-NAS: standard neural architecture search, every sub-network fine-tuned on its own (section 3.1 of the paper)."""

from __future__ import annotations

import dataclasses
from itertools import count

from nasbench.method import Method
from nasbench.problem import Problem
from nasbench.record import Evaluation
from nasbench.search import climb, search
from nasbench.searcher import MultiFidelitySearcher
from nasbench.space import Config
from nasbench.subnetwork import SubNetwork


class StandardNAS(Method):
    """Extracts each proposed sub-network from the pre-trained weights and fine-tunes it; cost falls with its size.

    A multi-fidelity searcher replaces the model's number of epochs by its own last rung, over which the learning rate
    then decays, and every rung is an evaluation of its own in the record.
    """

    name = "s-nas"
    summary = "standard NAS: fine-tune every sub-network on its own from the pre-trained weights"
    default_searcher = "random"
    multi_fidelity = True

    def run(self, problem: Problem) -> None:
        pretrained = problem.pretrained()
        searcher, trials = problem.searcher, count()
        assert searcher is not None

        def evaluate(config: Config, subnetwork: SubNetwork) -> Evaluation:
            network = pretrained.extract(subnetwork, label=f"network-{subnetwork.key}")
            if not isinstance(searcher, MultiFidelitySearcher):
                problem.training(network).run()
                return problem.evaluate(network, config)
            fine_tuning = dataclasses.replace(problem.fine_tuning, epochs=searcher.rungs[-1])
            training = problem.training(network, fine_tuning=fine_tuning)

            def advance(epoch: int) -> Evaluation:
                training.run(until_epoch=epoch)
                return problem.evaluate(network.labelled(f"{network.label}-epoch-{epoch}"), config, epochs=epoch)

            return climb(searcher, next(trials), advance)

        with problem.phase("search"):
            search(problem, searcher, evaluate)
