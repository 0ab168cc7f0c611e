"""A user's own task: what a TOML file may say, and what is said when it is wrong."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from nasbench import user_task
from nasbench.data import load_task_data
from nasbench.errors import UserError
from nasbench.models import load_pretrained
from nasbench.task import FineTuning
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA, save_tiny
from nasbench.testing.tasks import TINY_PAIR, TINY_SINGLE
from nasbench.user_task import load_user_task

ROWS = [("ba be", "good"), ("bi", "bad"), ("da de", "good"), ("di", "bad"), ("ko", "good")] * 4

BASE = {
    "data": {"train": "rows.csv", "text": "review", "label": "sentiment"},
    "model": {"folder": "my model"},
}


def toml(tables: dict[str, Any]) -> str:
    """Enough of TOML for these tests; JSON's values are valid in it."""
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
    """The base with keys of tables replaced (``data={...}``), None taking a key away."""
    tables: dict[str, Any] = {name: dict(table) for name, table in BASE.items()}
    for key, value in changes.items():
        if isinstance(value, dict):
            merged = {**tables.get(key, {}), **value}
            tables[key] = {k: v for k, v in merged.items() if v is not None}
        else:
            tables[key] = value
    return {key: value for key, value in tables.items() if value is not None}


def load_all(folder: Path, tables: Any) -> None:
    """As a run does: declaration, network, data."""
    task, model = load(folder, tables)
    load_task_data(task, load_pretrained(model, task, 0)[1], 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny(TINY_BERT, TINY_SINGLE, tmp_path / "my model")
    lines = ["review,sentiment", *(f"{text},{label}" for text, label in ROWS)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def load(folder: Path, tables: dict[str, Any]) -> Any:
    path = folder / "own-task.toml"
    path.write_text(toml(tables))
    return load_user_task(path)


def test_a_csv_and_a_folder_are_enough(folder: Path) -> None:
    task, model = load(folder, BASE)
    assert (task.name, task.kind, task.n_labels, task.metric) == ("own-task", "classification", 2, "accuracy")
    assert task.data.label_names == ("bad", "good")
    assert (model.name, model.architecture, model.track) == ("my-model", "bert", "user")
    assert task.budgets == {("user", "cpu"): 1_500.0, ("user", "gpu"): 1_500.0}
    assert task.default_models == {"cpu": "my-model", "gpu": "my-model"}
    network, tokenizer, _ = load_pretrained(model, task, 0)
    data = load_task_data(task, tokenizer, 0)
    assert (len(data.train), len(data.validation), len(data.test)) == (11, 5, 4)
    texts = [
        tokenizer.decode(data.test.tokens[a:b], skip_special_tokens=True)
        for a, b in itertools.pairwise(data.test.offsets)
    ]
    assert all(label == (dict(ROWS)[text] == "good") for text, label in zip(texts, data.test.labels, strict=True))
    assert network.num_labels == 2


def test_everything_can_be_said(folder: Path) -> None:
    save_tiny(TINY_ROBERTA, TINY_PAIR, folder / "roberta")
    (folder / "train.jsonl").write_text("".join(json.dumps({"a": t, "b": "ba", "y": len(t)}) + "\n" for t, _ in ROWS))
    fine_tuning = {"learning_rate": 1e-4, "batch_size": 8, "epochs": 1, "warmup": 0, "weight_decay": 0.1}
    task, model = load(
        folder,
        {
            "name": "lengths of texts",
            "metric": "pearson",
            "other_metrics": ["spearman"],
            "budget_s": 90,
            "max_length": 64,
            "data": {"train": "train.jsonl", "test": "train.jsonl", "text": ["a", "b"], "label": "y"},
            "model": {"folder": "roberta", "fine_tuning": fine_tuning},
        },
    )
    assert (task.name, task.kind, task.n_labels, task.metric) == ("lengths-of-texts", "regression", 1, "pearson")
    assert (task.other_metrics, task.max_length) == (("spearman",), 64)
    assert task.budgets["user", "cpu"] == 90.0
    assert model.architecture == "roberta"
    assert model.fine_tuning == FineTuning(1e-4, 8, 1, 0.0, 0.1)
    network, tokenizer, _ = load_pretrained(model, task, 0)
    assert network.config.problem_type == "regression"
    assert load_task_data(task, tokenizer, 0).n_rows == (20, 20)


@pytest.mark.parametrize(
    ("labels", "names", "n_labels"),
    [
        (["b", "a", "c"], ("a", "b", "c"), 3),
        ([2, 0, 1], (), 3),
        ([10, 9, -1], ("-1", "9", "10"), 3),
        ([1, 2, 1], ("1", "2"), 2),
        (["0", "1", "0"], ("0", "1"), 2),
        ([True, False, True], ("False", "True"), 2),
        ([0.0, 1.0, 1.0], ("0", "1"), 2),
        (["LABEL_1", "LABEL_0", "LABEL_1"], ("LABEL_0", "LABEL_1"), 2),
    ],
)
def test_labels_become_classes(labels: list[Any], names: tuple[str, ...], n_labels: int, folder: Path) -> None:
    rows = [{"review": f"ba {i}", "sentiment": label} for i, label in enumerate(labels * 5)]
    (folder / "rows.json").write_text(json.dumps(rows))
    task, model = load(folder, changed(data={"train": "rows.json"}))
    assert (task.data.label_names, task.n_labels) == (names, n_labels)
    data = load_task_data(task, load_pretrained(model, task, 0)[1], 0)
    found = sorted([*data.train.labels, *data.validation.labels, *data.test.labels])
    order = list(names) or [str(i) for i in range(n_labels)]
    assert found == sorted(order.index(user_task.label_name(label)) for label in labels * 5)


def test_a_trained_model_keeps_the_order_of_its_labels(folder: Path) -> None:
    path = folder / "my model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "id2label": {"0": "good", "1": "bad"}}))
    assert load(folder, BASE)[0].data.label_names == ("good", "bad")
    assert load(folder, changed(data={"labels": ["bad", "good"]}))[0].data.label_names == ("bad", "good")


def test_a_data_set_and_a_network_on_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def data_stand_in(*args: Any, **options: Any) -> Any:
        asked.append((*args, options))
        return datasets.Dataset.from_dict({"review": ["a", "b"], "sentiment": ["x", "y"]})

    def model_stand_in(*args: Any, **options: Any) -> str:
        asked.append((*args, options["revision"]))
        return str(folder / "my model")

    monkeypatch.setattr("nasbench.hub._reachable", lambda _: True)
    monkeypatch.setattr(datasets, "load_dataset", data_stand_in)
    monkeypatch.setattr("huggingface_hub.snapshot_download", model_stand_in)
    hub = {"hub": "someone/reviews", "configuration": "small", "revision": "abc", "test_split": "test", "train": None}
    tables = changed(data=hub, model={"hub": "someone/my-bert", "revision": "def", "folder": None})
    task, model = load(folder, tables)
    assert (model.name, model.hub_id, model.revision) == ("my-bert", "someone/my-bert", "def")
    assert (task.data.test_split, task.data.label_names) == ("test", ("x", "y"))
    assert asked == [
        ("someone/my-bert", "def"),
        ("someone/reviews", "small", {"revision": "abc", "split": "train"}),
    ]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (changed(metrik="f1"), r"unknown key in .*own-task\.toml: 'metrik'; did you mean 'metric'\?$"),
        (changed(data={"lable": "x"}), r"unknown key in .*\[data\]: 'lable'; did you mean 'label'\?$"),
        (changed(model={"fine_tuning": {"lr": 1}}), r"unknown key in .*\[model\], \[fine_tuning\]: 'lr'"),
        (changed(data=None), r"own-task\.toml: data is missing$"),
        (changed(model=None), r"own-task\.toml: model is missing$"),
        (changed(data="rows.csv"), r"own-task\.toml: data must be dict, not 'rows\.csv'$"),
        (changed(data={"label": None}), r"\[data\]: label is missing$"),
        (changed(data={"text": None}), r"\[data\]: text is missing$"),
        (changed(data={"text": 3}), r"\[data\]: text must be str or list, not 3$"),
        (changed(data={"text": ["a", 3]}), r"\[data\]: text must be texts, not \['a', 3\]$"),
        (changed(data={"text": ["a", "b", "c"]}), r"text must name one column, or two for pairs, not 3$"),
        (changed(kind="multiple_choice"), r"text must name a start and at least two endings, not 1$"),
        (changed(data={"train": None}), r"name either train \(a file\) or hub \(a data set\)$"),
        (changed(data={"hub": "a/b"}), r"name either train \(a file\) or hub \(a data set\)$"),
        (changed(data={"revision": "a"}), r"revision belongs to a data set on the hub, not to files$"),
        (changed(data={"labels": ["a"]}), r"labels must be two or more different names$"),
        (changed(data={"labels": ["good", "worse"]}), r"label 'bad' of row 1 is none of good, worse$"),
        (changed(model={"hub": "a/b"}), r"\[model\]: name either folder"),
        (changed(model={"folder": "none"}), r"no saved model in .*none: it has no config\.json$"),
        (changed(kind="clasification"), r"unknown kind of task 'clasification'; did you mean 'classification'\?$"),
        (changed(metric="acuracy"), r"unknown metric 'acuracy'; did you mean 'accuracy'\?$"),
        (changed(metric="accuracy", kind="regression"), r"metric 'accuracy' does not fit a regression$"),
        (changed(other_metrics=["pearson"]), r"metric 'pearson' does not fit a classification$"),
        (changed(metric="f1", data={"labels": ["a", "b", "c"]}), r"metric 'f1' needs two classes, the labels have 3"),
        (changed(budget_s=-1), r"budget_s must be positive, not -1$"),
        (changed(budget_s="long"), r"budget_s must be int or float, not 'long'$"),
        (changed(budget_s=True), r"budget_s must be int or float, not True$"),
        (changed(max_length=0), r"max_length must be positive, not 0$"),
        (changed(model={"fine_tuning": {"epochs": 1.5}}), r"epochs must be int, not 1\.5$"),
        (changed(model={"fine_tuning": {"epochs": 0}}), r"epochs must be positive, not 0$"),
        (changed(data={"train": "none.csv"}), r"no data file .*none\.csv$"),
        (changed(data={"text": "revue"}), r"rows\.csv: no column 'revue'; its columns are review, sentiment$"),
    ],
)
def test_mistakes_are_named_in_one_line(tables: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_all(folder, tables)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("contents", ["name = ", "\x00", "name = 1\nname = 2"])
def test_a_file_that_is_not_toml(contents: str, tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text(contents)
    with pytest.raises(UserError, match=r"task\.toml: cannot be read as TOML \(") as error:
        load_user_task(tmp_path / "task.toml")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"no task file .*none\.toml$"):
        load_user_task(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("{", "not the configuration"),
        ("[]", "not the configuration"),
        ('{"model_type": "gpt2"}', "the network is a gpt2"),
    ],
)
def test_a_model_that_cannot_be_pruned(contents: str, message: str, folder: Path) -> None:
    (folder / "my model" / "config.json").write_text(contents)
    with pytest.raises(UserError, match=message):
        load(folder, BASE)


def test_a_single_class_is_no_task(folder: Path) -> None:
    (folder / "rows.csv").write_text("review,sentiment\na,good\nb,good\n")
    with pytest.raises(UserError, match=r"rows\.csv, column 'sentiment': holds fewer than two classes$"):
        load(folder, BASE)
