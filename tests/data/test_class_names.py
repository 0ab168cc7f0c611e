"""Names of classes that ``datasets`` keeps beside the numbers of a ``ClassLabel``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from support.user_tasks import changed, load, make_folder

from nasbench.data.sources import read_rows
from nasbench.errors import UserError

TEXTS = ["ba be", "bi", "da de", "di", "ko", "ka"] * 3
# Alphabetically, and in the tiny model, "bad" comes first.
NUMBERS, NAMES = [0, 1, 0, 1, 0, 0] * 3, ["good", "bad"]


@pytest.fixture(params=["rows.parquet", "saved", "rows.arrow"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make_folder(tmp_path)
    _write(tmp_path, request.param, NUMBERS)
    return tmp_path


def _write(folder: Path, name: str, numbers: list[int]) -> None:
    import datasets
    import pyarrow as pa

    features = datasets.Features({"review": datasets.Value("string"), "sentiment": datasets.ClassLabel(names=NAMES)})
    data = datasets.Dataset.from_dict({"review": TEXTS, "sentiment": numbers}, features=features)
    if name == "saved":
        data.save_to_disk(folder / name, num_shards=2)
    elif name.endswith(".parquet"):
        data.to_parquet(folder / name)
    else:
        table = data.with_format("arrow")[:]
        with pa.ipc.new_file(folder / name, table.schema) as writer:
            writer.write_table(table)


def _train(folder: Path) -> str:
    return next(name for name in ("rows.parquet", "saved", "rows.arrow") if (folder / name).exists())


def _named(folder: Path, **data: Any) -> dict[str, str]:
    """The class of each text, by name."""
    task, _ = load(folder, changed(data={"train": _train(folder), **data}))
    names, found = task.data.label_names, dict[str, str]()
    for rows in read_rows(task, None):
        found.update({text: names[label] for text, label in zip(rows.texts[0], rows.labels, strict=True)})
    return found


DUE = {text: NAMES[number] for text, number in zip(TEXTS, NUMBERS, strict=True)}


def test_numbers_become_the_names_that_the_file_keeps(folder: Path) -> None:
    assert _named(folder) == DUE


def test_trained_outputs_follow_the_names_and_not_the_numbers(folder: Path) -> None:
    path = folder / "my model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "id2label": {"0": "BAD", "1": "GOOD"}}))
    task, _ = load(folder, changed(data={"train": _train(folder)}))
    assert task.data.label_names == ("bad", "good")
    assert _named(folder) == DUE


def test_listed_labels_choose_between_names_and_numbers(folder: Path) -> None:
    assert _named(folder, labels=["good", "bad"]) == DUE
    assert _named(folder, labels=[0, 1]) == {text: str(NAMES.index(name)) for text, name in DUE.items()}


def test_minus_one_is_no_label(tmp_path: Path) -> None:
    make_folder(tmp_path)
    _write(tmp_path, "rows.parquet", [-1, *NUMBERS[1:]])
    with pytest.raises(
        UserError, match=r"rows.parquet, column 'sentiment': row 0 has no label; remove it, or set drop"
    ):
        load(tmp_path, changed(data={"train": "rows.parquet"}))
    task, _ = load(tmp_path, changed(data={"train": "rows.parquet", "drop_empty": True}))
    assert sum(map(len, read_rows(task, None))) == len(TEXTS) - 1


def test_numbers_stay_for_a_declared_task(folder: Path) -> None:
    """Tasks of the suite state the meaning of their integers, whatever a file says."""
    task, _ = load(folder, changed(data={"train": _train(folder), "labels": ["good", "bad"]}))
    declared = dataclasses.replace(task, data=dataclasses.replace(task.data, label_names=()))
    train, test = read_rows(declared, None)
    texts, labels = train.texts[0] + test.texts[0], [*train.labels, *test.labels]
    assert {text: NAMES[label] for text, label in zip(texts, labels, strict=True)} == DUE
