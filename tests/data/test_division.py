"""Rows are divided at random, class by class, or group by group."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import StratifiedShuffleSplit
from support.user_tasks import changed, make_folder, toml

from nasbench.data.division import divide
from nasbench.data.sources import read_rows
from nasbench.data.splits import split_indices
from nasbench.errors import UserError
from nasbench.plugins.user_task import load_user_task

SEEDS = range(20)


def test_rows_are_divided_as_they_come() -> None:
    """The division that all records up to now were made with."""
    rest, part = divide(10, 0.3, np.random.default_rng(0))
    order = np.random.default_rng(0).permutation(10)
    assert [*rest, *part] == list(order)
    assert len(part) == 3


@pytest.mark.parametrize("counts", [(70, 30), (97, 2, 1), (5, 5, 5, 5), (1, 1), (333, 111, 56)])
@pytest.mark.parametrize("fraction", [0.3, 0.2, 0.5])
def test_every_class_has_its_share(counts: tuple[int, ...], fraction: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    for seed in SEEDS:
        rest, part = divide(len(labels), fraction, np.random.default_rng(seed), labels)
        assert sorted([*rest, *part]) == list(range(len(labels)))
        assert len(part) == round(fraction * len(labels))
        found = np.bincount(labels[part], minlength=len(counts))
        assert (np.abs(found - np.array(counts) * len(part) / len(labels)) < 1).all()
    if min(counts) >= 2 and len(part) >= len(counts):  # sklearn's answer where it has one
        splitter = StratifiedShuffleSplit(1, test_size=len(part), random_state=0)
        _, expected = next(splitter.split(labels, labels))
        assert (np.abs(np.bincount(labels[expected], minlength=len(counts)) - found) <= 1).all()


def test_rows_of_a_class_are_drawn_at_random() -> None:
    labels = np.repeat([0, 1], [40, 10])
    drawn = Counter(i for seed in range(300) for i in divide(50, 0.3, np.random.default_rng(seed), labels)[1].tolist())
    # Each row is drawn 90 times of 300 on average; five standard deviations are 40.
    assert min(drawn[i] for i in range(50)) > 50
    assert max(drawn.values()) < 130


def test_groups_stay_together() -> None:
    rng = np.random.default_rng(0)
    for seed in SEEDS:
        groups = [f"author {i}" for i in rng.integers(12, size=200)]
        rest, part = divide(200, 0.3, np.random.default_rng(seed), groups=groups)
        assert sorted([*rest, *part]) == list(range(200))
        assert not {groups[i] for i in rest} & {groups[i] for i in part}
        assert 60 - max(Counter(groups).values()) <= len(part) <= 60 + max(Counter(groups).values())
    assert {len(side) for side in divide(5, 0.3, rng, groups=list("aaaab"))} == {1, 4}


def test_sixty_thousand_groups_of_one_row_are_divided_as_they_come() -> None:
    n = 60_000  # a scan of all rows for each group takes minutes
    rest, part = divide(n, 0.3, np.random.default_rng(0), groups=[f"author {i}" for i in range(n)])
    order = np.random.default_rng(0).permutation(n)
    np.testing.assert_array_equal(part, order[:18_000])
    np.testing.assert_array_equal(rest, order[18_000:])


def _load(folder: Path, rows: list[tuple[str, str, str]], **data: Any) -> Any:
    make_folder(folder)
    (folder / "rows.csv").write_text("review,sentiment,author\n" + "".join(",".join(row) + "\n" for row in rows))
    (folder / "own.toml").write_text(toml(changed(data=data)))
    task, _ = load_user_task(folder / "own.toml")
    train, test = read_rows(task, None)
    train_indices, validation_indices = split_indices(task, train, 0)
    return train, train_indices, validation_indices, test


ROWS = [(f"ba {i}", "good" if i % 5 else "bad", f"person {i % 7}") for i in range(100)]


def test_own_task_keeps_groups_apart(tmp_path: Path) -> None:
    train, train_indices, validation_indices, test = _load(tmp_path, ROWS, group="author")
    of_text = {text: group for text, _, group in ROWS}
    assert [of_text[text] for text in train.texts[0]] == list(train.groups)
    sides = [
        {train.groups[i] for i in train_indices},
        {train.groups[i] for i in validation_indices},
        set(test.groups),
    ]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides)) == 7


def test_own_task_gives_every_class_its_share(tmp_path: Path) -> None:
    train, train_indices, validation_indices, test = _load(tmp_path, ROWS, stratify=True)
    assert Counter(test.labels.tolist()) == {0: 4, 1: 16}
    assert Counter(train.labels[validation_indices].tolist()) == {0: 5, 1: 19}
    assert Counter(train.labels[train_indices].tolist()) == {0: 11, 1: 45}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"group": "writer"}, r"no column 'writer'; its columns are review, sentiment, author"),
        ({"group": "author", "stratify": True}, r"name either stratify or group"),
        ({"group": "review"}, r"text, label and group must name different columns"),
    ],
)
def test_unusable_keys_get_one_line(data: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        _load(tmp_path, ROWS, **data)
    assert "\n" not in str(caught.value)


def test_empty_or_single_groups_are_refused(tmp_path: Path) -> None:
    without = [(text, label, "" if i == 3 else group) for i, (text, label, group) in enumerate(ROWS)]
    with pytest.raises(UserError, match=r"column 'author': row 3 has no group; remove it"):
        _load(tmp_path / "a", without, group="author")
    with pytest.raises(UserError, match=r"column 'author': all rows are in one group"):
        _load(tmp_path / "b", [(text, label, "me") for text, label, _ in ROWS], group="author")
