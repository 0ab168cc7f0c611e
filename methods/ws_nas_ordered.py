"""WS-NAS of sub-networks nested by importance: a network fine-tuned on the task says what its sub-networks keep.

It joins two methods. Retraining-free pruning (Kwon et al. 2022) knows which heads and units matter, and does not train
what it keeps. WS-NAS trains its sub-networks, but keeps "the first h" heads, whichever they are. Here the first h are
the most important ones, as in DynaBERT (Hou et al. 2020, section 2.1), by the Fisher information of retraining-free
pruning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.errors import UserError
from nasbench.masks.ordered import Ordered, OrderedByLayer
from nasbench.masks.sample import Sample
from nasbench.masks.search import MacCosts, MaskSearch
from nasbench.networks.space import Config, Large, SearchSpace
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.records.record import Evaluation
from nasbench.runs.problem import Problem
from nasbench.search.loop import Inside, SearchLoop, values_of
from nasbench.search.pareto import pareto_mask
from nasbench.training.configuration import TRAINING_SHARE, SuperNetworkOptions
from nasbench.training.strategies import Step, TrainingStrategy

PATH = np.geomspace(0.005, 0.98, 50)
"""Fractions of the full network's operations at which the mask search predicts the front."""


@dataclass(frozen=True)
class OrderedOptions(SuperNetworkOptions):
    """Options of super-network training, and the parts of the method. ``epochs`` includes the fine-tuning.

    Attributes:
        fine_tuning_epochs: epochs of the network that is measured; None for those declared with the model, at most half
            of all, rounded up, and for none with a language model, which is measured as it is. The super-network starts
            from it and gets the other epochs.
        widths: ``uneven``: the h most important heads and u most important units of all layers together. ``uniform``:
            those of each of the first l layers, as in SMALL.
        sampling: where training draws sub-networks. ``uniform``: in the whole space. ``predicted``: half of them near
            the sub-networks that the mask search finds best (``uneven`` only). ``pareto``: after half of the
            super-network's epochs, half of them near the front of ``n_front`` evaluations.
        n_front: evaluations after half of the super-network's epochs, with ``pareto``.

    Raises:
        ValueError: if a value is out of range.
    """

    fine_tuning_epochs: int | None = None
    widths: Literal["uneven", "uniform"] = "uneven"
    sampling: Literal["uniform", "predicted", "pareto"] = "predicted"
    n_front: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sampling == "predicted" and self.widths == "uniform":
            raise ValueError("the mask search predicts uneven widths; set sampling to uniform or pareto")
        if self.fine_tuning_epochs is not None and self.fine_tuning_epochs < 0:
            raise ValueError(f"fine_tuning_epochs must be 0 or more, not {self.fine_tuning_epochs}")
        if self.training_space is not None:
            raise ValueError("training_space names no space of nested sub-networks; leave it out")
        if self.n_front < 4:
            raise ValueError(f"n_front must be at least 4, not {self.n_front}")


