"""TOML files of users' own tasks, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nasbench.data.splits import load_task_data
from nasbench.declarations.model import Model
from nasbench.declarations.task import Task
from nasbench.networks.pretrained import load_pretrained
from nasbench.plugins.user_task import load_user_task
from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.tasks import TINY_SINGLE

ROWS = [("ba be", "good"), ("bi", "bad"), ("da de", "good"), ("di", "bad"), ("ko", "good")] * 4

BASE = {
    "data": {"train": "rows.csv", "text": "review", "label": "sentiment"},
    "model": {"folder": "my model"},
}


def make_folder(folder: Path) -> None:
    """Write the data and the model that ``BASE`` names."""
    save_tiny(TINY_BERT, TINY_SINGLE, folder / "my model")
    write_rows(folder)


def write_rows(folder: Path) -> None:
    """Write the data that ``BASE`` names."""
    (folder / "rows.csv").write_text("review,sentiment\n" + "".join(f"{text},{label}\n" for text, label in ROWS))


def toml(tables: dict[str, Any]) -> str:
    """Tables as TOML, as far as these tests need it: JSON values are valid TOML values."""
    top = [f"{key} = {json.dumps(value)}" for key, value in tables.items() if not isinstance(value, dict)]
    for name, table in tables.items():
        if isinstance(table, dict):
            top += [f"[{name}]"]
            for key, value in table.items():
                if isinstance(value, dict):
                    value = "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + "}"
                    top += [f"{key} = {value}"]
                else:
                    top += [f"{key} = {json.dumps(value)}"]
    return "\n".join(top) + "\n"


def changed(**changes: Any) -> dict[str, Any]:
    """``BASE`` with keys of tables replaced (``data={...}``). None removes a key."""
    tables: dict[str, Any] = {name: dict(table) for name, table in BASE.items()}
    for key, value in changes.items():
        if isinstance(value, dict):
            merged = {**tables.get(key, {}), **value}
            tables[key] = {k: v for k, v in merged.items() if v is not None}
        else:
            tables[key] = value
    return {key: value for key, value in tables.items() if value is not None}


def write_labels(folder: Path, labels: list[str]) -> None:
    (folder / "rows.csv").write_text("review,sentiment\n" + "".join(f"ba {i},{y}\n" for i, y in enumerate(labels)))


def load_all(folder: Path, tables: Any) -> None:
    """Load declaration, network and data, as a run does."""
    task, model = load(folder, tables)
    loaded = load_pretrained(model, task, 0)
    loaded.check_fits(load_task_data(task, loaded.tokenizer, 0))


def load(folder: Path, tables: dict[str, Any]) -> tuple[Task, Model]:
    path = folder / "own-task.toml"
    path.write_text(toml(tables))
    return load_user_task(path)
