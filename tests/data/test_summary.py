"""The summary of the data that a user sees before a run: counts, shares, and what looks wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from support.user_tasks import changed, load

from nasbench.data.splits import load_task_data
from nasbench.data.summary import DataSummary
from nasbench.networks.pretrained import load_pretrained
from nasbench.testing.models import tiny_bert
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION

WORDS = ("ba", "be", "bi", "bo", "da", "de", "di", "do", "ga", "ge", "gi", "go", "ka", "ke", "ki", "ko")


def text(i: int) -> str:
    """A different text of four words for each number up to 65,535."""
    return " ".join(WORDS[i >> shift & 15] for shift in (12, 8, 4, 0))


def write(path: Path, rows: list[tuple[str, str]]) -> str:
    path.write_text("review,sentiment\n" + "".join(f'"{review}",{label}\n' for review, label in rows))
    return path.name


def rows(start: int, n: int, labels: tuple[str, ...] = ("bad", "good", "good", "good")) -> list[tuple[str, str]]:
    return [(text(start + i), labels[i % len(labels)]) for i in range(n)]


def summary_of(
    folder: Path,
    train: list[tuple[str, str]],
    validation: list[tuple[str, str]] | None = None,
    test: list[tuple[str, str]] | None = None,
    data: dict[str, Any] | None = None,
    **changes: Any,
) -> DataSummary:
    files = {
        "train": write(folder / "rows.csv", train),
        "validation": write(folder / "dev.csv", rows(2_000, 60) if validation is None else validation),
        "test": write(folder / "test.csv", rows(3_000, 80) if test is None else test),
    }
    task, model = load(folder, changed(data={**files, **(data or {})}, **changes))
    return load_task_data(task, load_pretrained(model, task, 0).tokenizer, 0).summary


def test_summary_counts_rows_classes_and_shares(folder: Path) -> None:
    summary = summary_of(folder, rows(0, 100))
    assert {name: split.rows for name, split in summary.splits.items()} == {"train": 100, "validation": 60, "test": 80}
    assert summary.splits["train"].classes == {"bad": 25, "good": 75}
    assert summary.splits["test"].majority == ("good", 0.75)
    assert summary.shared == {"validation in train": 0, "test in train": 0, "test in validation": 0}
    assert summary.notes == ()
    assert list(summary.lines()) == [
        "data: 100 train, 60 validation, 80 test rows",
        "classes: bad 25.0 %, good 75.0 %; most frequent: good 75.0 % in validation, good 75.0 % in test",
    ]


def test_summary_counts_repeated_and_shared_texts(folder: Path) -> None:
    train = [*rows(0, 100), *rows(0, 4)]
    summary = summary_of(folder, train, [*rows(2_000, 60), *rows(1, 1, ("bad",))], [*rows(0, 8), *rows(3_000, 72)])
    assert {name: split.repeated for name, split in summary.splits.items()} == {"train": 4, "validation": 0, "test": 0}
    assert summary.shared == {"validation in train": 1, "test in train": 8, "test in validation": 1}
    assert list(summary.lines())[-1] == (
        "repeated texts: 4 in train, 1 of validation are in train, 8 of test are in train, 1 of test are in validation"
    )
    assert summary.notes == (
        "8 test texts (10.0 %) are also in train, so the test error is too low for new texts",
        "1 text has different labels in different rows",
    )


def test_summary_says_that_the_test_is_the_train_file(folder: Path) -> None:
    train = rows(0, 100)
    note = "all test texts are also in train or validation, so the test error says nothing about new texts"
    assert summary_of(folder, train, test=train).notes == (note,)
    write(folder / "rows.csv", train)
    task, model = load(folder, changed(data={"test": "rows.csv"}))
    data = load_task_data(task, load_pretrained(model, task, 0).tokenizer, 0)
    assert note in data.summary.notes


def test_summary_shows_the_share_of_truncated_texts(folder: Path) -> None:
    """A text of 6 words has 8 tokens, which just fit."""
    fits, too_long = f"{text(5)} ba ba", f"{text(6)} ba ba ba"
    summary = summary_of(folder, [*rows(0, 60), (fits, "bad"), *[(too_long, "good")] * 19], max_length=8)
    assert [split.truncated for split in summary.splits.values()] == [19 / 80, 0.0, 0.0]
    assert "cut at max_length = 8 tokens: 23.8 % of train" in summary.lines()
    assert summary.notes == ("23.8 % of the train texts are cut at max_length = 8 tokens",)


def test_cached_tokens_keep_what_is_truncated(tmp_path: Path) -> None:
    _, tokenizer = tiny_bert()
    task = dataclasses.replace(TINY_PAIR, max_length=10)
    first = load_task_data(task, tokenizer, 0, cache_dir=tmp_path).summary
    assert 0 < first.splits["train"].truncated < 1
    assert load_task_data(task, tokenizer, 0, cache_dir=tmp_path).summary == first


def test_summary_names_the_class_of_f1(folder: Path) -> None:
    summary = summary_of(folder, rows(0, 100), other_metrics=["f1"])
    assert summary.positive_class == "good"
    assert "F1 is that of the class good" in summary.lines()
    assert summary_of(folder, rows(0, 100)).positive_class is None


@pytest.mark.parametrize(("one", "other"), [("Ham", "ham"), ("not ham", "notham"), ("ham  x", "ham x")])
def test_summary_notes_classes_that_differ_in_case_or_blanks(one: str, other: str, folder: Path) -> None:
    labels = (one, other, "spam")
    summary = summary_of(folder, rows(0, 99, labels), rows(2_000, 60, labels), rows(3_000, 60, labels))
    first, second = sorted((one, other))
    assert summary.notes == (
        f"the classes {first!r} and {second!r} differ only in case or blanks; are they the same class?",
    )


def test_summary_notes_rare_classes(folder: Path) -> None:
    summary = summary_of(folder, [*rows(0, 100), (text(500), "odd"), (text(501), "rare"), (text(502), "rare")])
    assert summary.notes == (
        "class 'odd' has a single row",
        "class 'rare' has no row in validation and test",
    )


def test_summary_notes_few_rows(folder: Path) -> None:
    summary = summary_of(folder, rows(0, 100), rows(2_000, 8), rows(3_000, 20))
    assert summary.notes == (
        "only 8 rows in validation: one row is 12.5 % of them",
        "only 20 rows in test: one row is 5.0 % of them",
    )


def test_summary_passes_on_the_notes_of_the_files(folder: Path) -> None:
    summary = summary_of(folder, [*rows(0, 100), (" ", "good")], data={"drop_empty": True})
    assert summary.notes == ("rows.csv: 1 of 101 rows dropped (drop_empty), 1 without a text and 0 without a label",)


def test_summary_of_a_regression_shows_its_targets() -> None:
    _, tokenizer = tiny_bert()
    summary = load_task_data(TINY_REGRESSION, tokenizer, 0).summary
    train = summary.splits["train"]
    assert train.classes == {}
    assert train.majority is None
    assert train.targets is not None
    assert train.targets[0] == 0.0
    assert list(summary.lines())[1].startswith("targets: 0 to 5, mean ")


def test_summary_of_a_multiple_choice_counts_sequences_of_an_example_once() -> None:
    _, tokenizer = tiny_bert()
    summary = load_task_data(dataclasses.replace(TINY_CHOICE, max_length=9), tokenizer, 0).summary
    train = summary.splits["train"]
    assert sum(train.classes.values()) == train.rows == 67
    assert 0 < train.truncated <= 1


def test_summary_in_a_record_is_plain_and_short(folder: Path) -> None:
    labels = tuple(f"class {i}" for i in range(120))
    summary = summary_of(folder, rows(0, 360, labels), rows(2_000, 120, labels), rows(3_000, 120, labels))
    record = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert record["n_classes"] == 120
    assert len(record["splits"]["train"]["classes"]) == 100
    assert record["splits"]["test"]["rows"] == 120
    named = dataclasses.replace(summary, notes=("a\0b\ud800",))
    assert named.to_json()["notes"] == ["a b?"]


def test_summary_uses_names_of_classes_where_the_source_holds_integers() -> None:
    _, tokenizer = tiny_bert()
    task = dataclasses.replace(TINY_PAIR, class_names=("other", "same"), metric="f1")
    summary = load_task_data(task, tokenizer, 0).summary
    assert summary.positive_class == "same"
    assert list(summary.splits["train"].classes) == ["other", "same"]
