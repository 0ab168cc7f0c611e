"""Sources of rows, and the messages for rows that are missing or damaged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasbench.data.sources import read_rows
from nasbench.data.splits import load_task_data
from nasbench.declarations.task import DataSource, Task
from nasbench.errors import UserError
from nasbench.plugins import registry
from nasbench.testing.models import tiny_bert
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, pair

ROWS = {"first": ["ba be", "bi, bo"], "second": ["da", 'de "di"\ndo'], "label": [0, 1]}


def local(task: Task = TINY_PAIR, **files: Path) -> Task:
    data = dataclasses.replace(task.data, generator=None, local_files={k: str(v) for k, v in files.items()})
    return dataclasses.replace(task, data=data)


def in_folder(task: Task = TINY_PAIR) -> Task:
    data = dataclasses.replace(task.data, generator=None, folder="own", repository="someone/own")
    return dataclasses.replace(task, data=data)


def write(folder: Path, train: dict[str, Any], test: dict[str, Any] | None = None) -> None:
    (folder / "own").mkdir()
    pq.write_table(pa.table(train), folder / "own" / "train.parquet")
    pq.write_table(pa.table(test or ROWS), folder / "own" / "validation.parquet")


def write_file(path: Path) -> Path:
    """Write the rows in the format that the suffix names."""
    rows = [dict(zip(ROWS, values, strict=True)) for values in zip(*ROWS.values(), strict=True)]
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.table(ROWS), path)
        case ".json":
            path.write_text(json.dumps(rows))
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".csv":
            path.write_text('label,first,second\n0,ba be,da\n1,"bi, bo","de ""di""\ndo"\n')
        case ".tsv":
            path.write_text('"first"\t"second"\t"label"\nba be\tda\t0\nbi, bo\t"de ""di""\ndo"\t1\n')
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_all_file_formats_give_the_same_rows(suffix: str, tmp_path: Path) -> None:
    file = write_file(tmp_path / f"rows.{suffix}")
    reference = write_file(tmp_path / "reference.parquet")
    (rows, _), (due, _) = (
        read_rows(local(train=file, test=file), None),
        read_rows(local(train=reference, test=file), None),
    )
    assert rows.sha256 == due.sha256
    assert sorted(zip(*rows.texts, rows.labels.tolist(), strict=True)) == sorted(zip(*ROWS.values(), strict=True))


def test_csv_text_columns_of_numbers_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("first,second,label\n007,1e3,0\n2,3,1\n")
    rows, _ = read_rows(local(train=tmp_path / "rows.csv", test=tmp_path / "rows.csv"), None)
    assert set(rows.texts[0]) == {"007", "2"}


def test_a_fifth_of_the_rows_becomes_the_test_without_a_test_file(tmp_path: Path) -> None:
    pq.write_table(pa.table(pair("train")), tmp_path / "a.parquet")
    backwards = {name: values[::-1] for name, values in pair("train").items()}
    pq.write_table(pa.table(backwards), tmp_path / "b.parquet")
    train, test = read_rows(local(train=tmp_path / "a.parquet"), None)
    assert (len(train), len(test)) == (77, 19)
    rows = [*zip(*train.texts, train.labels, strict=True), *zip(*test.texts, test.labels, strict=True)]
    assert sorted(rows) == sorted(zip(*pair("train").values(), strict=True))
    # The fifth does not depend on the order of the rows, and hence not on the data seed.
    assert read_rows(local(train=tmp_path / "b.parquet"), None)[1].sha256 == test.sha256


def test_data_folder_is_read_from_the_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ROWS)
    monkeypatch.setenv("NASBENCH_DATA_DIR", str(tmp_path))
    assert len(read_rows(in_folder(), None)[0]) == 2
    monkeypatch.setenv("NASBENCH_DATA_DIR", "/nowhere")
    assert len(read_rows(in_folder(), tmp_path)[0]) == 2  # the argument takes precedence
    with pytest.raises(UserError, match="no data folder /nowhere; name the folder"):
        read_rows(in_folder(), None)


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        (TINY_PAIR, {"second": None}, r"train\.parquet: no column 'second'; its columns are first, label$"),
        (TINY_PAIR, {"label": [0, 2]}, r"train\.parquet, column 'label': label 2 of row 1 is outside 0 to 1$"),
        (TINY_PAIR, {"label": [-1, 0]}, r"column 'label': label -1 of row 0 is outside 0 to 1$"),
        (TINY_PAIR, {"label": ["no", "yes"]}, r"column 'label': labels must be integers 0 to 1, not string$"),
        (TINY_PAIR, {"label": [0.0, 1.0]}, r"labels must be integers 0 to 1, not double$"),
        (TINY_PAIR, {"label": [0, None]}, r"column 'label': row 1 has no label; remove it$"),
        (TINY_PAIR, {"first": ["ba", None]}, r"column 'first': row 1 is empty; remove it$"),
        (TINY_PAIR, {"first": [1, 2]}, r"column 'first': must hold text, not int64$"),
        (TINY_PAIR, {"first": [], "second": [], "label": []}, r"train\.parquet: has no rows$"),
        (TINY_REGRESSION, {"label": [0.5, 5.5]}, r"label 5\.5 of row 1 is outside 0 to 5$"),
        (TINY_REGRESSION, {"label": [0.5, float("nan")]}, r"label nan of row 1 is outside 0 to 5$"),
        (TINY_REGRESSION, {"label": ["a", "b"]}, r"label 'a' of row 0 is not a number; a regression needs"),
        (TINY_CHOICE, {}, r"no column 'start'; its columns are first, second, label$"),
    ],
)
def test_error_names_the_row_or_column_that_does_not_fit(
    task: Task, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    rows = {name: values for name, values in {**ROWS, **change}.items() if values is not None}
    write(tmp_path, rows)
    with pytest.raises(UserError, match=message) as error:
        read_rows(in_folder(task), tmp_path)
    assert "\n" not in str(error.value)


def test_regression_accepts_integer_labels(tmp_path: Path) -> None:
    write(tmp_path, {**ROWS, "label": [0, 5]})
    rows, _ = read_rows(in_folder(TINY_REGRESSION), tmp_path)
    assert rows.labels.dtype.name == "float32"
    assert sorted(rows.labels) == [0.0, 5.0]


@pytest.mark.parametrize("kept", [0, 10, 400])
def test_error_names_a_truncated_parquet_file(kept: int, tmp_path: Path) -> None:
    write(tmp_path, pair("train"))
    path = tmp_path / "own" / "train.parquet"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"train\.parquet: cannot be read as parquet; replace it \(.*\)$") as error:
        read_rows(in_folder(), tmp_path)
    assert "\n" not in str(error.value)


def test_error_names_a_parquet_file_with_damaged_contents(tmp_path: Path) -> None:
    write(tmp_path, pair("train"))
    path = tmp_path / "own" / "train.parquet"
    contents = bytearray(path.read_bytes())
    contents[4:120] = bytes(116)
    path.write_bytes(contents)
    with pytest.raises(UserError, match=r"train\.parquet"):
        read_rows(in_folder(), tmp_path)


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("rows.json", "[{", r"rows\.json: cannot be read as json; replace it"),
        ("rows.jsonl", '{"first": "a"}\n[1]\n', r"it must be a list of objects, one per row, with named columns"),
        (
            "rows.json",
            '{\n"first": ["a"],\n"second": ["b"], "label": [0]}',
            r"it must be a list of objects, one per row",
        ),
        (
            "rows.json",
            '{"first": {"0": "a"}, "second": {"0": "b"}, "label": {"0": 1}}',
            r"each row needs one value of 'first', not",
        ),
        ("rows.json", '[{"first": "a", "second": "b", "label": "x"}, {"label": 1}]', r"\(column 'label': .*\)$"),
        ("rows.json", "[]", r"rows\.json: cannot be read as json; replace it \(it has no rows\)$"),
        ("rows.csv", "first,second,label\na,b\n", r"rows\.csv: cannot be read as csv"),
        ("rows.csv", "", r"rows\.csv: cannot be read as csv"),
        ("rows.txt", "a b", r"rows\.txt: data files end in \.csv, \.tsv, \.json, \.jsonl, \.ndjson, \.parquet"),
    ],
)
def test_error_names_a_user_file_that_cannot_be_read(name: str, contents: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(contents)
    with pytest.raises(UserError, match=message) as error:
        read_rows(local(train=tmp_path / name), None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl"])
def test_byte_order_mark_is_ignored(suffix: str, tmp_path: Path) -> None:
    path = write_file(tmp_path / f"rows.{suffix}")
    due, _ = read_rows(local(train=path, test=path), None)
    path.write_bytes("\ufeff".encode() + path.read_bytes())
    assert read_rows(local(train=path, test=path), None)[0].sha256 == due.sha256


def test_csv_field_may_be_larger_than_a_block_of_arrow(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("first,second,label\n" + f"{'ba ' * 1_000_000},x,0\nbe,y,1\n" * 2)
    rows, _ = read_rows(local(train=path, test=path), None)
    assert max(map(len, rows.texts[0])) == 3_000_000


def test_columns_that_are_not_needed_may_hold_anything(tmp_path: Path) -> None:
    rows = [{"first": "ba", "second": "bi", "label": i % 2, "id": ["x", 1, {}][i % 3]} for i in range(9)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    # Arrow infers the types of a CSV file from the first megabyte.
    lines = [f"ba,bi,{i % 2},{i if i < 200_000 else 'x'}\n" for i in range(200_010)]
    (tmp_path / "rows.csv").write_text("first,second,label,id\n" + "".join(lines))
    for name, n in (("rows.json", 9), ("rows.csv", 200_010)):
        assert len(read_rows(local(train=tmp_path / name, test=tmp_path / name), None)[0]) == n


def test_json_lines_may_hold_any_white_space(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = json.dumps({"first": "ba\u2028be\x85", "second": "bi", "label": 0}, ensure_ascii=False)
    path.write_text(f"{row}\r\n\r\n" * 3, encoding="utf-8", newline="")
    assert read_rows(local(train=path, test=path), None)[0].texts[0] == ["ba\u2028be\x85"] * 3


def test_error_for_a_missing_file_names_the_remedy(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    (tmp_path / "own" / "validation.parquet").unlink()
    with pytest.raises(
        UserError, match=r"no file .*own/validation\.parquet, the test rows of task 'tiny-pair'; put it"
    ):
        read_rows(in_folder(), tmp_path)
    with pytest.raises(UserError, match=r"no data file .*none\.csv$"):
        read_rows(local(train=tmp_path / "none.csv"), None)


@pytest.mark.parametrize(("name", "file"), [("wikitext2", "imdb/train.parquet"), ("piqa", "piqa/validation.parquet")])
def test_no_error_sends_to_a_hub_that_has_no_such_task(name: str, file: str, tmp_path: Path) -> None:
    task = registry.tasks()[name]
    with pytest.raises(UserError, match=rf"no file .*/{file}, the train rows of task '{name}'; put it there$"):
        read_rows(task, tmp_path)
    with pytest.raises(UserError, match=rf"they are on no hub; set --data-dir or .* to a folder with {file}$"):
        read_rows(task, None)


@pytest.mark.parametrize("name", ["rte", "mrpc", "stsb", "cola", "sst2", "qnli", "imdb", "swag"])
def test_hub_request_names_the_pinned_revision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    task = registry.tasks()[name]
    asked = []

    def stand_in(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        columns = {column: ["x", "y"] for column in task.data.text_columns}
        return datasets.Dataset.from_dict({**columns, "label": [0, 1], "idx": [0, 1]})

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    monkeypatch.setattr("nasbench.data.hub._reachable", lambda _: True)
    train, test = read_rows(task, None)
    assert (len(train), len(test)) == (2, 2)
    source = {
        "swag": ("allenai/swag", "regular", "dc48148372b3853a9c7bae7bb06c161b46d8364a"),
        "imdb": ("stanfordnlp/imdb", "plain_text", "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"),
    }.get(name, ("nyu-mll/glue", name, "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"))
    splits = ("train", "test" if name == "imdb" else "validation")
    assert asked == [(source[:2], {"revision": source[2], "split": split}) for split in splits]


@pytest.mark.parametrize("task", [TINY_PAIR, TINY_REGRESSION], ids=lambda task: task.name)
@pytest.mark.parametrize("text", ["", " ", None])
def test_rows_without_a_text_are_errors_in_a_users_data_set_on_the_hub(
    task: Task, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    columns: dict[str, Any] = {name: ["ba", text] for name in task.data.text_columns}
    rows = datasets.Dataset.from_dict({**columns, "label": [0, 1]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)
    monkeypatch.setattr("nasbench.data.hub._reachable", lambda _: True)
    task = dataclasses.replace(task, data=dataclasses.replace(task.data, generator=None, repository="owner/reviews"))
    with pytest.raises(UserError, match=r"row 1 is empty; remove it, or set drop_empty = true in \[data\]$"):
        read_rows(task, None)
    kept, _ = read_rows(dataclasses.replace(task, data=dataclasses.replace(task.data, drop_empty=True)), None)
    assert kept.texts[0] == ["ba"]


def test_load_dataset_gives_the_same_data_as_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses the real ``load_dataset`` with a local repository."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub cache")
    write(tmp_path, pair("train"), pair("test"))
    from_folder = in_folder()
    data = dataclasses.replace(from_folder.data, repository=str(tmp_path / "own"), folder=None)
    from_hub = dataclasses.replace(from_folder, data=data)
    _, tokenizer = tiny_bert()
    assert load_task_data(from_hub, tokenizer, 0).sha256 == load_task_data(from_folder, tokenizer, 0, tmp_path).sha256


@pytest.mark.parametrize("offline", [True, False], ids=["HF_HUB_OFFLINE", "no network"])
def test_error_without_network_and_cache_names_three_remedies(offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("nasbench.data.hub._reachable", lambda _: False)
    task = in_folder()
    task = dataclasses.replace(task, data=dataclasses.replace(task.data, repository="nobody/nothing"))
    with pytest.raises(UserError) as error:
        read_rows(task, None)
    text = str(error.value)
    assert "\n" not in text
    for remedy in ("hub cannot be reached", "nobody/nothing", "--data-dir", "NASBENCH_DATA_DIR", "--task demo"):
        assert remedy in text
    assert constants.HF_HUB_OFFLINE is datasets.config.HF_HUB_OFFLINE is offline


def test_error_for_a_task_without_a_source() -> None:
    task = dataclasses.replace(TINY_PAIR, data=DataSource(("first",)))
    with pytest.raises(UserError, match="names no source of data"):
        read_rows(task, None)
