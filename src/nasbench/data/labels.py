"""Labels of a task: names of classes, integers or numbers, checked row by row."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nasbench.declarations.task import Task
from nasbench.errors import UserError, listed

Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]

_NO_LABEL = ("", "nan", "na", "n/a", "null")
"""Texts that mean a missing label, in lower case, as spreadsheets and pandas write them. ``none`` is a class."""
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0*")
_FRACTION = re.compile(r"[+-]?(\d*\.\d+(e[+-]?\d+)?|\d+e-\d+)", re.IGNORECASE)
_LIST = re.compile(r"\[.*\]")
_JOINTS = re.compile(r"[,;|/]")
DROP = "set drop_empty = true in [data]"


def is_missing(value: Any, known: Collection[str]) -> bool:
    """Whether a cell holds no label."""
    if value is None:
        return True
    name = label_name(value)
    return value not in known and name not in known and name.lower() in _NO_LABEL


def first_of(rows: Sequence[int] | npt.NDArray[Any], one: str, several: str) -> str:
    """Rows that lack something, in words: how many, the first of them, and the remedy."""
    if len(rows) == 1:
        return f"row {rows[0]} {one}; remove it"
    return f"{len(rows)} rows {several}, the first is row {rows[0]}; remove them"


def or_drop(task: Task) -> str:
    """The remedy of a user's own task, which a declared task does not have."""
    return f", or {DROP}" if task.data.is_users_own else ""


def read_labels(task: Task, column: pa.ChunkedArray, place: str) -> Labels:
    """The checked labels of a column: int64 classes ``(n_rows,)``, or float32 targets of a regression.

    Raises:
        UserError: one line that names the row.
    """
    where = f"{place}, column {task.data.label_column!r}"
    if names := task.data.label_names:
        found = class_names(column, where, names)
        unknown = next((row for row, name in enumerate(found) if name not in names), None)
        if unknown is not None:
            raise UserError(f"{where}: label {found[unknown]!r} of row {unknown} is none of {listed(names)}")
        index = {name: i for i, name in enumerate(names)}
        return np.array([index[name] for name in found], dtype=np.int64)
    if column.null_count:
        rows = np.flatnonzero(column.is_null().to_numpy())
        raise UserError(f"{where}: {first_of(rows, 'has no label', 'have no label')}{or_drop(task)}")
    if task.kind == "regression":
        column = _numbers(column, where)
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise UserError(f"{where}: a regression needs numbers, not {column.type}")
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and is refused below
            numbers = column.to_numpy().astype(np.float32)
        low, high = task.data.label_range or (-np.inf, np.inf)
        bad = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= low) & (numbers <= high)))
        if len(bad):
            raise UserError(f"{where}: label {numbers[bad[0]]:g} of row {bad[0]} is outside {low:g} to {high:g}")
        return np.asarray(numbers, dtype=np.float32)
    if not pa.types.is_integer(column.type):
        raise UserError(f"{where}: labels must be integers 0 to {task.n_labels - 1}, not {column.type}")
    classes = column.to_numpy().astype(np.int64)
    bad = np.flatnonzero((classes < 0) | (classes >= task.n_labels))
    if len(bad):
        raise UserError(f"{where}: label {classes[bad[0]]} of row {bad[0]} is outside 0 to {task.n_labels - 1}")
    return np.asarray(classes, dtype=np.int64)


def with_class_names(table: pa.Table, name: str, listed: Collection[str]) -> pa.Table:
    """The table with names in place of numbers in the label column, if ``datasets`` has left the names of the classes.

    ``datasets`` keeps the names of a ``ClassLabel`` in the metadata of Arrow and Parquet files, and writes -1 where a
    row has no label.

    Args:
        name: the label column.
        listed: the class names that the user has listed. If they are others, the numbers stay.
    """
    try:
        features = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[name]["names"] if features[name]["_type"] == "ClassLabel" else []
    except (KeyError, TypeError, ValueError):
        return table
    column = table.column(name)
    is_known = isinstance(names, list) and len(names) > 1 and all(isinstance(one, str) for one in names)
    if not (is_known and pa.types.is_integer(column.type) and set(listed) <= set(names)):
        return table
    numbers = column.to_pylist()
    if any(number is not None and not -1 <= number < len(names) for number in numbers):
        return table
    named = [None if number is None or number < 0 else names[number] for number in numbers]
    return table.set_column(table.column_names.index(name), name, pa.array(named, pa.string()))


def class_names(column: pa.ChunkedArray, where: str, known: Collection[str] = ()) -> list[str]:
    """The class name of each row, ``(n_rows,)``, as :func:`label_name` writes it.

    Args:
        where: file and column, for messages.
        known: class names that the user has listed. They are accepted whatever they look like.

    Raises:
        UserError: one line, for a row without a label (null, NaN, an empty text) or for a number with a fraction.
    """
    if pa.types.is_nested(column.type):
        raise UserError(
            f"{where}: must hold one label a row, not {column.type}; a task with several labels a row is not supported"
        )
    values = column.to_pylist()
    missing = [row for row, value in enumerate(values) if is_missing(value, known)]
    if missing:
        value = values[missing[0]]
        empty = first_of(missing, "has no label", "have no label")
        is_written = isinstance(value, str) and value.strip()
        or_list = f" ({value!r}), list it in labels if it is a class," if is_written else ","
        raise UserError(f"{where}: {empty}{or_list} or {DROP}")
    names = []
    for row, value in enumerate(values):
        name = value if value in known else label_name(value)
        if name not in known and _FRACTION.fullmatch(name):
            raise UserError(
                f"{where}: label {name} of row {row} is a number with a fraction; did you mean "
                'kind = "regression"? If it is a class, list all of them in labels'
            )
        names.append(name)
    _refuse_several_labels(names, known, where)
    return names


def _refuse_several_labels(names: list[str], known: Collection[str], where: str) -> None:
    """Raise for a label that joins other labels (``a,b``) or is written as a list: each would become a class."""
    found = {*names, *known}
    for name in sorted(found.difference(known)):
        parts = [part.strip() for part in _JOINTS.split(name)]
        if _LIST.fullmatch(name) or (len(parts) > 1 and found.issuperset(parts)):
            raise UserError(
                f"{where}: label {name!r} of row {names.index(name)} looks like several labels, and a task with "
                "several labels a row is not supported; keep one label a row, or list all classes in labels"
            )


def _numbers(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """The column as numbers if it holds numbers as text."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    numbers = []
    for row, text in enumerate(column.to_pylist()):
        try:
            numbers.append(float(text))
        except ValueError:
            raise UserError(
                f"{where}: label {text!r} of row {row} is not a number; a regression needs numbers with a decimal point"
            ) from None
    return pa.chunked_array([numbers], pa.float64())


def label_name(value: Any) -> str:
    """A value as a class name: without outer white space, truth values as in JSON, whole numbers without ``.0``."""
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return match[1] if (match := _WHOLE_NUMBER.fullmatch(text)) else text
