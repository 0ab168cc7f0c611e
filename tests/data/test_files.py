"""Users' files as other programs write them: separators, quotes, encodings, compressed files, folders."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from nasbench.data.files import read_file
from nasbench.data.sources import Rows, read_rows, read_validation_rows
from nasbench.declarations.task import DataSource, FileFormat, Task
from nasbench.errors import UserError
from nasbench.testing.tasks import TINY_PAIR, TINY_REGRESSION

SINGLE = dataclasses.replace(TINY_PAIR, data=DataSource(("text",), "label", label_names=("ham", "spam")), max_length=16)
TEXTS, LABELS = ["caf\u00e9, ol\u00e9", 'say "ba"', "da; de | di"], ["ham", "spam", "ham"]


def own(path: Path, task: Task = SINGLE, drop_empty: bool = False, **form: Any) -> Task:
    data = dataclasses.replace(
        task.data,
        generator=None,
        local_files={"train": str(path), "test": str(path)},
        file_format=FileFormat(**form),
        drop_empty=drop_empty,
    )
    return dataclasses.replace(task, data=data)


def read(path: Path, task: Task = SINGLE, drop_empty: bool = False, **form: Any) -> Rows:
    return read_rows(own(path, task, drop_empty, **form), None)[0]


def pairs(rows: Rows) -> list[tuple[str, int]]:
    return sorted(zip(rows.texts[0], rows.labels.tolist(), strict=True))


DUE = sorted(zip(TEXTS, [0, 1, 0], strict=True))


def quoted(separator: str) -> str:
    rows = [
        f'"{text.replace(chr(34), chr(34) * 2)}"{separator}{label}' for text, label in zip(TEXTS, LABELS, strict=True)
    ]
    return "\n".join([f"text{separator}label", *rows]) + "\n"


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_separator_is_found_in_the_header(separator: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(quoted(separator))
    form = {"quoting": True} if separator == "\t" else {}
    rows = read(tmp_path / name, **form)
    assert pairs(rows) == DUE
    assert rows.notes == ()


def test_declared_separator_takes_precedence(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text^label\nba, be^ham\nbi^spam\n")
    assert pairs(read(path, separator="^")) == [("ba, be", 0), ("bi", 1)]
    with pytest.raises(UserError, match=r"rows\.csv: its header is one column .*for example separator = '\^'$"):
        read(path)


def test_quotes_of_tab_separated_texts_are_text(tmp_path: Path) -> None:
    """With quoting, every third row would swallow the next ones: 180 rows would become 90."""
    path = tmp_path / "rows.tsv"
    path.write_text("label\ttext\n" + 'ham\tplain words\nspam\t"never closed\nham\tmore words\n' * 60)
    rows = read(path)
    assert len(rows) == 180
    assert pairs(rows)[0] == ('"never closed', 1)
    assert rows.notes == ()
    (note,) = read(path, quoting=True).notes
    assert note == (
        "rows.tsv: 30 cells hold what looks like whole rows, as after a quote that is never closed; if so, set quoting "
        "= false in [data] (the first cell begins with 'never closed ham more words ham plain wo')"
    )


def test_csv_with_an_open_quote_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("label,text\n" + 'ham,plain words\nspam,"never closed\nham,more words\n' * 60)
    assert len(read(path)) == 90
    assert "30 cells hold what looks like whole rows" in read(path).notes[0]
    rows = read(path, quoting=False)
    assert len(rows) == 180
    path.write_text('label,text\nham,"two lines,\nwith a comma, and so on"\nspam,ba\n')
    rows = read(path)
    assert len(rows) == 2
    assert rows.notes == ()


def test_enclosing_quotes_of_a_tab_separated_file_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text('text\tlabel\n"ba ""be"""\tham\nbi\tspam\n')
    rows = read(path)
    assert pairs(rows) == [('"ba ""be"""', 0), ("bi", 1)]
    assert rows.notes == (
        "rows.tsv: 1 text is in quotes, and the quotes are read as part of the text; if they only enclose it, set "
        "quoting = true in [data]",
    )
    assert pairs(read(path, quoting=True)) == [('ba "be"', 0), ("bi", 1)]


