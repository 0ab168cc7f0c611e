"""Data sets with a single public split, and columns of lists."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from nasbench.data.sources import read_rows
from nasbench.data.splits import load_task_data
from nasbench.errors import UserError
from nasbench.networks.pretrained import load_pretrained
from nasbench.plugins import registry
from nasbench.testing.decoders import TINY_LLAMA

TASK = registry.tasks()["piqa"]


def write(folder: Path, choices: list[list[str]]) -> Path:
    (folder / "piqa").mkdir()
    rows = {
        "query": [f"ba be {i}" for i in range(len(choices))],
        "choices": choices,
        "label": [i % 2 for i in range(len(choices))],
    }
    pyarrow.parquet.write_table(pa.table(rows), folder / "piqa" / "validation.parquet")
    return folder


def test_halves_are_apart_and_the_same_for_every_seed(tmp_path: Path) -> None:
    folder = write(tmp_path, [[f"a{i}", f"b{i}"] for i in range(40)])
    train, test = read_rows(TASK, folder)
    assert (len(train), len(test)) == (20, 20)
    assert set(train.texts[0]).isdisjoint(test.texts[0])
    assert sorted(train.texts[0] + test.texts[0]) == sorted(f"ba be {i}" for i in range(40))
    for query, first, second in zip(*test.texts, strict=True):
        assert (first, second) == (f"a{query.split()[-1]}", f"b{query.split()[-1]}")
    tokenizer = load_pretrained(TINY_LLAMA, TASK, seed=0).tokenizer
    one, other = (load_task_data(TASK, tokenizer, seed, folder) for seed in (0, 1))
    assert one.test.ids.tolist() == other.test.ids.tolist()
    assert one.validation.ids.tolist() != other.validation.ids.tolist()
    assert (len(one.train), len(one.validation)) == (4, 16)


def test_row_with_too_few_choices_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, [["a", "b"], ["only one"], ["c", "d"]])
    with pytest.raises(UserError, match=r"column 'choices\.1': row 1 is empty"):
        read_rows(TASK, folder)
