"""Rows in JSON: an array of objects, or one object per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from nasbench.errors import first_line


def read_json(text: str, columns: Sequence[str], others: Sequence[str]) -> pa.Table:
    """Rows as an array of objects, or as one object per line. Columns that are not needed may hold anything.

    Args:
        others: columns that have their values although they are not needed. Where these do not fit a type, each is
            written as JSON.

    Raises:
        ValueError: for text that is no JSON or holds no rows, or a needed column whose values do not fit a type.
    """
    text = text.strip()
    first = text.partition("\n")[0].strip()
    if first.startswith("{") and first.endswith("}"):
        rows = [_parsed(line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    else:
        rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it must be a list of objects, one per row, with named columns")
    if not rows:
        raise ValueError("it has no rows")
    arrays = {name: pa.nulls(len(rows)) for row in rows for name in row}
    for name in arrays:
        is_needed = name in columns or name.strip() in columns
        if not is_needed and name not in others and name.strip() not in others:
            continue
        values = [row.get(name) for row in rows]
        if is_needed and any(isinstance(value, (list, dict)) for value in values):
            many = "; a task with several labels a row is not supported" if name.strip() == columns[-1] else ""
            raise ValueError(f"each row needs one value of {name!r}, not a list or object{many}")
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowException, OverflowError) as error:
            if is_needed:
                raise ValueError(f"column {name!r}: {first_line(error)}") from error
            arrays[name] = pa.array([one if isinstance(one, str | None) else json.dumps(one) for one in values])
    return pa.table(arrays)


def _parsed(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from error