@pytest.mark.parametrize("suffix", ["csv", "json"])
@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le"])
def test_encoding_is_declared(suffix: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{suffix}"
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    text = quoted(",") if suffix == "csv" else json.dumps(rows, ensure_ascii=False)
    path.write_bytes(text.encode(encoding))
    assert pairs(read(path, encoding=encoding)) == DUE
    if encoding == "cp1252":
        message = (
            rf'rows\.{suffix}: is not encoded in UTF-8; name its encoding in \[data\], for example encoding = "cp12'
        )
        with pytest.raises(UserError, match=message) as error:
            read(path)
        assert "\n" not in str(error.value)
    path.write_bytes(text.encode("cp1252"))
    with pytest.raises(UserError, match=r"is not encoded in ascii; name its encoding"):
        read(path, encoding="ascii")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_byte_order_mark_tells_the_encoding(encoding: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{suffix}"
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    text = quoted(",") if suffix == "csv" else "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(text.encode(encoding))
    assert pairs(read(path)) == DUE


def test_escape_is_declared(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('text,label\n"say \\"ba\\", or be",ham\nbi,spam\n')
    assert pairs(read(path, escape="\\")) == [("bi", 1), ('say "ba", or be', 0)]
    with pytest.raises(UserError, match=r"escaped by a backslash, set escape = '\\' in \[data\] \(CSV parse error"):
        read(path)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "ndjson", "json", "parquet", "arrow", "feather"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_gives_the_same_rows(kind: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / f"rows.v2.{kind}"
    table = pa.table({"text": TEXTS, "label": LABELS})
    rows = table.to_pylist()
    match kind:
        case "csv":
            path.write_text(quoted(","))
        case "tsv":
            path.write_text("text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in rows))
        case "jsonl" | "ndjson":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case "json":
            path.write_text(json.dumps(rows))
        case "parquet":
            pq.write_table(table, path)
        case "arrow":
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
        case "feather":
            pyarrow.feather.write_feather(table, path)
    if packed:
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / f"{path.name}.gz"
    assert pairs(read(path)) == DUE


def test_json_that_is_nested_too_deep_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"rows\.json: cannot be read as json; replace it \(maximum recursion depth"):
        read_file(tmp_path / "rows.json", ["text", "label"], [], FileFormat())


@pytest.mark.parametrize("kept", [5, 40])
def test_error_names_a_damaged_gz_file(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(quoted(",").encode())[:kept])
    with pytest.raises(UserError, match=r"rows\.csv\.gz: cannot be read as csv; replace it"):
        read(path)


def test_headers_may_have_blanks_around_them(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id, text , label\n1,007,ham\n2,1e3,spam\n")
    (tmp_path / "rows.json").write_text(
        json.dumps([{" text": "007", "label ": "ham"}, {" text": "1e3", "label ": "spam"}])
    )
    for name in ("rows.csv", "rows.json"):
        assert pairs(read(tmp_path / name)) == [("007", 0), ("1e3", 1)]


@pytest.mark.parametrize(
    "texts",
    [
        pa.array(TEXTS).dictionary_encode(),
        pa.array(TEXTS, pa.string_view()),
        pa.array(TEXTS, pa.large_string()),
        pa.array([text.encode() for text in TEXTS], pa.binary()),
        pa.array([text.encode() for text in TEXTS], pa.large_binary()),
        pa.array([text.encode() for text in TEXTS], pa.binary_view()),
    ],
    ids=lambda array: str(array.type),
)
def test_texts_may_have_any_text_type(texts: pa.Array, tmp_path: Path) -> None:
    labels = pa.array(LABELS).cast(texts.type) if "binary" not in str(texts.type) else pa.array(LABELS)
    with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as file:
        table = pa.table({"text": texts, "label": labels})
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    assert pairs(read(tmp_path / "rows.arrow")) == DUE


def test_bytes_must_be_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [b"\xff\xfe\xfa"], "label": ["ham"]}), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"column 'text': holds bytes that are not text in UTF-8$"):
        read(tmp_path / "rows.parquet")


@pytest.mark.parametrize("targets", [[Decimal("0.5"), Decimal("2.25")], ["0.5", " 2.25"], [0.5, 2.25]])
def test_targets_may_be_decimals_or_texts(targets: list[Any], tmp_path: Path) -> None:
    table = pa.table({"first": ["a", "b"], "second": ["c", "d"], "label": targets})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert sorted(read(tmp_path / "rows.parquet", TINY_REGRESSION).labels.tolist()) == [0.5, 2.25]


@pytest.mark.parametrize("targets", [["0,5", "1"], [datetime.date(2020, 1, 1)] * 2])
def test_error_for_targets_that_are_not_numbers(targets: list[Any], tmp_path: Path) -> None:
    table = pa.table({"first": ["a", "b"], "second": ["c", "d"], "label": targets})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"column 'label': .*a regression needs numbers"):
        read(tmp_path / "rows.parquet", TINY_REGRESSION)


def test_empty_rows_are_counted_and_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nba,ham\n ,ham\nbe,\nbi,spam\n,\nbo,NA\n")
    with pytest.raises(
        UserError, match=r"2 rows are empty, the first is row 1; remove them, or set drop_empty = true in"
    ):
        read(path)
    rows = read(path, drop_empty=True)
    assert pairs(rows) == [("ba", 0), ("bi", 1)]
    assert rows.notes == ("rows.csv: 4 of 6 rows dropped (drop_empty), 2 without a text and 3 without a label",)
    path.write_text("text,label\n ,ham\n")
    with pytest.raises(UserError, match=r"rows\.csv: no row has both a text and a label$"):
        read(path, drop_empty=True)


def test_drop_empty_keeps_a_pair_with_one_text(tmp_path: Path) -> None:
    table = pa.table({"first": ["a", None, None], "second": ["b", "c", None], "label": [0, 1, 0]})
    pq.write_table(table, tmp_path / "rows.parquet")
    rows = read(tmp_path / "rows.parquet", TINY_PAIR, drop_empty=True)
    assert sorted(zip(*rows.texts, rows.labels.tolist(), strict=True)) == [("", "c", 1), ("a", "b", 0)]
    with pytest.raises(UserError, match=r"2 rows are empty, the first is row 1; remove them, or set drop_empty"):
        read(tmp_path / "rows.parquet", TINY_PAIR)


@pytest.mark.parametrize("joint", ["ham,spam", "spam; ham", "['ham', 'spam']", "ham|spam"])
def test_several_labels_in_a_row_are_refused(joint: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "ba", "label": label} for label in ("ham", "spam", joint)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        UserError, match=r"of row 2 looks like several labels, and a task with several labels a row is not"
    ):
        read(path)
    listed = dataclasses.replace(SINGLE.data, label_names=("ham", "spam", joint))
    assert pairs(read(path, dataclasses.replace(SINGLE, data=listed, n_labels=3))) == [("ba", 0), ("ba", 1), ("ba", 2)]


