"""Which sub-networks a training step runs, and the loss of each (sections 3.2.1 and 4.1.3 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from nasbench.networks.space import Config, SearchSpace
from nasbench.networks.subnetwork import SubNetwork

StrategyName = Literal["standard", "random", "random-linear", "sandwich", "kd", "full"]
STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass of a step.

    Attributes:
        subnetwork: None for everything the network holds.
        distilled: whether the loss includes the distillation term of equation (2) beside the label loss.
    """

    subnetwork: SubNetwork | None
    distilled: bool = False


@dataclass(frozen=True)
class Step:
    """All passes of one optimizer step; their gradients are summed.

    Attributes:
        frozen_teacher: whether the full network runs first, without gradient, as the teacher. Otherwise the first pass,
            which is that of the full network, is the teacher (in-place distillation).
    """

    passes: tuple[Pass, ...]
    frozen_teacher: bool = False


FINE_TUNING_STEP = Step((Pass(None),))
"""Ordinary fine-tuning: one pass of the whole network on the labels."""


@dataclass(frozen=True)
class TrainingStrategy:
    """Which sub-networks each step trains, and how they are distilled. Defaults are those of the paper.

    Attributes:
        strategy: ``standard``: the full network. ``random``: one random sub-network. ``random-linear``: a random
            sub-network with a probability that rises linearly from 0 to 1, otherwise the full network. ``sandwich``:
            the full, random and smallest networks. ``kd``: random sub-networks, distilled from the full network.
            ``full``: sandwich with in-place distillation.
        n_random: k, random sub-networks per step in ``sandwich``, ``kd`` and ``full``.
        temperature: T of equation (2). At the paper's T = 10, without the factor T^2, the distillation term has 1
            to 3 % of the gradient of the label loss. ``temperature=1`` and ``t_squared=true`` weigh it like the label
            loss.
        t_squared: multiply the distillation term by T^2, as BigNAS-style codes do and the paper does not.
        training_space: space of the random and smallest sub-networks; None for the space that is searched. Setting it
            allows several spaces to be searched on the same super-network (figure 5).

    Raises:
        ValueError: if a value is out of range.
    """

    strategy: StrategyName = "full"
    n_random: int = 2
    temperature: float = 10.0
    t_squared: bool = False
    training_space: Literal["small", "medium", "layer", "large"] | None = None

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}, not {self.strategy!r}")
        if self.n_random < 1:
            raise ValueError(f"n_random must be at least 1, not {self.n_random}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")

    def step(self, step: int, n_steps: int, space: SearchSpace, rng: np.random.Generator) -> Step:
        """The passes of optimizer step number ``step`` of ``n_steps``, counted from 0."""

        def random(n: int, distilled: bool = False) -> tuple[Pass, ...]:
            return tuple(Pass(space.to_subnetwork(self.sample(space, rng)), distilled) for _ in range(n))

        full = Pass(space.to_subnetwork(space.largest))
        if self.strategy == "standard":
            return Step((full,))
        if self.strategy == "random":
            return Step(random(1))
        if self.strategy == "random-linear":
            probability = step / (n_steps - 1) if n_steps > 1 else 0.0
            return Step(random(1) if rng.random() < probability else (full,))
        if self.strategy == "kd":
            return Step(random(self.n_random, distilled=True), frozen_teacher=True)
        distilled = self.strategy == "full"
        smallest = Pass(space.to_subnetwork(space.smallest), distilled)
        return Step((full, *random(self.n_random, distilled), smallest))

    def sample(self, space: SearchSpace, rng: np.random.Generator) -> Config:
        """The configuration of a random sub-network: uniform in the space, unless a subclass draws another."""
        return space.sample(rng)
