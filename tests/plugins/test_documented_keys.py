"""The documentation of a user's task names every key of its file, once and with a value that the file accepts."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import nasbench.plugins.user_task
from nasbench.declarations.model import TrainingConfiguration
from nasbench.declarations.task import LANGUAGE_METRICS, MetricName
from nasbench.plugins.task_file import DataTable, ModelTable, TaskFile, TrainingTable, read_task_file

SECTION = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text().split("### Every key of the file\n")[1]
SECTION = SECTION.split("\n## ")[0]
ROW = re.compile(r"^\| `((\w+) = .*?)` \| (.*) \|$", re.MULTILINE)


def _rows(title: str) -> list[tuple[str, str, str]]:
    """The rows of the table below a title: example, key and meaning."""
    return ROW.findall(SECTION.split(f"Keys {title}")[1].split("\nKeys ")[0])


TABLES: dict[str, tuple[type[BaseModel], set[str]]] = {
    "of `[data]`": (DataTable, set()),
    "of `[model]`": (ModelTable, set()),
    "of `fine_tuning`": (TrainingTable, set()),
    "above all tables": (TaskFile, {"data", "model"}),
}


@pytest.mark.parametrize("title", TABLES)
def test_every_key_has_one_line(title: str) -> None:
    table, tables = TABLES[title]
    keys = [key for _, key, _ in _rows(title)]
    assert len(keys) == len(set(keys))
    assert set(keys) | tables == set(table.model_fields)
    assert all(len(meaning) > 5 for _, _, meaning in _rows(title))


@pytest.mark.parametrize("title", TABLES)
def test_docstring_lists_every_key_too(title: str) -> None:
    text = str(nasbench.plugins.user_task.__doc__)
    for key in TABLES[title][0].model_fields:
        assert re.search(rf"\b{key}\b", text), key


def _examples(title: str, *without: str) -> list[str]:
    return [example for example, key, _ in _rows(title) if key not in without]


@pytest.mark.parametrize("source", ["files", "hub"])
def test_every_example_is_accepted(source: str, tmp_path: Path) -> None:
    """All keys together, in one file for data in files and one for data on the hub. `stratify` excludes `group`."""
    of_hub = {"hub", "configuration", "revision", "train_split", "validation_split", "test_split"}
    of_files = {"train", "validation", "test", "separator", "quoting", "escape", "encoding"}
    others = of_hub | {"group"} if source == "files" else of_files | {"stratify"}
    path = tmp_path / "task.toml"
    lines = [
        *_examples("above all tables"),
        "[data]",
        *_examples("of `[data]`", *others),
        "[model]",
        *_examples("of `[model]`", *(("hub", "revision") if source == "files" else ("folder",))),
    ]
    path.write_text("\n".join(lines) + "\n")
    assert set(read_task_file(path).data.model_fields_set) == set(DataTable.model_fields) - others


def test_examples_of_a_training_are_in_range() -> None:
    values: dict[str, Any] = tomllib.loads("\n".join(_examples("of `fine_tuning`")))
    assert TrainingConfiguration(**values)


def test_metrics_are_complete() -> None:
    """Those that a user may name; the metrics of language models are not among them."""
    named = set(re.findall(r'"(\w+)"', " ".join(m for _, key, m in _rows("above all tables") if "metric" in key)))
    assert named | {"accuracy"} == set(get_args(MetricName)) - set(LANGUAGE_METRICS)


def test_documented_defaults_are_those_of_a_training() -> None:
    stated = {key: float(re.search(r"default: (\S+)$", meaning)[1]) for _, key, meaning in _rows("of `fine_tuning`")}  # type: ignore[index]
    assert stated == dataclasses.asdict(TrainingConfiguration())
