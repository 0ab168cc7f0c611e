"""Magnitude pruning of heads and units: remove those with the smallest weights, then tune what is left.

Li et al., "Pruning filters for efficient ConvNets" (ICLR 2017, arXiv:1608.08710) remove the filters with the smallest
norms of each layer, the same share in every layer, and train again. A head owns its rows of query, key and value and
its columns of the output projection; a unit owns its rows and its column of the feed-forward block. Their score here is
the l2 norm of these weights, without biases. It needs no data, so this is what importance measured on data has to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from nasbench.arrays import FloatArray
from nasbench.baselines.masks.calibration import check_calibration, ready_network
from nasbench.baselines.masks.shares import without_smallest
from nasbench.masks.sample import Sample
from nasbench.masks.tuning import tune_masks
from nasbench.networks.blocks import Projection
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions

RATIOS = (0.5, 0.8, 0.2, 0.9, 0.3, 0.7, 0.1, 0.6, 0.4)
"""Shares of the heads and units of each layer that are removed; one evaluation for each. The order covers the front
early, because the budget may end before the last one."""


@dataclass(frozen=True)
class MagnitudeOptions(TrainingOptions):
    """Options of fine-tuning, and what follows the pruning.

    Attributes:
        then: ``masks``: masks are tuned by least squares, without labels, as in ``rfp``. ``training``: each network is
            fine-tuned once more, for as many epochs as the first one. ``nothing``: it is evaluated as it is.
        n_calibration: number of train examples on which masks are tuned, drawn with replacement. By default as in
            ``rfp``: 2,048, and 128 for a language model.

    Raises:
        ValueError: if a value is out of range, or for a training of no epochs.
    """

    then: Literal["masks", "training", "nothing"] = "masks"
    n_calibration: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.then == "training" and self.epochs == 0:
            raise ValueError("epochs = 0 trains no pruned network either; set then to masks or nothing")
        if self.n_calibration is not None:
            check_calibration(self.n_calibration)
            if self.then != "masks":
                raise ValueError(f"n_calibration would do nothing with then={self.then}; leave it out")


class MagnitudePruning(Method):
    """Fine-tunes the network, then removes the same share of the heads and units of every layer by their norms."""

    name = "magnitude"
    summary = "remove the heads and units with the smallest weights of each layer, then tune masks or train again"
    spaces = ("large",)
    Options = MagnitudeOptions

    def run(self, problem: Problem) -> None:
        assert isinstance(problem.space, Large)
        network = ready_network(problem, self.options, trains_later=self.options.then == "training")
        problem.evaluate(network, problem.space.largest)
        heads, units = norms(network)
        full = SubNetwork.full(problem.dims)

        def pruned(ratio: float) -> SubNetwork:
            masks = ((heads, full.heads), (units, full.units))
            return SubNetwork(*(without_smallest(values, present, ratio) for values, present in masks))

        examples = []
        if self.options.then == "masks":
            n = self.options.n_calibration
            with problem.phase("search"):
                if n is None:
                    sample = Sample.draw(problem.train, problem.task, problem.rng)
                else:
                    sample = Sample.of(problem.train, problem.rng.integers(len(problem.train), size=(1, n)))
                examples = sample.tuning_batches(network, problem.pad_id)
        for ratio in RATIOS:
            kept, name = pruned(ratio), f"without-{ratio}"
            if self.options.then == "masks":
                with problem.phase("search"):
                    teacher = pruned(1 - (1 - ratio) ** 0.5)
                    scales = tune_masks(network, kept, teacher, examples, problem.check_budget)
                    small = network.scaled(*scales, name).extract(kept, name)
            else:
                small = network.extract(kept, name)
            if self.options.then == "training":
                problem.training(small, fine_tuning=self.options.of(problem.fine_tuning)).run()
            problem.evaluate(small, problem.space.from_subnetwork(kept))


def norms(network: SuperNetwork) -> tuple[FloatArray, FloatArray]:
    """The l2 norms of heads ``(n_layers, n_heads)`` and units ``(n_layers, n_units)``; 0 where a layer has none."""
    dims = network.dims
    heads, units = np.zeros((dims.n_layers, dims.n_heads)), np.zeros((dims.n_layers, dims.n_units))
    for i in range(dims.n_layers):
        attention, feed_forward = network.adapter.attention(i), network.adapter.feed_forward(i)
        if attention is not None:
            squares = _by_row(attention.key, dims.n_heads) + _by_row(attention.value, dims.n_heads)
            squares += _by_row(attention.query, dims.n_heads) + _by_column(attention.output, dims.n_heads)
            heads[i] = squares.sqrt().cpu().numpy()
        if feed_forward is not None:
            squares = _by_column(feed_forward.output, dims.n_units)
            for projection in feed_forward.inputs:
                squares += _by_row(projection, dims.n_units)
            units[i] = squares.sqrt().cpu().numpy()
    return heads, units


def _by_row(projection: Projection, n: int) -> Tensor:
    """Sums of squares ``(n,)`` of n groups of rows of W."""
    return projection.weight.detach().double().square().sum(1).reshape(n, -1).sum(1)


def _by_column(projection: Projection, n: int) -> Tensor:
    """Sums of squares ``(n,)`` of n groups of columns of W."""
    return projection.weight.detach().double().square().sum(0).reshape(n, -1).sum(1)
