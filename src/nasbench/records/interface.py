"""What a network takes and gives, as records say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nasbench.records import schema


@dataclass(frozen=True)
class Interface:
    """What a network takes and gives: all that predicting with it needs to know about the task.

    Attributes:
        kind: kind of the task, see :data:`nasbench.declarations.task.Kind`.
        text_columns: the columns of the texts, in order.
        label_names: names of the classes in the order of the outputs; empty for a regression and for text.
        max_length: number of tokens at which texts were cut. Passages of running text have fewer bytes than this.
    """

    kind: schema.Name
    text_columns: schema.Texts
    label_names: schema.Texts
    max_length: schema.PositiveCount
    __pydantic_config__: ClassVar = schema.STRICT

    @property
    def is_language_model(self) -> bool:
        """Whether the network predicts the next token, and no class."""
        return self.kind in ("language_modelling", "zero_shot_choice")
