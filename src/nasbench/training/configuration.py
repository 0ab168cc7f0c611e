"""Options of methods that train: the model's declared fine-tuning, changed in places."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from nasbench.declarations.model import TrainingConfiguration
from nasbench.training.strategies import TrainingStrategy

TRAINING_SHARE = 0.8
"""Of the budget, at most, for the super-network: what it is worth shows only in the search after it."""


@dataclass(frozen=True)
class TrainingOptions:
    """What differs from the fine-tuning declared with the model; None leaves a value as declared.

    Attributes:
        warmup: fraction of all steps over which the learning rate rises.

    Raises:
        ValueError: for a value that makes no sense.
    """

    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    warmup: float | None = None

    def of(self, declared: TrainingConfiguration) -> TrainingConfiguration:
        """The declared fine-tuning with this one's changes."""
        names = [field.name for field in dataclasses.fields(TrainingOptions)]
        changes = {name: value for name in names if (value := getattr(self, name)) is not None}
        return dataclasses.replace(declared, **changes)

    def __post_init__(self) -> None:
        self.of(TrainingConfiguration())  # which knows what makes sense
        # Options that are combined with these are checked in turn.
        check = getattr(super(), "__post_init__", None)
        if check is not None:
            check()


@dataclass(frozen=True)
class SuperNetworkOptions(TrainingOptions, TrainingStrategy):
    """How a super-network is trained: the strategy, and what differs from the declared fine-tuning."""
