"""Distillation: students that start with some layers of the fine-tuned network, and learn from it.

DistilBERT (Sanh et al. 2019, arXiv:1910.01108) starts a student with every second layer of its teacher, and adds to
the loss the divergence from the teacher's logits and the cosine of hidden states. Here this happens on the train split
of the task, with the hidden states of several layers, as in patient distillation (Sun et al. 2019, arXiv:1908.09355).
Students differ in depth and width. A narrower student keeps the heads and units of each layer with the largest Fisher
information in the teacher (Kwon et al. 2022, equation 8).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nasbench.arrays import FloatArray, IntArray
from nasbench.baselines.masks.calibration import pruned_as_it_is
from nasbench.baselines.masks.shares import without_smallest
from nasbench.errors import UserError
from nasbench.masks.sample import Sample
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import SubNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions
from nasbench.training.distillation import Distillation

DEPTHS = (1 / 2, 1 / 3, 2 / 3, 1 / 6, 5 / 6)
"""Shares of the layers that students keep, in the order in which they are trained: a short budget sees the middle."""
WIDTHS = (1.0, 0.5)
"""Shares of the heads and units of each kept layer."""


@dataclass(frozen=True)
class DistillationOptions(TrainingOptions):
    """Options of fine-tuning, of the teacher and of each student alike, and of the loss.

    Attributes:
        temperature: T of the divergence from the teacher's logits, which is multiplied by T^2.
        hidden_weight: weight of the hidden states in the loss.

    Raises:
        ValueError: if a value is out of range.
    """

    temperature: float = 2.0
    hidden_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if self.hidden_weight < 0:
            raise ValueError(f"hidden_weight must be 0 or more, not {self.hidden_weight}")


class DistilledStudents(Method):
    """Fine-tunes the network, then trains students of several depths and widths, one after the other.

    A language model teaches as it is, unless ``epochs`` is set. Students need an epoch or more.
    """

    name = "distillation"
    summary = "fine-tune, then distil into students of fewer layers, heads and units"
    spaces = ("large",)
    Options = DistillationOptions

    def run(self, problem: Problem) -> None:
        assert isinstance(problem.space, Large)
        fine_tuning = self.options.of(problem.fine_tuning)
        if fine_tuning.epochs == 0:
            raise UserError("epochs = 0 trains no student, so that none would learn; set epochs to 1 or more")
        teacher = problem.pretrained("teacher")
        if not pruned_as_it_is(problem, self.options):
            problem.training(teacher, fine_tuning=fine_tuning).run()
        problem.evaluate(teacher, problem.space.largest)
        with problem.phase("search"):
            sample = Sample.draw(problem.train, problem.task, problem.rng)
            gradients = sample.gradients(teacher, problem.task.kind, problem.pad_id, problem.check_budget)
            heads, units = (np.square(values).sum(axis=0) for values in gradients)
        for layers, width in students(problem.dims.n_layers):
            student = thinned(SubNetwork.full(problem.dims), layers, width, heads, units)
            network = teacher.extract(student, f"layers-{len(layers)}-width-{width:g}")
            depths = mapped_depths(layers, problem.dims.n_layers)
            distillation = Distillation(teacher, depths, self.options.temperature, self.options.hidden_weight)
            problem.training(network, fine_tuning=fine_tuning, distillation=distillation).run()
            problem.evaluate(network, problem.space.from_subnetwork(student))


def students(n_layers: int) -> Iterator[tuple[IntArray, float]]:
    """The layers and the width of each student, without repetitions."""
    numbers = dict.fromkeys(max(1, round(share * n_layers)) for share in DEPTHS)
    for width in WIDTHS:
        for n in numbers:
            if n < n_layers or width < 1:
                yield kept_layers(n_layers, n), width


def kept_layers(n_layers: int, n: int) -> IntArray:
    """The layers with which a student starts, evenly spaced with both ends: 0, 2, 4, 7, 9, 11 for DistilBERT."""
    return np.round(np.linspace(0, n_layers - 1, n)).astype(np.int64)


def mapped_depths(layers: IntArray, n_layers: int) -> tuple[tuple[int, int], ...]:
    """Pairs of a student's and the teacher's depth: a kept layer stands for itself and the dropped ones after it."""
    ends = [*layers[1:].tolist(), n_layers]
    return tuple((layer + 1, end) for layer, end in zip(layers.tolist(), ends, strict=True))


def thinned(full: SubNetwork, layers: IntArray, width: float, heads: FloatArray, units: FloatArray) -> SubNetwork:
    """The sub-network of some layers, each with a share of its heads and units, at least one: the most important ones.

    Args:
        heads: importance ``(n_layers, n_heads)``.
        units: importance ``(n_layers, n_units)``.
    """
    is_kept = np.isin(np.arange(len(full.heads)), layers)[:, None]
    return SubNetwork(
        without_smallest(heads, full.heads & is_kept, 1 - width),
        without_smallest(units, full.units & is_kept, 1 - width),
    )
