"""The tables and keys of a task's TOML file, checked by pydantic; see :mod:`nasbench.plugins.user_task`."""

from __future__ import annotations

import re
import reprlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, MinLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from nasbench.data.labels import label_name
from nasbench.declarations.task import MetricName
from nasbench.errors import UnknownName, UserError

_HUB_KEYS = ("configuration", "revision", "train_split", "validation_split", "test_split")
_FILE_KEYS = ("validation", "test", "separator", "quoting", "escape", "encoding")


def _as_labels(value: Any) -> Any:
    """Labels as class names: numbers and truth values as the data spell them."""
    values = (value,) if isinstance(value, str) else value
    if not (isinstance(values, (tuple, list)) and all(isinstance(one, (str, int, float)) for one in values)):
        raise ValueError("must be a list of texts or numbers")
    return tuple(one if isinstance(one, str) else label_name(one) for one in values)


def _as_kind(value: Any) -> Any:
    if value in ("language_modelling", "zero_shot_choice"):
        raise ValueError(
            "must be 'classification', 'regression' or 'multiple_choice' (tasks of language models are declared in "
            "Python: docs/objectives.md)"
        )
    return value


def _as_column(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        raise ValueError("must name one column, because a task with several labels a row is not supported")
    return value


def _as_separator(value: Any) -> Any:
    value = {"tab": "\t", "\\t": "\t"}.get(value, value) if isinstance(value, str) else value
    if not (isinstance(value, str) and len(value) == 1 and value.isascii() and value not in '"\r\n'):
        raise ValueError("must be one character, such as ';' or '|', or 'tab'")
    return value


def _as_escape(value: Any) -> Any:
    if not (isinstance(value, str) and len(value) == 1 and value.isascii() and value not in '"\r\n'):
        raise ValueError("must be one character other than the quote; a backslash is written '\\' in single quotes")
    return value


def _as_encoding(value: Any) -> Any:
    try:
        "a".encode(value)
    except (LookupError, TypeError, ValueError):
        raise ValueError("must be an encoding that Python knows, such as 'cp1252', 'latin-1' or 'utf-16'") from None
    return value


def _as_names(value: Any) -> Any:
    names = (value,) if isinstance(value, str) else value
    if not (isinstance(names, (tuple, list)) and all(isinstance(name, str) for name in names)):
        raise ValueError("must be a text or a list of texts")
    return tuple(names)


Text = Annotated[str, MinLen(1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
"""A text or a list of texts."""
Labels = Annotated[tuple[str, ...], BeforeValidator(_as_labels)]
"""Names of classes; numbers become texts."""


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
    """Either files (``train``, ``validation``, ``test``) or a data set on the hub, and the columns."""

    text: Names
    label: Annotated[Text, BeforeValidator(_as_column)]
    labels: Labels = ()
    train: Text | None = None
    validation: Text | None = None
    test: Text | None = None
    validation_limit: Annotated[int, Gt(0)] | None = None
    drop_empty: bool = False
    stratify: bool = False
    group: Annotated[Text, BeforeValidator(_as_column)] | None = None
    separator: Annotated[str, BeforeValidator(_as_separator)] | None = None
    quoting: bool | None = None
    escape: Annotated[str, BeforeValidator(_as_escape)] | None = None
    encoding: Annotated[str, BeforeValidator(_as_encoding)] | None = None
    hub: Text | None = None
    configuration: Text | None = None
    revision: Text | None = None
    train_split: Text = "train"
    validation_split: Text | None = None
    test_split: Text = "validation"

    @model_validator(mode="after")
    def _check(self) -> DataTable:
        columns = (*self.text, self.label, *(() if self.group is None else (self.group,)))
        if len(set(columns)) < len(columns):
            raise ValueError(f"text, label and group must name different columns, not {', '.join(columns)}")
        if self.stratify and self.group is not None:
            raise ValueError("name either stratify or group: whole groups cannot have the same share of every class")
        if (self.train is None) == (self.hub is None):
            raise ValueError("name either train (a file) or hub (a data set)")
        misplaced = [key for key in (_HUB_KEYS if self.train else _FILE_KEYS) if key in self.model_fields_set]
        if misplaced and self.train:
            raise ValueError(f"{misplaced[0]} belongs to a data set on the hub, not to files")
        if misplaced and misplaced[0] in ("validation", "test"):
            name = misplaced[0]
            raise ValueError(f"{name} is a file, but the data set is on the hub; name its split in {name}_split")
        if misplaced:
            raise ValueError(f"{misplaced[0]} belongs to files, not to a data set on the hub")
        if self.hub and self.validation_split == self.test_split:
            raise ValueError(f"validation_split and test_split must differ, not both be {self.test_split!r}")
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
    kind: Annotated[Literal["classification", "regression", "multiple_choice"] | None, BeforeValidator(_as_kind)] = None
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
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text)
    except FileNotFoundError:
        raise UserError(f"no task file {path}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: cannot be read as TOML ({error}){_windows_remedy(str(error), text)}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as TOML ({error})") from error
    except RecursionError:
        raise UserError(f"{path}: cannot be read as TOML (nested too deep)") from None
    try:
        return TaskFile.model_validate(values)
    except ValidationError as error:
        raise _mistake(error, path) from None


def resolved(name: str, path: Path, place: str) -> str:
    """A path in the task file, relative to the file; ``~`` is the home folder.

    Args:
        place: table and key, for the message.

    Raises:
        UserError: the path holds a control character, or the home folder of a user is not known.
    """
    if any(ord(character) < 32 for character in name):
        raise UserError(f"{place} = {name!r} holds a control character; {_SINGLE_QUOTES}")
    try:
        return str(path.parent / Path(name).expanduser())
    except RuntimeError as error:
        raise UserError(f"{place} = {name!r}: {error}") from error


_SINGLE_QUOTES = r"write a Windows path in single quotes, such as 'C:\data\train.csv'"


def _windows_remedy(message: str, text: str) -> str:
    """What to do about a backslash in double quotes, which begins an escape in TOML."""
    found = re.search(r"at line (\d+)", message)
    lines = text.split("\n")
    line = lines[int(found[1]) - 1] if found and int(found[1]) <= len(lines) else ""
    return f"; {_SINGLE_QUOTES}" if re.search(r'"[^"]*\\', line) else ""


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
