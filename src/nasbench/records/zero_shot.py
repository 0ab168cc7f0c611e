"""The file ``zero_shot.json`` of a run: what ``nasbench zero-shot`` has measured, by task."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from nasbench.records import schema
from nasbench.records.record import read_if_there, write_atomically

FILE = "zero_shot.json"


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network of the run on the test examples of a task.

    Attributes:
        index: its evaluation.
        is_full: whether it is the unpruned network.
        params: fraction of the full network's parameters.
        value: the task's metric.
        low, high: its 95 % interval over examples.
    """

    index: schema.Count
    is_full: bool
    params: schema.Fraction
    value: schema.Number
    low: schema.Number
    high: schema.Number
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class OnTask:
    """What was measured on one task.

    Attributes:
        task: its name.
        metric: its metric; larger is better.
        n_examples: number of test examples.
        chance: the metric of a network that gives every example the same answer.
        data_sha256: hash of the tokenised splits.
        precision: that of the passes, as in the run.
        packages: versions by name.
    """

    task: schema.Name
    metric: schema.Name
    n_examples: schema.PositiveCount
    chance: schema.Number
    data_sha256: schema.Name
    precision: schema.Name
    packages: schema.Values
    networks: list[MeasuredNetwork]
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class ZeroShot:
    """The contents of the file."""

    tasks: list[OnTask] = field(default_factory=list)
    schema_version: schema.Version = schema.SCHEMA_VERSION
    __pydantic_config__: ClassVar = schema.STRICT

    def with_task(self, found: OnTask) -> ZeroShot:
        """With the values on one task in place of earlier ones on the same task."""
        others = [each for each in self.tasks if each.task != found.task]
        return dataclasses.replace(self, tasks=[*others, found])


def read_zero_shot(folder: Path) -> ZeroShot:
    """What is recorded beside a run; nothing without a file.

    Raises:
        RecordError: one line, if the file cannot be read or holds something else.
    """
    data = read_if_there(folder / FILE)
    return ZeroShot() if data is None else schema.parse(ZeroShot, data, str(folder / FILE))


def write_zero_shot(folder: Path, found: ZeroShot) -> None:
    """Write the file.

    Raises:
        NasbenchError: if it cannot be written.
    """
    write_atomically(folder / FILE, schema.json_bytes(dataclasses.asdict(found)))
