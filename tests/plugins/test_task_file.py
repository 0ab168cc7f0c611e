"""Mistakes in a task's TOML file: each is named in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.user_tasks import changed, load_all

from nasbench.errors import UserError
from nasbench.plugins.user_task import load_user_task


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (changed(metrik="f1"), r"unknown key in .*own-task\.toml: 'metrik'; did you mean 'metric'\?$"),
        (changed(data={"lable": "x"}), r"unknown key in .*\[data\]: 'lable'; did you mean 'label'\?$"),
        (changed(model={"fine_tuning": {"lr": 1}}), r"unknown key in .*\[model\], \[fine_tuning\]: 'lr'"),
        (changed(data=None), r"own-task\.toml: data is missing$"),
        (changed(model=None), r"own-task\.toml: model is missing$"),
        (changed(data="rows.csv"), r"own-task\.toml: data must be a table, not 'rows\.csv'$"),
        (changed(data={"label": None, "lable": "x"}), r"unknown key in .*\[data\]: 'lable'; did you mean 'label'\?$"),
        (changed(data={"label": ""}), r"\[data\]: label must have at least 1 character, not ''$"),
        (
            changed(data={"hub": "a/b", "train": None, "test": "b.csv"}),
            r"test is a file, but the data set is on the hub;",
        ),
        (changed(kind=3), r"own-task\.toml: kind must be 'classification', 'regression' or 'multiple_choice', not 3$"),
        (
            changed(other_metrics=["acuracy"]),
            r"unknown value of other_metrics in .*: 'acuracy'; did you mean 'accuracy'",
        ),
        (changed(data={"label": None}), r"\[data\]: label is missing$"),
        (changed(data={"text": None}), r"\[data\]: text is missing$"),
        (changed(data={"text": 3}), r"\[data\]: text must be a text or a list of texts, not 3$"),
        (changed(data={"text": ["a", 3]}), r"\[data\]: text must be a text or a list of texts, not \['a', 3\]$"),
        (changed(data={"text": ["a", "b", "c"]}), r"text must name one column, or two for pairs, not 3$"),
        (changed(kind="multiple_choice"), r"text must name a start and at least two endings, not 1$"),
        (changed(data={"train": None}), r"name either train \(a file\) or hub \(a data set\)$"),
        (changed(data={"hub": "a/b"}), r"name either train \(a file\) or hub \(a data set\)$"),
        (changed(data={"revision": "a"}), r"revision belongs to a data set on the hub, not to files$"),
        (
            changed(data={"hub": "a/b", "train": None, "separator": ";"}),
            r"separator belongs to files, not to a data set on",
        ),
        (
            changed(data={"hub": "a/b", "train": None, "validation": "b.csv"}),
            r"validation is a file, but the data set is on the hub; name its split in validation_split$",
        ),
        (
            changed(data={"hub": "a/b", "train": None, "validation_split": "validation"}),
            r"validation_split and test_split must differ, not both be 'validation'$",
        ),
        (changed(data={"separator": "::"}), r"\[data\]: separator must be one character, such as .*, not '::'$"),
        (changed(data={"escape": '"'}), r"\[data\]: escape must be one character other than the quote"),
        (changed(data={"encoding": "utf-9"}), r"\[data\]: encoding must be an encoding that Python .*, not 'utf-9'$"),
        (changed(data={"encoding": "base64"}), r"\[data\]: encoding must be an encoding that Python .*, not 'base64'$"),
        (changed(data={"quoting": "no"}), r"\[data\]: quoting must be a valid boolean, not 'no'$"),
        (changed(data={"validation_limit": 0}), r"\[data\]: validation_limit must be greater than 0, not 0$"),
        (
            changed(data={"label": ["a", "b"]}),
            r"label must name one column, because a task with several labels a row is",
        ),
        (changed(data={"labels": ["a"]}), r"labels must be two or more different names$"),
        (changed(data={"labels": ["good", "worse"]}), r"label 'bad' of row 1 is none of good, worse$"),
        (
            changed(data={"labels": [*"abcdefghijkl"]}),
            r"label 'good' of row 0 is none of a, b, c, d, e, f, g, h, i, j and 2 more$",
        ),
        (changed(model={"hub": "a/b"}), r"\[model\]: name either folder"),
        (changed(model={"folder": "none"}), r"no saved model in .*none: it has no config\.json$"),
        (
            changed(kind="clasification"),
            r"unknown value of kind in .*: 'clasification'; did you mean 'classification'\?$",
        ),
        (
            changed(kind="language_modelling"),
            r"kind must be 'classification', .*declared in Python: docs/objectives\.md\), not 'language_modelling'$",
        ),
        (changed(metric="acuracy"), r"unknown value of metric in .*: 'acuracy'; did you mean 'accuracy'\?$"),
        (changed(metric="accuracy", kind="regression"), r"metric 'accuracy' does not fit a regression$"),
        (changed(other_metrics=["pearson"]), r"metric 'pearson' does not fit a classification$"),
        (changed(metric="f1", data={"labels": ["a", "b", "c"]}), r"metric 'f1' needs two classes, but there are 3"),
        (changed(metric="rmse", kind="regression"), r"rmse is smaller for better networks; name it in other_metrics"),
        (changed(other_metrics=["mae"]), r"metric 'mae' does not fit a classification$"),
        (changed(metric="macro_f1", kind="regression"), r"metric 'macro_f1' does not fit a regression$"),
        (changed(metric="compression"), r"metric 'compression' does not fit a classification$"),
        (changed(metric="bits_per_byte"), r"metric 'bits_per_byte' does not fit a regression$"),
        (changed(kind="regression", other_metrics=["bits_per_byte"]), r"metric 'bits_per_byte' does not fit a regress"),
        (changed(budget_s=-1), r"budget_s must be greater than 0, not -1$"),
        (changed(budget_s="long"), r"budget_s must be a valid number, not 'long'$"),
        (changed(budget_s=True), r"budget_s must be a valid number, not True$"),
        (changed(max_length=0), r"max_length must be 1 to 64, which is what the model takes, not 0$"),
        (changed(max_length=0.5), r"max_length must be a valid integer, not 0\.5$"),
        (changed(name="demo"), r"there is a task 'demo' already \(nasbench tasks\); give this one another name$"),
        (changed(data={"text": "sentiment"}), r"text, label and group must name different columns, not sentiment, s"),
        (changed(data={"text": ["review", "review"]}), r"must name different columns, not review, review, sentiment$"),
        (
            changed(kind="regression", data={"labels": ["a", "b"]}),
            r"labels are names of classes, but a regression has no",
        ),
        (
            changed(model={"fine_tuning": {"warmup": 2.0}}),
            r"_tuning\]: warmup is a fraction in \[0, 1\), not 2\.0$",
        ),
        (changed(model={"fine_tuning": {"learning_rate": 0}}), r"learning_rate must be positive, not 0\.0$"),
        (changed(model={"fine_tuning": {"weight_decay": -1}}), r"weight_decay must be 0 or more, not -1\.0$"),
        (changed(model={"fine_tuning": {"epochs": 1.5}}), r"_tuning\]: epochs must be a valid integer, not 1\.5$"),
        (changed(model={"super_network": {"epochs": True}}), r"_network\]: epochs must be a valid integer, not True$"),
        (changed(model={"fine_tuning": 3}), r"\[model\]: fine_tuning must be a table, not 3$"),
        (changed(model={"fine_tuning": {"epochs": -1}}), r"epochs must be 0 or more, not -1$"),
        (changed(data={"train": "none.csv"}), r"no data file .*none\.csv$"),
        (changed(data={"text": "revue"}), r"rows\.csv: no column 'revue'; its columns are review, sentiment$"),
    ],
)
def test_load_names_each_mistake_in_one_line(tables: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_all(folder, tables)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("contents", ["name = ", "\x00", "name = 1\nname = 2", "name = " + "[" * 9_999])
def test_load_rejects_file_that_is_not_toml(contents: str, tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text(contents)
    with pytest.raises(UserError, match=r"task\.toml: cannot be read as TOML \(") as error:
        load_user_task(tmp_path / "task.toml")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"no task file .*none\.toml$"):
        load_user_task(tmp_path / "none.toml")
