"""Retraining-free pruning: choose heads and units by Fisher information, then tune their masks (Kwon et al. 2022)."""

from __future__ import annotations

from nasbench.baselines.masks.calibration import ready_network
from nasbench.masks.sample import Sample
from nasbench.masks.search import MacCosts, MaskSearch, rearranged
from nasbench.masks.tuning import tune_masks
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import SubNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions

ALPHAS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Fractions of the full network's operations; one evaluation for each."""


class RetrainingFreePruning(Method):
    """Fine-tunes the network, then prunes it to nine amounts of computation without training it again.

    A language model is pruned as it is, unless ``epochs`` is set.
    All nine share the Fisher information, the sorted sums of the search and the products of the rearrangement. Sums
    over the drawn examples run over the distinct examples, in order of length, each weighted by how often it was drawn.
    A block without heads or units is skipped with its bias and LayerNorm, as everywhere in this suite.
    """

    name = "rfp"
    summary = "retraining-free pruning: fine-tune, choose masks by Fisher information, tune them by least squares"
    spaces = ("large",)
    Options = TrainingOptions

    def run(self, problem: Problem) -> None:
        assert isinstance(problem.space, Large)
        network = ready_network(problem, self.options)
        problem.evaluate(network, problem.space.largest)
        costs = MacCosts.of(problem.dims, float(problem.train.lengths.mean()))
        with problem.phase("search"):
            sample = Sample.draw(problem.train, problem.task, problem.rng)
            heads, units = sample.gradients(network, problem.task.kind, problem.pad_id, problem.check_budget)
            full = SubNetwork.full(problem.dims)
            search = MaskSearch((heads**2).sum(axis=0), (units**2).sum(axis=0), costs, full)
            students = rearranged([search.best(alpha) for alpha in ALPHAS], heads, units, full, problem.check_budget)
            examples = sample.tuning_batches(network, problem.pad_id)
        for alpha, student in zip(ALPHAS, students, strict=True):
            with problem.phase("search"):
                teacher = search.best(alpha**0.5)
                scales = tune_masks(network, student, teacher, examples, problem.check_budget)
                name = f"alpha-{alpha}"
                tuned = network.scaled(*scales, name).extract(student, name)
            problem.evaluate(tuned, problem.space.from_subnetwork(student))
