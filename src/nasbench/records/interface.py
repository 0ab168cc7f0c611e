"""What a network takes and gives, as records say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nasbench.records import schema


@dataclass(frozen=True)
class Interface:
    """What a network takes and gives: all that predicting with it needs to know about the task.

    Attributes:
        kind: ``classification``, ``regression`` or ``multiple_choice``.
        text_columns: the columns of the texts, in order.
        label_names: names of the classes in the order of the outputs; empty for a regression.
        max_length: number of tokens at which texts were cut.
    """

    kind: schema.Name
    text_columns: schema.Texts
    label_names: schema.Texts
    max_length: schema.PositiveCount
    __pydantic_config__: ClassVar = schema.STRICT