@pytest.mark.parametrize("suffix", ["parquet", "json"])
def test_a_list_of_labels_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{suffix}"
    table = pa.table({"text": ["ba", "be"], "label": [["ham"], ["ham", "spam"]]})
    if suffix == "json":
        path.write_text(json.dumps(table.to_pylist()))
    else:
        pq.write_table(table, path)
    with pytest.raises(UserError, match=r"a task with several labels a row is not supported"):
        read(path)


def test_validation_rows_come_from_their_own_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(quoted(","))
    (tmp_path / "dev.csv").write_text("text,label\nbo,spam\n")
    task = own(tmp_path / "train.csv")
    assert read_validation_rows(task, None) is None
    files = {**task.data.local_files, "validation": str(tmp_path / "dev.csv")}
    task = dataclasses.replace(task, data=dataclasses.replace(task.data, local_files=files))
    rows = read_validation_rows(task, None)
    assert rows is not None
    assert pairs(rows) == [("bo", 1)]


def test_folder_of_parquet_files_is_read_as_one(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "label": LABELS})
    for i in range(3):
        part = table.slice(i, 1)
        pq.write_table(part.append_column("more", pa.array([[i, "x", 1.5][i]])), tmp_path / f"train-{i}-of-3.parquet")
    assert pairs(read(tmp_path)) == DUE
    assert pairs(read(tmp_path / "train-*.parquet")) == DUE
    pq.write_table(table.slice(0, 1), tmp_path / "test-0-of-1.parquet")
    with pytest.raises(
        UserError, match=r'files of several splits \(test, train\); name those of one split, for example "'
    ):
        read(tmp_path)
    assert pairs(read(tmp_path / "train-*.parquet")) == DUE
    with pytest.raises(UserError, match=r"no data file .*dev-\*\.parquet$"):
        read(tmp_path / "dev-*.parquet")


def test_data_set_of_save_to_disk_is_read(tmp_path: Path) -> None:
    import datasets

    data = datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})
    data.save_to_disk(tmp_path / "one", num_shards=2)
    assert pairs(read(tmp_path / "one")) == DUE
    data.select([2, 0, 1]).save_to_disk(tmp_path / "selected")
    assert pairs(read(tmp_path / "selected")) == DUE
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "both")
    with pytest.raises(UserError, match=r"both: holds several splits \(test, train\); name the folder of one of them$"):
        read(tmp_path / "both")
    assert pairs(read(tmp_path / "both" / "train")) == DUE


def test_folder_of_text_files_has_a_folder_for_each_class(tmp_path: Path) -> None:
    for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True)):
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{i}.txt").write_text(text, encoding="cp1252")
    assert pairs(read(tmp_path, encoding="cp1252")) == DUE
    with pytest.raises(UserError, match=r"a text file is not encoded in UTF-8; name the encoding"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"text files have one text, so text must name one column$"):
        read(tmp_path, TINY_PAIR, encoding="cp1252")


def test_error_for_a_folder_without_data(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r": a folder must hold Parquet files, a data set of save_to_disk, or a folder of"
    ):
        read(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(UserError, match=r": cannot be read; replace it \('_data_files'\)$"):
        read_file(tmp_path, ["text", "label"], [], FileFormat())
