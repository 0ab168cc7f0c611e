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
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA

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


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["piqa", "arc_easy", "boolq", "openbookqa", "winogrande", "lambada", "imdb-lm"])
def test_real_data_have_the_declared_rows(name: str, real_data_dir: Path) -> None:
    task = registry.tasks()[name]
    assert tuple(map(len, read_rows(task, real_data_dir))) == task.data.n_rows


def test_choices_of_winogrande_come_first(tmp_path: Path) -> None:
    (tmp_path / "winogrande").mkdir()
    rows = {
        "context_options": [[f"ba{' bo' * i} be", f"ba{' bo' * i} bi"] for i in range(20)],
        "continuation": [f"di{' do' * i}" for i in range(20)],
        "label": [i % 2 for i in range(20)],
    }
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "winogrande" / "validation.parquet")
    task = registry.tasks()["winogrande"]
    tokenizer = load_pretrained(TINY_GPT2, task, seed=0).tokenizer
    _, test = read_rows(task, tmp_path)
    split = load_task_data(task, tokenizer, 0, tmp_path).test
    assert (split.n_choices, len(split)) == (2, 10)
    for i in range(20):
        tokens, marks = (array[split.offsets[i] : split.offsets[i + 1]] for array in (split.tokens, split.segments))
        shared, *choices = (column[i // 2] for column in test.texts)
        assert tokenizer.decode(tokens[1:]) == f"{choices[i % 2]} {shared}"
        assert tokenizer.decode(tokens[marks == 1]) == f" {shared}"


def test_last_word_of_lambada_counts_with_its_blank(tmp_path: Path) -> None:
    (tmp_path / "lambada").mkdir()
    rows = {"context": [f"ba be {'bi ' * i}bo" for i in range(20)], "continuation": ["di", "do"] * 10}
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "lambada" / "validation.parquet")
    task = registry.tasks()["lambada"]
    train, test = read_rows(task, tmp_path)
    assert sorted(train.texts[0] + test.texts[0]) == sorted(rows["context"])
    tokenizer = load_pretrained(TINY_GPT2, task, seed=0).tokenizer
    split = load_task_data(task, tokenizer, 0, tmp_path).test
    assert split.labels.tolist() == [3] * 10
    for i, word in enumerate(test.texts[1]):
        tokens, marks = (array[split.offsets[i] : split.offsets[i + 1]] for array in (split.tokens, split.segments))
        assert tokenizer.decode(tokens[1:]) == f"{test.texts[0][i]} {word}"
        assert tokenizer.decode(tokens[marks == 1]) == f" {word}"
