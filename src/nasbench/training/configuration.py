"""Options of methods that train: a user's changes to the training configuration declared with the model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from nasbench.declarations.model import TrainingConfiguration
from nasbench.training.strategies import TrainingStrategy

TRAINING_SHARE = 0.8
"""Largest share of the budget that super-network training may use; the rest is left for the search."""


@dataclass(frozen=True)
class TrainingOptions:
    """Changes to the training configuration declared with the model. None keeps the declared value.

    Attributes:
        epochs: passes over the train split; 0 prunes a trained classifier as it is.
        warmup: fraction of all steps over which the learning rate rises.

    Raises:
        ValueError: if a value is out of range.
    """

    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    warmup: float | None = None

    def of(self, declared: TrainingConfiguration) -> TrainingConfiguration:
        """The declared configuration with these changes."""
        names = [field.name for field in dataclasses.fields(TrainingOptions)]
        changes = {name: value for name in names if (value := getattr(self, name)) is not None}
        return dataclasses.replace(declared, **changes)

    def __post_init__(self) -> None:
        self.of(TrainingConfiguration())  # checks the ranges
        # With multiple inheritance, let the next class check its own options.
        check = getattr(super(), "__post_init__", None)
        if check is not None:
            check()


@dataclass(frozen=True)
class SuperNetworkOptions(TrainingOptions, TrainingStrategy):
    """Options of super-network training: the strategy, and changes to the declared training configuration."""
