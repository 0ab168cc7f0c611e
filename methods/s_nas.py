"""S-NAS: standard neural architecture search; each sub-network is fine-tuned alone (section 3.1 of the paper)."""

from __future__ import annotations

import dataclasses
from itertools import count

from nasbench.errors import UserError
from nasbench.networks.space import Config
from nasbench.networks.subnetwork import SubNetwork
from nasbench.plugins.method import Method
from nasbench.records.record import Evaluation
from nasbench.runs.problem import Problem
from nasbench.search.loop import climb, search
from nasbench.search.searcher import MultiFidelitySearcher
from nasbench.training.configuration import TrainingOptions


class StandardNAS(Method):
    """Extracts each proposed sub-network from the pre-trained weights and fine-tunes it. Smaller networks cost less.

    With a multi-fidelity searcher, the last rung replaces the model's number of epochs: the learning rate decays over
    it. The record then has an evaluation for each rung that a network reached.
    """

    name = "s-nas"
    summary = "standard NAS: fine-tune every sub-network on its own from the pre-trained weights"
    default_searcher = "random"
    multi_fidelity = True
    Options = TrainingOptions

    def run(self, problem: Problem) -> None:
        pretrained, fine_tuning = problem.pretrained(), self.options.of(problem.fine_tuning)
        searcher, trials = problem.searcher, count()
        assert searcher is not None
        if isinstance(searcher, MultiFidelitySearcher):
            if self.options.epochs is not None:
                raise UserError(f"searcher {searcher.name!r} sets the number of epochs; leave out --set epochs")
            searcher.declared_epochs = fine_tuning.epochs
            fine_tuning = dataclasses.replace(fine_tuning, epochs=searcher.rungs[-1])

        def evaluate(config: Config, subnetwork: SubNetwork) -> Evaluation:
            network = pretrained.extract(subnetwork, name=f"network-{subnetwork.key}")
            training = problem.training(network, fine_tuning=fine_tuning)
            if not isinstance(searcher, MultiFidelitySearcher):
                training.run()
                return problem.evaluate(network, config)

            def advance(epoch: int) -> Evaluation:
                training.run(until_epoch=epoch)
                return problem.evaluate(network.renamed(f"{network.name}-epoch-{epoch}"), config, epochs=epoch)

            return climb(searcher, next(trials), advance)

        with problem.phase("search"):
            search(problem, searcher, evaluate)
