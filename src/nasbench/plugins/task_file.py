"""The tables and keys of a task's TOML file, checked by pydantic; see :mod:`nasbench.plugins.user_task`."""

from __future__ import annotations

import re
import reprlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, MinLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from nasbench.declarations.task import MetricName
from nasbench.errors import UnknownName, UserError

_HUB_KEYS = ("configuration", "revision", "train_split", "test_split")


def _as_names(value: Any) -> Any:
    names = (value,) if isinstance(value, str) else value
    if not (isinstance(names, (tuple, list)) and all(isinstance(name, str) for name in names)):
        raise ValueError("must be a text or a list of texts")
    return tuple(names)


Text = Annotated[str, MinLen(1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
"""A text or a list of texts."""


class _Table(BaseModel):
    """A table of the file: no unknown key, no conversion of types, finite numbers only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TrainingTable(_Table):
    """Changes to a :class:`~nasbench.declarations.model.TrainingConfiguration`, which checks the ranges."""

    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    warmup: float | None = None
    weight_decay: float | None = None


class DataTable(_Table):
    """Either files (``train``, ``test``) or a data set on the hub, and the columns."""

    text: Names
    label: Text
    labels: Names = ()
    train: Text | None = None
    test: Text | None = None
    hub: Text | None = None
    configuration: Text | None = None
    revision: Text | None = None
    train_split: Text = "train"
    test_split: Text = "validation"

    @model_validator(mode="after")
    def _check(self) -> DataTable:
        columns = (*self.text, self.label)
        if len(set(columns)) < len(columns):
            raise ValueError(f"text and label must name different columns, not {', '.join(columns)}")
        if (self.train is None) == (self.hub is None):
            raise ValueError("name either train (a file) or hub (a data set)")
        misplaced = [key for key in (_HUB_KEYS if self.train else ("test",)) if key in self.model_fields_set]
        if misplaced and self.train:
            raise ValueError(f"{misplaced[0]} belongs to a data set on the hub, not to files")
        if misplaced:
            raise ValueError("test is a file, but the data set is on the hub; name its split in test_split")
        return self


class ModelTable(_Table):
    """Either a saved model's folder or a repository on the hub, and changes to its training."""

    folder: Text | None = None
    hub: Text | None = None
    revision: Text | None = None
    fine_tuning: TrainingTable = TrainingTable()
    super_network: TrainingTable = TrainingTable()

    @model_validator(mode="after")
    def _check(self) -> ModelTable:
        if (self.folder is None) == (self.hub is None):
            raise ValueError("name either folder (a saved model) or hub (a repository)")
        return self


class TaskFile(_Table):
    """The whole file."""

    data: DataTable
    model: ModelTable
    name: str | None = None
    kind: Literal["classification", "regression", "multiple_choice"] | None = None
    metric: MetricName | None = None
    other_metrics: Annotated[tuple[MetricName, ...], BeforeValidator(_as_names)] = ()
    budget_s: Annotated[float, Gt(0)] = 1_500.0
    max_length: int | None = None


def read_task_file(path: Path) -> TaskFile:
    """The checked contents of a task's TOML file.

    Raises:
        UserError: the file is not TOML, a key is unknown or missing, or a value is wrong. The message is one line that
            names the file, the table and the key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"no task file {path}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as TOML ({error})") from error
    except RecursionError:
        raise UserError(f"{path}: cannot be read as TOML (nested too deep)") from None
    try:
        return TaskFile.model_validate(values)
    except ValidationError as error:
        raise _mistake(error, path) from None


def table_place(path: Path, *tables: str) -> str:
    """The file, and the table in it, for a message."""
    return ", ".join((str(path), *(f"[{table}]" for table in tables)))


def _mistake(error: ValidationError, path: Path) -> UserError:
    """The error for the first mistake. Unknown keys go first, because one may be a missing key, misspelt."""
    first = min(error.errors(include_url=False), key=lambda mistake: mistake["type"] != "extra_forbidden")
    kind, value = first["type"], first["input"]
    table: type[BaseModel] = TaskFile
    tables, rest = [], [str(part) for part in first["loc"]]
    while rest and _is_table(inner := _annotation(table, rest[0])) and (len(rest) > 1 or kind == "value_error"):
        table = inner
        tables.append(rest.pop(0))
    place = table_place(path, *tables)
    if not rest:
        return UserError(f"{place}: {first['ctx']['error']}")
    key = rest[0]
    if kind == "extra_forbidden":
        return UnknownName(f"key in {place}:", key, table.model_fields)
    if kind == "missing":
        return UserError(f"{place}: {key} is missing")
    if kind == "literal_error" and isinstance(value, str):
        return UnknownName(f"value of {key} in {place}:", value, re.findall(r"'(\w+)'", first["ctx"]["expected"]))
    if kind == "value_error":
        return UserError(f"{place}: {key} {first['ctx']['error']}, not {reprlib.repr(value)}")
    if kind == "model_type":
        return UserError(f"{place}: {key} must be a table, not {reprlib.repr(value)}")
    wanted = re.sub(r"^\w+ should", "must", first["msg"])
    return UserError(f"{place}: {key} {wanted}, not {reprlib.repr(value)}")


def _annotation(table: type[BaseModel], key: str) -> Any:
    return table.model_fields[key].annotation if key in table.model_fields else None


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