class OrderedWeightSharingNAS(Method):
    """Fine-tunes, measures importance, trains a super-network of nested sub-networks, and searches it.

    The searcher proposes numbers of heads and units, see :class:`~nasbench.masks.ordered.Ordered`. What is recorded are
    masks of the original network, so the method works in LARGE.
    """

    name = "ws-nas-ordered"
    summary = "weight-sharing NAS of sub-networks nested by the Fisher information of the fine-tuned network"
    spaces = ("large",)
    default_searcher = "ehvi-exact"
    Options = OrderedOptions

    def run(self, problem: Problem) -> None:
        options, declared = self.options, self.options.of(problem.model.super_network)
        full = SubNetwork.full(problem.dims)
        if options.widths == "uneven" and not (full.heads.any() and full.units.any()):
            raise UserError(
                "a network without heads or without units has no sub-networks of uneven widths; set widths=uniform and "
                "sampling=uniform"
            )
        n_first = options.fine_tuning_epochs
        if n_first is None:
            is_ready = problem.task.needs_language_model
            n_first = 0 if is_ready else min(problem.fine_tuning.epochs, (declared.epochs + 1) // 2)
        if 0 < n_first >= declared.epochs:
            raise UserError(
                f"fine-tuning for {n_first} of epochs = {declared.epochs} leaves none for the super-network; set "
                f"epochs to {n_first + 1} or more"
            )
        fine_tuned = problem.pretrained("fine-tuned")
        first = dataclasses.replace(problem.fine_tuning, epochs=n_first)
        problem.training(fine_tuned, fine_tuning=first).run(budget_share=TRAINING_SHARE / 2)
        with problem.phase("search"):
            sample = Sample.draw(problem.train, problem.task, problem.rng)
            gradients = sample.gradients(fine_tuned, problem.task.kind, problem.pad_id, problem.check_budget)
            heads, units = ((g**2).sum(axis=0) for g in gradients)
            costs = MacCosts.of(problem.dims, float(problem.train.lengths.mean()))
            masks = MaskSearch(heads, units, costs, full)
        space: SearchSpace
        if options.widths == "uneven":
            space = nested = Ordered(problem.dims, heads, units)
            predicted = [masks.best(alpha) for alpha in PATH]
            front = [nested.nearest(s.heads.sum(), s.units.sum()) for s in predicted]
        else:
            space, front = OrderedByLayer(problem.dims, heads, units), []
        network = fine_tuned.copy("super-network")
        n_left = declared.epochs - n_first
        if options.sampling == "pareto":
            halves = n_left - n_left // 2, n_left // 2
            network = self._trained(problem, network, space, [], halves[0], 0.75 * TRAINING_SHARE)
            front = _search(problem, space, network, options.n_front)
            network = self._trained(problem, network.renamed("near-front"), space, front, halves[1], TRAINING_SHARE)
        else:
            near = front if options.sampling == "predicted" else []
            network = self._trained(problem, network, space, near, n_left, TRAINING_SHARE)
        _search(problem, space, network)

    def _trained(
        self, problem: Problem, network: SuperNetwork, space: SearchSpace, near: Sequence[Config], epochs: int,
        budget_share: float,
    ) -> SuperNetwork:  # fmt: skip
        """The network after some epochs, in which half of the sub-networks are drawn near the given ones, if any."""
        inherited = {field.name: getattr(self.options, field.name) for field in dataclasses.fields(TrainingStrategy)}
        fine_tuning = dataclasses.replace(self.options.of(problem.model.super_network), epochs=epochs)
        strategy = NestedStrategy(**inherited, nested=space, near=tuple(near))
        problem.training(network, strategy, fine_tuning).run(budget_share=budget_share)
        return network


@dataclass(frozen=True)
class NestedStrategy(TrainingStrategy):
    """A training strategy whose sub-networks are drawn from a space of the method's own.

    Attributes:
        nested: the space.
        near: configurations near which half of the random sub-networks are drawn; without any, all are uniform.
        deviation: standard deviation of the steps from a configuration, as a fraction of each dimension's range.
    """

    nested: SearchSpace | None = None
    near: tuple[Config, ...] = ()
    deviation: float = 0.1

    def step(self, step: int, n_steps: int, space: SearchSpace, rng: np.random.Generator) -> Step:
        """The passes of a step, in the own space."""
        return super().step(step, n_steps, space if self.nested is None else self.nested, rng)

    def sample(self, space: SearchSpace, rng: np.random.Generator) -> Config:
        """The configuration of a random sub-network. Steps out of the space are reflected at its ends."""
        if not self.near or rng.random() < 0.5:
            return space.sample(rng)
        start = self.near[int(rng.integers(len(self.near)))]
        steps = np.rint(self.deviation * space.upper * rng.standard_normal(space.n_dims)).astype(np.int64)
        return np.asarray(np.clip(space.upper - np.abs(space.upper - np.abs(start + steps)), 0, space.upper))


def _search(problem: Problem, space: SearchSpace, network: SuperNetwork, most: int | None = None) -> list[Config]:
    """Search a space of the method's own with the user's searcher.

    Args:
        most: number of evaluations; None searches until the budget is spent.

    Returns:
        The configurations on the front.
    """
    large, chosen = problem.space, problem.searcher
    assert isinstance(large, Large)
    assert chosen is not None
    searcher = type(chosen)(space, problem.rng, chosen.options)
    searcher.costs = chosen.costs

    found: list[tuple[Config, FloatArray]] = []

    def evaluate(config: Config, subnetwork: SubNetwork) -> Evaluation:
        evaluation = problem.evaluate(network, large.from_subnetwork(subnetwork))
        values = values_of(evaluation)
        if values is not None:
            found.append((config, values))
        return evaluation

    with problem.phase("search"):
        SearchLoop(Inside(problem, space), searcher, evaluate).run(most)
    if not found:
        return []
    return [found[i][0] for i in np.flatnonzero(pareto_mask(np.array([values for _, values in found])))]
