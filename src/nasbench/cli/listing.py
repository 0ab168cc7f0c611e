"""What there is: tasks, models, methods and searchers, as data for programs and as tables for people."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasbench.declarations.model import Model
from nasbench.declarations.task import Task
from nasbench.plugins import registry
from nasbench.plugins.options import choices
from nasbench.plugins.registry import Catalogue, PluginError

Entry = dict[str, Any]
OPTIONS_WIDTH = 48
"""Columns that options get, at most, before they take the next line."""
PIPE_WIDTH = 200
"""Columns of a table that goes to a file or another program, where no terminal limits it."""


def tasks() -> list[Entry]:
    """One entry a task: its declaration, and budgets as ``track/device class: seconds``."""
    return _entries(registry.tasks(), _task_entry)


def models() -> list[Entry]:
    """One entry a model: its declaration."""
    return _entries(registry.models(), _model_entry)


def methods(plugins: tuple[Path, ...] = ()) -> list[Entry]:
    """One entry a method. A plugin that cannot be used is listed with ``broken``: why."""
    return _entries(registry.methods(plugins), _method_entry)


def searchers(plugins: tuple[Path, ...] = ()) -> list[Entry]:
    """One entry a searcher. A plugin that cannot be used is listed with ``broken``: why."""
    return _entries(registry.searchers(plugins), _class_entry)


def to_json(entries: Sequence[Entry]) -> str:
    """For programs. Keys stay, new ones may come."""
    return json.dumps(entries, indent=1, sort_keys=True, default=str)


def print_table(entries: Sequence[Entry], columns: Mapping[str, str]) -> None:
    """A table on stdout.

    Args:
        columns: key of an entry to the column's heading; the last column takes what is left of the line.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    is_terminal = sys.stdout.isatty()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    last = list(columns)[-1]
    for key, heading in columns.items():
        may_wrap = key in (last, "options")
        width = OPTIONS_WIDTH if key == "options" else None
        table.add_column(heading, overflow="fold", no_wrap=not may_wrap, max_width=width)
    for entry in entries:
        if "broken" in entry:
            cells = {"name": entry["name"], last: f"cannot be used: {entry['broken']}"}
        else:
            cells = {key: _cell(entry.get(key), "\n" if is_terminal else "  ") for key in columns}
            if "options" in cells:
                cells["options"] = _options_cell(entry, "\n" if is_terminal else "  ")
        table.add_row(*(Text(cells.get(key, "")) for key in columns), style="red" if "broken" in entry else None)
    Console(width=None if is_terminal else PIPE_WIDTH).print(table)


def _entries(catalogue: Catalogue[Any], describe: Any) -> list[Entry]:
    found = []
    for name in catalogue:
        try:
            entry = describe(catalogue[name])
        except PluginError as error:
            entry = {"broken": str(error)}
        found.append({"name": name, **entry, "source": catalogue.place(name)})
    return found


def _task_entry(task: Task) -> Entry:
    entry = dataclasses.asdict(task)
    entry["budgets"] = {"/".join(cell): seconds for cell, seconds in sorted(task.budgets.items())}
    return entry


def _model_entry(model: Model) -> Entry:
    return dataclasses.asdict(model)


def _method_entry(method: Any) -> Entry:
    return {
        **_class_entry(method),
        "spaces": list(method.spaces),
        "default_searcher": method.default_searcher,
        "multi_fidelity": method.multi_fidelity,
    }


def _class_entry(cls: Any) -> Entry:
    options = cls.Options()
    defaults = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {"summary": cls.summary, "options": defaults, "choices": choices(cls.Options)}


def _options_cell(entry: Entry, separator: str) -> str:
    """The defaults, each with what else it can be; "-" where something else decides."""
    shown = []
    for name, default in entry["options"].items():
        others = [choice for choice in entry["choices"].get(name, ()) if choice != default]
        shown.append(f"{name}={_cell(default)}" + (f" ({', '.join(others)})" if others else ""))
    return separator.join(shown) or "-"


def _cell(value: Any, separator: str = "  ") -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return separator.join(f"{key}={_cell(item)}" for key, item in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return separator.join(map(_cell, value)) or "-"
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return str(value)
