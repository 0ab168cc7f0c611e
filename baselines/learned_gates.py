"""Pruning by learned gates: a network is fine-tuned, then trained with gates over its heads and units that close.

Voita et al., "Analyzing multi-head self-attention" (ACL 2019) put a hard concrete gate (Louizos et al. 2018) on every
head of a trained model and train both on the loss plus an L0 penalty. CoFi (Xia et al., "Structured pruning learns
compact and accurate models", ACL 2022) has gates over heads and units, and multipliers that bring the network to a size
that is asked for. Its gates over whole layers and over the model's width, and its distillation, are left out: the first
follow from closed heads and units, the second is no sub-network, and the last is a baseline of its own here.
"""

from __future__ import annotations

from nasbench.baselines.masks.calibration import pruned_as_it_is
from nasbench.errors import UserError
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import SubNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions
from nasbench.training.gates import Gates

SHARES = (0.5, 0.2, 0.7, 0.1, 0.35, 0.05, 0.85)
"""Shares of the parameters of heads and units that are asked for, each by a training of its own. The order covers the
front early, because the budget may end before the last one."""


class LearnedGates(Method):
    """Fine-tunes the network, then trains a copy with gates for each size, for as many epochs as the fine-tuning.

    A language model gets gates as it is, unless ``epochs`` is set.
    """

    name = "learned-gates"
    summary = "fine-tune, then train with gates over heads and units that close until a size is reached"
    spaces = ("large",)
    Options = TrainingOptions

    def run(self, problem: Problem) -> None:
        assert isinstance(problem.space, Large)
        fine_tuning = self.options.of(problem.fine_tuning)
        if fine_tuning.epochs == 0:
            raise UserError("epochs = 0 trains no gates, so that none would close; set epochs to 1 or more")
        fine_tuned = problem.pretrained("fine-tuned")
        if not pruned_as_it_is(problem, self.options):
            problem.training(fine_tuned, fine_tuning=fine_tuning).run()
        problem.evaluate(fine_tuned, problem.space.largest)
        for share in SHARES:
            network = fine_tuned.copy(f"gates-{share}")
            gates = Gates(network, share)
            problem.training(network, fine_tuning=fine_tuning, gates=gates).run()
            scales = gates.values()
            gates.remove()
            kept = SubNetwork(*(values > 0 for values in scales))
            name = f"keeps-{share}"
            problem.evaluate(network.scaled(*scales, name).extract(kept, name), problem.space.from_subnetwork(kept))
