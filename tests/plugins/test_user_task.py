"""A user's own task: what its TOML file declares, and what its data and model must be like."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from support.user_tasks import BASE, ROWS, changed, load, load_all, toml, write_labels

from nasbench.data.labels import label_name
from nasbench.data.splits import load_task_data
from nasbench.declarations.model import TrainingConfiguration
from nasbench.errors import UserError
from nasbench.networks.pretrained import load_pretrained
from nasbench.plugins.user_task import load_user_task
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA, save_tiny
from nasbench.testing.tasks import TINY_PAIR, TINY_SINGLE


def test_load_needs_only_a_csv_and_a_model_folder(folder: Path) -> None:
    task, model = load(folder, BASE)
    assert (task.name, task.kind, task.n_labels, task.metric) == ("own-task", "classification", 2, "accuracy")
    assert task.data.label_names == ("bad", "good")
    assert (model.name, model.architecture, model.track) == ("my-model", "bert", "user")
    assert task.budgets == {("user", "cpu"): 1_500.0, ("user", "gpu"): 1_500.0}
    assert task.default_models == {"cpu": "my-model", "gpu": "my-model"}
    network, tokenizer, *_ = load_pretrained(model, task, 0)
    data = load_task_data(task, tokenizer, 0)
    assert (len(data.train), len(data.validation), len(data.test)) == (11, 5, 4)
    texts = [
        tokenizer.decode(data.test.tokens[a:b], skip_special_tokens=True)
        for a, b in itertools.pairwise(data.test.offsets)
    ]
    assert all(label == (dict(ROWS)[text] == "good") for text, label in zip(texts, data.test.labels, strict=True))
    assert network.num_labels == 2


def test_load_reads_every_key(folder: Path) -> None:
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
    assert model.fine_tuning == model.super_network == TrainingConfiguration(1e-4, 8, 1, 0.0, 0.1)
    network, tokenizer, *_ = load_pretrained(model, task, 0)
    assert network.config.problem_type == "regression"
    assert load_task_data(task, tokenizer, 0).n_rows == (20, 20)


def test_super_network_keys_default_to_fine_tuning(folder: Path) -> None:
    declared = {"fine_tuning": {"epochs": 2, "batch_size": 8}, "super_network": {"epochs": 9}}
    _, model = load(folder, {**BASE, "model": {**BASE["model"], **declared}})
    assert model.fine_tuning == TrainingConfiguration(epochs=2, batch_size=8)
    assert model.super_network == TrainingConfiguration(epochs=9, batch_size=8)
    _, model = load(folder, BASE)
    assert model.super_network == model.fine_tuning == TrainingConfiguration()


@pytest.mark.parametrize(
    ("labels", "names", "n_labels"),
    [
        (["b", "a", "c"], ("a", "b", "c"), 3),
        ([2, 0, 1], ("0", "1", "2"), 3),
        ([10, 9, -1], ("-1", "9", "10"), 3),
        ([1, 2, 1], ("1", "2"), 2),
        (["0", "1", "0"], ("0", "1"), 2),
        ([True, False, True], ("false", "true"), 2),
        ([0.0, 1.0, 1.0], ("0", "1"), 2),
        (["none", "a ", "a"], ("a", "none"), 2),
        (["LABEL_1", "LABEL_0", "LABEL_1"], ("LABEL_0", "LABEL_1"), 2),
    ],
)
def test_labels_become_classes(labels: list[Any], names: tuple[str, ...], n_labels: int, folder: Path) -> None:
    rows = [{"review": f"ba {i}", "sentiment": label} for i, label in enumerate(labels * 5)]
    (folder / "rows.json").write_text(json.dumps(rows))
    task, model = load(folder, changed(data={"train": "rows.json"}))
    assert (task.data.label_names, task.n_labels) == (names, n_labels)
    data = load_task_data(task, load_pretrained(model, task, 0).tokenizer, 0)
    found = sorted([*data.train.labels, *data.validation.labels, *data.test.labels])
    assert found == sorted(names.index(label_name(label)) for label in labels * 5)


@pytest.mark.parametrize(
    ("written", "listed", "names"),
    [
        (["true", "false"], ["false", "true"], ("false", "true")),
        (["True", "False"], None, ("False", "True")),
        (["01", "02"], ["02", "01"], ("02", "01")),
        (["01", "02"], None, ("01", "02")),
        (["1.0", "0.0"], None, ("0", "1")),
        (["1.0", "0.0"], ["0", "1"], ("0", "1")),
        (["1.5", "2.5"], ["1.5", "2.5"], ("1.5", "2.5")),
        (["NA", "EU"], ["NA", "EU"], ("NA", "EU")),
        (["none", "some"], None, ("none", "some")),
    ],
)
def test_labels_of_a_csv_are_read_as_text(
    written: list[str], listed: list[str] | None, names: tuple[str, ...], folder: Path
) -> None:
    write_labels(folder, written * 8)
    task, model = load(folder, changed(data={} if listed is None else {"labels": listed}))
    assert task.data.label_names == names
    data = load_task_data(task, load_pretrained(model, task, 0).tokenizer, 0)
    found = [*data.train.labels, *data.validation.labels, *data.test.labels]
    assert sorted(found) == [0] * 8 + [1] * 8


@pytest.mark.parametrize("missing", ["", " ", "NaN", "nan", "NA", "null"])
@pytest.mark.parametrize("others", [["good", "bad"], ["0", "1"], ["0.0", "1.0"]])
@pytest.mark.parametrize("listed", [True, False])
def test_load_rejects_csv_row_without_label(missing: str, others: list[str], listed: bool, folder: Path) -> None:
    write_labels(folder, [*others * 8, missing])
    labels = {"labels": others} if listed else {}
    with pytest.raises(UserError, match=r"rows\.csv, column 'sentiment': row 16 has no label.*; remove it"):
        load_all(folder, changed(data=labels))


@pytest.mark.parametrize("labels", ["0 1 NaN", "0 1 null", '"good" "bad" ""', '"good" "bad" "NaN"', '"a" "b" null'])
def test_load_rejects_json_row_without_label(labels: str, folder: Path) -> None:
    rows = "".join(f'{{"review": "ba", "sentiment": {label}}}\n' for label in labels.split())
    (folder / "rows.jsonl").write_text(rows * 5)
    with pytest.raises(
        UserError, match=r"rows\.jsonl, column 'sentiment': 5 rows have no label, the first is row 2; r.*, or"
    ):
        load(folder, changed(data={"train": "rows.jsonl"}))


def test_load_rejects_test_row_without_label(folder: Path) -> None:
    (folder / "test.csv").write_text("review,sentiment\nba,good\nbi,\n")
    with pytest.raises(
        UserError,
        match=r"test\.csv, column 'sentiment': row 1 has no label; remove it, or set drop_empty = true in \[data\]$",
    ):
        load_all(folder, changed(data={"test": "test.csv"}))


def test_load_rejects_scores_as_classes(folder: Path) -> None:
    write_labels(folder, [f"{0.37 * i:.2f}" for i in range(60)])
    with pytest.raises(UserError, match=r"label 0\.37 of row 1 is a number with a fraction; did you mean"):
        load(folder, BASE)
    assert load(folder, changed(kind="regression"))[0].n_labels == 1
    write_labels(folder, [str(i) for i in range(60)])
    with pytest.raises(UserError, match=r"has 60 different labels in 60 rows; name the column of the classes in label"):
        load(folder, BASE)


@pytest.mark.parametrize(
    ("contents", "changes", "message"),
    [
        ("review,sentiment\na,good\nb,bad\n", {}, r"few rows: 1 for train, 1 for validation and 0 for test; add rows$"),
        ("review,sentiment\n", {}, r"rows\.csv: has no rows$"),
        ("review,sentiment,sentiment\na,b,c\n", {}, r"rows\.csv: two columns are called 'sentiment'; rename one$"),
        (
            "review,sentiment\n" + "a,good\n" * 20,
            {"data": {"labels": ["good", "bad"]}},
            r"all 16 rows for training have the same label; add others$",
        ),
        (
            "review,sentiment\n" + "a,3.5\n" * 20,
            {"kind": "regression"},
            r"all 16 rows .* have the same label; add others$",
        ),
        (
            "review,sentiment\n" + "a,2\nb,1e300\n" * 9,
            {"kind": "regression"},
            r"label inf of row 1 is outside -inf to inf$",
        ),
        (
            "review,sentiment\n,good\nb,bad\n",
            {},
            r"rows\.csv, column 'review': row 0 is empty; remove it, or set drop_empty = true in \[data\]$",
        ),
        (
            "a,b,c,y\n" + "x,y,z,A\nx,y,,B\n" * 9,
            {"kind": "multiple_choice", "data": {"text": ["a", "b", "c"], "label": "y", "labels": ["A", "B"]}},
            r"rows\.csv, column 'c': 9 rows are empty, the first is row 1; remove them, or set drop_empty",
        ),
        (
            "a,b,y\n" + "x,,good\n,y,bad\n,,good\n" * 9,
            {"data": {"text": ["a", "b"], "label": "y"}},
            r"rows\.csv, column 'a' and 'b': 9 rows are empty, the first is row 2; remove them, or set",
        ),
    ],
)
def test_load_names_unusable_rows(contents: str, changes: dict[str, Any], message: str, folder: Path) -> None:
    (folder / "rows.csv").write_text(contents)
    with pytest.raises(UserError, match=message) as error:
        load_all(folder, changed(**changes))
    assert "\n" not in str(error.value)


def test_labels_name_the_endings_of_a_multiple_choice(folder: Path) -> None:
    (folder / "rows.csv").write_text("a,b,c,y\n" + "ba,be,bi,B\nba,bi,be,A\n" * 9)
    tables = changed(kind="multiple_choice", data={"text": ["a", "b", "c"], "label": "y", "labels": ["A", "B"]})
    task, model = load(folder, tables)
    data = load_task_data(task, load_pretrained(model, task, 0).tokenizer, 0)
    # The right ending is "be" in every row.
    for start, label in zip(data.test.offsets[:-1:2], data.test.labels, strict=True):
        first_ending = data.test.tokens[start + 3]
        assert (first_ending == data.test.tokens[3]) == (label == data.test.labels[0])
    with pytest.raises(UserError, match=r"labels must name each of the 2 endings, not 3$"):
        load(folder, changed(**{**tables, "data": {**tables["data"], "labels": ["A", "B", "C"]}}))


def test_max_length_is_limited_by_the_model(folder: Path) -> None:
    """The tiny networks have 64 positions, fewer than the default of 128 tokens."""
    (folder / "rows.csv").write_text("review,sentiment\n" + f"{'ba ' * 200},good\nbi,bad\n" * 9)
    for model in (TINY_BERT, TINY_ROBERTA):
        save_tiny(model, TINY_SINGLE, folder / model.name)
        tables = changed(model={"folder": model.name})
        task, saved = load(folder, tables)
        assert task.max_length == 64
        loaded = load_pretrained(saved, task, 0)
        data = load_task_data(task, loaded.tokenizer, 0)
        assert data.train.lengths.max() == 64
        loaded.check_fits(data)
        with pytest.raises(UserError, match=r"max_length must be 1 to 64, which is what the model takes, not 65$"):
            load(folder, {**tables, "max_length": 65})
        with pytest.raises(UserError, match=r"= 2 leaves no room for text beside 2 special tokens; raise it$"):
            load_all(folder, {**tables, "max_length": 2})


def test_byte_order_mark_is_ignored(folder: Path) -> None:
    (folder / "own-task.toml").write_text("\ufeff" + toml(BASE))
    assert load_user_task(folder / "own-task.toml")[0].n_labels == 2


def test_data_set_and_network_come_from_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def data_stand_in(*args: Any, **options: Any) -> Any:
        asked.append((*args, options))
        return datasets.Dataset.from_dict({"review": ["a", "b"], "sentiment": ["x", "y"]})

    def model_stand_in(*args: Any, **options: Any) -> str:
        asked.append((*args, options["revision"]))
        return str(folder / "my model")

    monkeypatch.setattr("nasbench.data.hub._reachable", lambda _: True)
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
    ("contents", "message"),
    [
        ("{", "not the configuration"),
        ("[]", "not the configuration"),
        ('{"model_type": "xlnet"}', "the network is a xlnet"),
    ],
)
def test_load_rejects_model_that_cannot_be_pruned(contents: str, message: str, folder: Path) -> None:
    (folder / "my model" / "config.json").write_text(contents)
    with pytest.raises(UserError, match=message):
        load(folder, BASE)


def test_load_rejects_a_single_class(folder: Path) -> None:
    (folder / "rows.csv").write_text("review,sentiment\na,good\nb,good\n")
    with pytest.raises(UserError, match=r"rows\.csv, column 'sentiment': holds fewer than two classes$"):
        load(folder, BASE)


def test_validation_file_and_limit(folder: Path) -> None:
    (folder / "dev.csv").write_text("review,sentiment\n" + "ga,good\nge,bad\ngi,good\n")
    task, model = load(folder, changed(data={"validation": "dev.csv"}))
    tokenizer = load_pretrained(model, task, 0).tokenizer
    data = load_task_data(task, tokenizer, 0)
    assert (len(data.train), len(data.validation), len(data.test)) == (16, 3, 4)
    texts = [
        tokenizer.decode(data.validation.tokens[a:b], skip_special_tokens=True)
        for a, b in itertools.pairwise(data.validation.offsets)
    ]
    assert sorted(texts) == ["ga", "ge", "gi"]
    assert sorted(data.train.ids) == list(range(16))
    assert sorted(data.validation.ids) == [16, 17, 18]
    task, _ = load(folder, changed(data={"validation": "dev.csv", "validation_limit": 2}))
    limited = [load_task_data(task, tokenizer, seed).validation.ids.tolist() for seed in range(6)]
    assert {len(ids) for ids in limited} == {2}
    assert len({tuple(sorted(ids)) for ids in limited}) > 1
    task, _ = load(folder, changed(data={"validation_limit": 2}))
    data = load_task_data(task, tokenizer, 0)
    assert (len(data.train), len(data.validation)) == (11, 2)
    assert data.summary.notes[0] == "2 of 5 validation rows are used (validation_limit)"


def test_validation_is_limited_by_default(folder: Path) -> None:
    write_labels(folder, ["good", "bad"] * 11_000)
    task, model = load(folder, BASE)
    assert task.validation_limit == 5_000
    data = load_task_data(task, load_pretrained(model, task, 0).tokenizer, 0)
    assert (len(data.train), len(data.validation), len(data.test)) == (12_320, 5_000, 4_400)
    assert "5,000 of 5,280 validation rows are used (validation_limit)" in data.summary.notes
    assert load(folder, changed(data={"validation_limit": 6_000}))[0].validation_limit == 6_000


def test_labels_may_be_numbers(folder: Path) -> None:
    write_labels(folder, ["3", "1", "2"] * 7)
    assert load(folder, changed(data={"labels": [3, 1, 2]}))[0].data.label_names == ("3", "1", "2")
    write_labels(folder, ["true", "false"] * 10)
    assert load(folder, changed(data={"labels": [True, False]}))[0].data.label_names == ("true", "false")
    with pytest.raises(UserError, match=r"labels must be a list of texts or numbers, not 3$"):
        load(folder, changed(data={"labels": 3}))


def test_paths_may_begin_with_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    task, model = load(folder, changed(data={"train": "~/rows.csv"}, model={"folder": "~/my model"}))
    assert task.data.local_files["train"] == str(folder / "rows.csv")
    assert model.local_folder == str(folder / "my model")
    with pytest.raises(UserError, match=r"\[data\]: train = '~nobody-here/rows\.csv': "):
        load(folder, changed(data={"train": "~nobody-here/rows.csv"}))


@pytest.mark.parametrize("path", [r"C:\Users\me\rows.csv", r"C:\data\rows.csv", r"C:\temp\new.csv"])
def test_windows_path_in_double_quotes_gets_a_remedy(path: str, folder: Path) -> None:
    text = toml(BASE).replace('"rows.csv"', f'"{path}"')
    (folder / "own-task.toml").write_text(text)
    with pytest.raises(UserError, match=r"; write a Windows path in single quotes, such as 'C:\\data") as error:
        load_user_task(folder / "own-task.toml")
    assert "\n" not in str(error.value)


def test_keys_of_the_file_format_are_used(folder: Path) -> None:
    rows = [f"'caf\u00e9 {i}^ ~'ba~''^{label}" for i, label in enumerate(["good", "bad"] * 10)]
    text = "review^sentiment\n" + "\n".join(rows).replace("'", '"')
    (folder / "rows.csv").write_bytes(text.encode("cp1252"))
    form = {"separator": "^", "escape": "~", "encoding": "cp1252", "quoting": True, "drop_empty": True}
    task, model = load(folder, changed(data=form))
    data = load_task_data(task, load_pretrained(model, task, 0).tokenizer, 0)
    assert data.n_rows == (16, 4)
    assert (task.data.label_names, task.data.drop_empty) == (("bad", "good"), True)
