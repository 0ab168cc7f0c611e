"""A user's file that cannot be read as it is: one line names the key of the task file, or what to write instead."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pytest
from support.user_tasks import ROWS, changed, load

from nasbench.data.sources import read_rows
from nasbench.data.splits import load_task_data
from nasbench.errors import UserError
from nasbench.networks.pretrained import load_pretrained

LINES = [("review", "sentiment"), *ROWS]


def _csv(folder: Path, separator: str = ",", encoding: str = "utf-8") -> None:
    (folder / "rows.csv").write_bytes("".join(f"{a}{separator}{b}\n" for a, b in LINES).encode(encoding))


def _message(folder: Path, **data: object) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, changed(data=data))
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def _n_rows(folder: Path, **data: object) -> int:
    return sum(map(len, read_rows(load(folder, changed(data=data))[0], None)))


@pytest.mark.parametrize("separator", ["^", "~", ":"])
def test_unusual_separator_is_named(separator: str, folder: Path) -> None:
    _csv(folder, separator)
    assert _message(folder) == (
        f"rows.csv: its header is one column (review{separator}sentiment) with a comma between cells; name the "
        f"separator in [data], for example separator = '{separator}'"
    )
    assert _n_rows(folder, separator=separator) == len(ROWS)


def test_wrong_separator_is_named(folder: Path) -> None:
    _csv(folder, ";")
    assert _message(folder, separator="|").endswith("with a bar between cells; name the separator in [data], "
                                                    "for example separator = ';'")  # fmt: skip
    assert _n_rows(folder) == len(ROWS)


def test_one_column_without_any_separator_lacks_the_other(folder: Path) -> None:
    (folder / "rows.csv").write_text("review\nba\n")
    assert _message(folder) == "rows.csv: no column 'sentiment'; its columns are review"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_recognised(encoding: str, folder: Path) -> None:
    _csv(folder, encoding=encoding)
    assert _message(folder) == (
        f'rows.csv: holds zero bytes, so it is not in UTF-8; name its encoding in [data]: encoding = "{encoding}"'
    )
    assert _n_rows(folder, encoding=encoding) == len(ROWS)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_byte_order_mark_is_enough(encoding: str, folder: Path) -> None:
    _csv(folder, encoding=encoding)
    assert _n_rows(folder) == len(ROWS)


def test_folder_of_other_files_is_named_by_a_pattern(folder: Path) -> None:
    (folder / "parts").mkdir()
    for name in ("a", "b"):
        (folder / "parts" / f"{name}.csv").write_text("".join(f"{a},{b}\n" for a, b in LINES))
    assert _message(folder, train="parts").endswith('name files of one kind by a pattern, for example "parts/*.csv"')
    assert _n_rows(folder, train="parts/*.csv") == 2 * len(ROWS)
    (folder / "empty").mkdir()
    assert _message(folder, train="empty").endswith("or a folder of .txt files for each class")


def test_damaged_line_of_json_lines_has_its_number(folder: Path) -> None:
    lines = ['{"review": "ba", "sentiment": "good"}', "", '{"review": "bi", "sentiment": }', '{"review": "bo"}']
    (folder / "rows.jsonl").write_text("\n".join(lines))
    assert "(line 3, column 31: Expecting value)" in _message(folder, train="rows.jsonl")


@pytest.mark.filterwarnings("ignore:Feather V1")
def test_old_feather_is_named(folder: Path) -> None:
    table = pa.table({"review": [a for a, _ in ROWS], "sentiment": [b for _, b in ROWS]})
    pyarrow.feather.write_feather(table, folder / "old.feather", version=1)
    assert "it is Feather of version 1; write it in version 2" in _message(folder, train="old.feather")


def test_too_few_groups_are_named(folder: Path) -> None:
    rows = "".join(f"{text},{label},{i % 2}\n" for i, (text, label) in enumerate(ROWS))
    (folder / "rows.csv").write_text("review,sentiment,author\n" + rows)
    task, model = load(folder, changed(data={"group": "author"}))
    with pytest.raises(
        UserError, match=r"too few rows: 10 for train, 0 for validation .* add groups, or leave out group$"
    ):
        load_task_data(task, load_pretrained(model, task, 0).tokenizer, 0)
