"""Which sub-networks a training step runs, and what each of them learns from (section 3.2.1 and 4.1.3 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from nasbench.networks.space import SearchSpace
from nasbench.networks.subnetwork import SubNetwork

StrategyName = Literal["standard", "random", "random-linear", "sandwich", "kd", "full"]
STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass of a step.

    Attributes:
        subnetwork: None for everything the network holds.
        distilled: whether the loss has the distillation term of equation (2) beside the label's.
    """

    subnetwork: SubNetwork | None
    distilled: bool = False


@dataclass(frozen=True)
class Step:
    """All passes of one optimizer step; their gradients are summed.

    Attributes:
        frozen_teacher: whether the full network is run first without gradient, to teach. Otherwise the first pass, that
            of the full network, teaches in place.
    """

    passes: tuple[Pass, ...]
    frozen_teacher: bool = False


FINE_TUNING_STEP = Step((Pass(None),))
"""Ordinary fine-tuning: one pass of everything there is, on the labels."""


@dataclass(frozen=True)
class TrainingStrategy:
    """How a super-network is trained; defaults are the paper's.

    Attributes:
        strategy: ``standard``: the full network. ``random``: one random sub-network. ``random-linear``: a random one
            with a probability that rises linearly from 0 to 1, else the full network. ``sandwich``: full, random,
            smallest. ``kd``: random ones taught by the full network. ``full``: sandwich, distilled in place.
        n_random: k, random sub-networks a step in ``sandwich``, ``kd`` and ``full``.
        temperature: T of equation (2).
        t_squared: multiply the distillation term by T^2, as BigNAS-style codes do and the paper does not.
        training_space: where random and smallest sub-networks come from, if not from the space that is searched; so
            that several spaces can be searched on the same super-network (figure 5).
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
        """The passes of optimizer step ``step`` of ``n_steps``, counted from 0."""

        def random(n: int, distilled: bool = False) -> tuple[Pass, ...]:
            return tuple(Pass(space.to_subnetwork(space.sample(rng)), distilled) for _ in range(n))

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
