"""Lists of tasks, models, methods and searchers: as rows for programs and as tables for readers."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from nasbench.declarations.model import ARCHITECTURES
from nasbench.declarations.task import Task
from nasbench.plugins import registry
from nasbench.plugins.method import Method
from nasbench.plugins.options import choices
from nasbench.plugins.registry import Catalogue, PluginError
from nasbench.search.searcher import Searcher

T = TypeVar("T")
Row = dict[str, object]
"""What a list says about one task, model, method or searcher: keys as in the JSON output."""
OPTIONS_WIDTH = 48
"""Largest width of the column of options, characters; longer text continues on the next line."""
PIPE_WIDTH = 200
"""Width of a table that goes to a file or another program, characters."""


def tasks() -> list[Row]:
    """One row per task: its declaration, with budgets as ``track/device class: seconds``."""
    return _rows(registry.tasks(), _task_row)


def models() -> list[Row]:
    """One row per model: its declaration."""
    return _rows(registry.models(), dataclasses.asdict)


def architectures() -> list[Row]:
    """One row per architecture that can be pruned: ``model_type`` in ``config.json``, and the name of the family."""
    return [{"architecture": name, "family": family} for name, family in ARCHITECTURES.items()]


def methods(plugins: tuple[Path, ...] = ()) -> list[Row]:
    """One row per method. The row of a plugin that cannot be used has the reason under ``broken``."""
    return _rows(registry.methods(plugins), _method_row)


def searchers(plugins: tuple[Path, ...] = ()) -> list[Row]:
    """One row per searcher. The row of a plugin that cannot be used has the reason under ``broken``."""
    return _rows(registry.searchers(plugins), _class_row)


def to_json(rows: Sequence[Row]) -> str:
    """The rows as JSON, for programs. Keys are never removed; new keys may come."""
    return json.dumps(rows, indent=1, sort_keys=True, default=str)


def print_table(rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    """Print the rows as a table on stdout.

    Args:
        columns: key in the rows to the heading of the column; the last column takes the rest of the line.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    is_terminal = sys.stdout.isatty()
    separator = "\n" if is_terminal else "  "
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    last = list(columns)[-1]
    for key, heading in columns.items():
        may_wrap = key in (last, "options")
        width = OPTIONS_WIDTH if key == "options" else None
        # A name is never cut: it is what a user types.
        least = max((len(str(row["name"])) for row in rows), default=0) if key == "name" else None
        table.add_column(heading, overflow="fold", no_wrap=not may_wrap, min_width=least, max_width=width)
    for row in rows:
        if "broken" in row:
            cells = {"name": str(row["name"]), last: f"cannot be used: {row['broken']}"}
        else:
            cells = {key: _cell(row.get(key), separator) for key in columns}
            if "options" in cells:
                cells["options"] = _options_cell(row["options"], row["choices"], separator)
            if "budgets" in cells:
                cells["budgets"] = _budgets_cell(row["budgets"], separator)
        table.add_row(*(Text(cells.get(key, "")) for key in columns), style="red" if "broken" in row else None)
    Console(width=None if is_terminal else PIPE_WIDTH).print(table)


def _rows(catalogue: Catalogue[T], describe: Callable[[T], Row]) -> list[Row]:
    found: list[Row] = []
    for name in catalogue:
        try:
            row = describe(catalogue[name])
        except PluginError as error:
            row = {"broken": str(error)}
        found.append({"name": name, **row, "source": catalogue.place(name)})
    return found


def _task_row(task: Task) -> Row:
    budgets = {"/".join(key): seconds for key, seconds in sorted(task.budgets.items())}
    return {**dataclasses.asdict(task), "budgets": budgets}


def _method_row(method: type[Method]) -> Row:
    return {
        **_class_row(method),
        "spaces": list(method.spaces),
        "default_searcher": method.default_searcher,
        "multi_fidelity": method.multi_fidelity,
    }


def _class_row(cls: type[Method] | type[Searcher]) -> Row:
    options = cls.Options()
    defaults = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {"summary": cls.summary, "options": defaults, "choices": choices(cls.Options)}


def _options_cell(options: object, choices_of: object, separator: str) -> str:
    """Each option with its default and, in brackets, its other choices; "-" if there are no options."""
    assert isinstance(options, Mapping)
    assert isinstance(choices_of, Mapping)
    shown = []
    for name, default in options.items():
        others = [choice for choice in choices_of.get(name, ()) if choice != default]
        shown.append(f"{name}={_cell(default)}" + (f" ({', '.join(others)})" if others else ""))
    return separator.join(shown) or "-"


def _budgets_cell(budgets: object, separator: str) -> str:
    """The tracks that have the same budget, for each device class: ``gpu: 300 (compact), 7200 (base, paper)``."""
    assert isinstance(budgets, Mapping)
    found: dict[str, dict[float, list[str]]] = {}
    for key, seconds in sorted(budgets.items(), key=lambda item: item[1]):
        track, _, device_class = str(key).partition("/")
        found.setdefault(device_class, {}).setdefault(seconds, []).append(track)
    return separator.join(
        f"{device_class}: "
        + ", ".join(f"{_cell(seconds)} ({', '.join(sorted(tracks))})" for seconds, tracks in own.items())
        for device_class, own in sorted(found.items())
    )


def _cell(value: object, separator: str = "  ") -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return separator.join(f"{key}={_cell(item)}" for key, item in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return separator.join(map(_cell, value)) or "-"
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return str(value)
