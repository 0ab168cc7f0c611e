"""``nasbench predict``: class names and probabilities for the rows of a file, in their order."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
import transformers
from click.testing import CliRunner

from nasbench.cli.main import cli
from nasbench.errors import UserError
from nasbench.export.folder import export
from nasbench.export.predict import predict
from nasbench.plugins.user_task import load_user_task
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA, save_tiny
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_SINGLE

RunOf = Callable[..., Path]
CONFIG = [2, 20, 2]
TEXTS = ["ba be", "bi", "da de di do ga", 'ko, "ki"', ""]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def spam(tmp_path_factory: pytest.TempPathFactory, run_of: RunOf) -> Path:
    """An exported network of a user's own task."""
    folder = tmp_path_factory.mktemp("spam")
    save_tiny(TINY_BERT, TINY_SINGLE, folder / "model")
    (folder / "rows.csv").write_text("message,kind\n" + "ba be,spam\nbi da,ham\nko,ham\n" * 8)
    (folder / "spam.toml").write_text(
        '[data]\ntrain = "rows.csv"\ntext = "message"\nlabel = "kind"\n[model]\nfolder = "model"\n'
    )
    task, model = load_user_task(folder / "spam.toml")
    export(run_of([CONFIG], space="small", task=task, model=model), folder / "out", 1.0)
    return folder / "out"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_predictions_are_those_of_transformers(suffix: str, spam: Path, tmp_path: Path) -> None:
    file = tmp_path / f"new.{suffix}"
    if suffix == "jsonl":
        lines = [f'{{"id": "0{i}", "message": {text!r}}}'.replace("'", '"') for i, text in enumerate(TEXTS[:3])]
        file.write_text("\n".join(lines) + "\n")
    else:
        separator = "," if suffix == "csv" else "\t"
        quoted = ['"' + text.replace('"', '""') + '"' if suffix == "csv" else text for text in TEXTS]
        lines = [separator.join(("id", "message")), *(f"0{i}{separator}{text}" for i, text in enumerate(quoted))]
        file.write_text("\n".join(lines) + "\n")
    done = CliRunner().invoke(cli, ["predict", str(spam), str(file)], catch_exceptions=False)
    found = rows_of(tmp_path / "new-predictions.csv")
    texts = [row["message"] for row in found]
    assert texts == (TEXTS[:3] if suffix == "jsonl" else TEXTS)
    assert [row["id"] for row in found] == [f"0{i}" for i in range(len(found))]
    n_ham = sum(row["prediction"] == "ham" for row in found)
    assert f"{len(found)} rows (ham {n_ham}, spam {len(found) - n_ham})" in done.output
    auto = transformers.AutoModelForSequenceClassification.from_pretrained(spam, trust_remote_code=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(spam, trust_remote_code=True)
    for row, text in zip(found, texts, strict=True):
        with torch.no_grad():
            expected = auto(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0]
        assert float(row["probability_ham"]) == pytest.approx(float(expected[0]), abs=1e-5)
        assert float(row["probability_spam"]) == pytest.approx(float(expected[1]), abs=1e-5)
        assert row["prediction"] == ("ham", "spam")[int(expected.argmax())]


@pytest.mark.parametrize("model", [TINY_BERT, TINY_ROBERTA], ids=lambda model: model.name)
def test_every_kind_of_task_predicts(model: Any, run_of: RunOf, tmp_path: Path) -> None:
    for task, names in (
        (TINY_PAIR, ["0", "1"]),
        (TINY_REGRESSION, []),
        (TINY_CHOICE, ["0", "1", "2", "3"]),
    ):
        out, columns = tmp_path / task.name, task.data.text_columns
        export(run_of([CONFIG], space="small", task=task, model=model), out, 1.0)
        file = tmp_path / f"{task.name}.csv"
        file.write_text(
            ",".join(columns)
            + "\n"
            + "\n".join(",".join("ba be " + "di " * (i + j) for j in range(len(columns))) for i in range(3))
        )
        found = predict(out, file).table
        values = found.column("prediction").to_pylist()
        assert len(values) == 3
        if not names:
            assert all(isinstance(value, float) for value in values)
            continue
        shares = [found.column(f"probability_{name}").to_pylist() for name in names]
        for row, value in zip(zip(*shares, strict=True), values, strict=True):
            assert sum(row) == pytest.approx(1)
            assert names[row.index(max(row))] == value


def test_predict_names_the_mistake(spam: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("text,n\nba,1\n")
    with pytest.raises(UserError, match=r"no column 'message'; its columns are text, n; name the columns .* --text$"):
        predict(spam, file)
    assert predict(spam, file, ["text"]).table.column_names[:2] == ["text", "n"]
    with pytest.raises(UserError, match=r"no data file .*none\.csv"):
        predict(spam, tmp_path / "none.csv")
    with pytest.raises(UserError, match="no exported network"):
        predict(tmp_path, file)
    (tmp_path / "new-predictions.csv").write_text("mine")
    done = CliRunner().invoke(cli, ["predict", str(spam), str(file), "--text", "text"])
    assert isinstance(done.exception, UserError)
    assert "new-predictions.csv exists already; name another file with --out" in str(done.exception)
    assert (tmp_path / "new-predictions.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("new.csv", b"message,n,n,,\nba be,1,02,,\n"),
        ("new.tsv", b"message\tprediction\tprediction\nba be\t1\t2\n"),
        ("new.jsonl", b'{"message": "ba be", "n": 1}\n{"message": "bi", "n": "x"}\n{"message": "bi", "n": null}\n'),
        ("new.json", b'[{"message": "ba be", "n": 123456789012345678901234567890}]'),
    ],
)
def test_columns_beside_the_texts_may_hold_anything(spam: Path, tmp_path: Path, name: str, contents: bytes) -> None:
    (tmp_path / name).write_bytes(contents)
    done = CliRunner().invoke(cli, ["predict", str(spam), str(tmp_path / name)], catch_exceptions=False)
    assert "left out" not in done.output
    with (tmp_path / "new-predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    beside = {"new.csv": ["n", "n", "", ""], "new.tsv": []}.get(name, ["n"])
    assert header == ["message", *beside, "prediction", "probability_ham", "probability_spam"]
    expected = {"new.csv": [["1", "02", "", ""]], "new.tsv": [[]], "new.jsonl": [["1"], ["x"], [""]]}
    values = [row[1 : 1 + len(beside)] for row in rows]
    assert values == expected.get(name, [["123456789012345678901234567890"]])


@pytest.mark.parametrize(("file", "out"), [("new.csv", "new.csv"), ("new.csv", "link.csv"), ("n*.csv", "new.csv")])
def test_the_texts_are_never_overwritten(spam: Path, tmp_path: Path, file: str, out: str) -> None:
    (tmp_path / "new.csv").write_text("message\nba be\n")
    (tmp_path / "link.csv").symlink_to("new.csv")
    arguments = ["predict", str(spam), str(tmp_path / file), "--out", str(tmp_path / out)]
    failed = CliRunner().invoke(cli, arguments).exception
    assert isinstance(failed, UserError)
    assert str(failed) == f"--out {tmp_path / out} would overwrite the texts; name another file"
    assert (tmp_path / "new.csv").read_text() == "message\nba be\n"
    (tmp_path / "other.csv").write_text("anything")
    CliRunner().invoke(cli, [*arguments[:-1], str(tmp_path / "other.csv")], catch_exceptions=False)
    assert [*rows_of(tmp_path / "other.csv")[0]][:2] == ["message", "prediction"]


def test_columns_that_no_cell_can_hold_are_named(spam: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"message": "ba be", "tags": ["a", "b"], "by": {"name": "ko"}}\n')
    table = pa.table({"message": ["ba be"], "picture": [b"\xff\x00"], "tags": [["a"]], "n": [1]})
    pyarrow.parquet.write_table(table, tmp_path / "pictures.parquet")
    for name, left_out, kept in (("rows.jsonl", "tags, by", []), ("pictures.parquet", "picture, tags", ["n"])):
        done = CliRunner().invoke(cli, ["predict", str(spam), str(tmp_path / name)], catch_exceptions=False)
        assert f"left out, because a cell cannot hold their values: {left_out}\n" in done.output
        (row,) = rows_of(tmp_path / f"{name.partition('.')[0]}-predictions.csv")
        assert [*row] == ["message", *kept, "prediction", "probability_ham", "probability_spam"]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("message\nb\u00e4\n".encode("latin-1"), r"is not encoded in UTF-8; save it in UTF-8 \("),
        ("message\nba\n".encode("utf-16-le"), "holds zero bytes, so it is not in UTF-8; save it in UTF-8$"),
        (b'message,n\n"a \\"b\\" c, d",1\n', "put cells that hold the separator in quotes, and double the quotes"),
        (b"message,message\nba,be\n", "two columns are called 'message'; rename one"),
    ],
)
def test_remedies_are_for_the_file(spam: Path, tmp_path: Path, contents: bytes, message: str) -> None:
    """There is no task file in which a separator or an encoding could be named."""
    (tmp_path / "new.csv").write_bytes(contents)
    with pytest.raises(UserError, match=message) as caught:
        predict(spam, tmp_path / "new.csv")
    assert "[data]" not in str(caught.value)
