"""Rows of a task, wherever they come from: the hub, a folder of Parquet files, a user's own files, a generator.

Whatever the source, rows are checked, and brought into a canonical order: by the hash of their contents. A data set
that is shuffled, or sorted another way, is the same data set.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from nasbench.data.hub import hub_errors, hub_session, reason
from nasbench.declarations.task import DataSource, Task
from nasbench.errors import UserError, first_line

SplitName = Literal["train", "test"]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]

DATA_DIR_VARIABLE = "NASBENCH_DATA_DIR"
_OWN_TEST_FRACTION = 0.2
"""Of a user's only file, where none is named for the test."""
_OWN_TEST_SEED = 20_240_502
"""Which rows become the test is a property of the data: the same for every data seed."""
_NO_LABEL = ("", "nan", "na", "n/a", "null")
"""What stands for a missing label in text, in any case: what spreadsheets and pandas write. ``none`` is a class."""
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0*")
_FRACTION = re.compile(r"[+-]?(\d*\.\d+(e[+-]?\d+)?|\d+e-\d+)", re.IGNORECASE)
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 20, (1 << 31) - 1
"""Bytes of a CSV that Arrow looks at together."""


@dataclass(frozen=True)
class Rows:
    """Labelled texts in canonical order.

    Attributes:
        texts: one list a text column, each ``(n_rows,)``.
        labels: ``(n_rows,)`` int64 classes, or float32 for a regression.
        sha256: of all contents, independent of the order in which the source had them.
    """

    texts: tuple[list[str], ...]
    labels: Labels
    sha256: str

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def in_canonical_order(cls, texts: tuple[list[str], ...], labels: Labels) -> Rows:
        """Sort rows by content hash. Equal rows are interchangeable, so their order does not matter."""
        values = [float(x).hex() for x in labels] if labels.dtype == np.float32 else [str(x) for x in labels]
        digests = [_digest(row) for row in zip(*texts, values, strict=True)]
        order = sorted(range(len(digests)), key=digests.__getitem__)
        total = hashlib.sha256(b"".join(digests[i] for i in order)).hexdigest()
        return cls(
            tuple([column[i] for i in order] for column in texts), labels[np.array(order, dtype=np.int64)], total
        )

    def take(self, indices: npt.NDArray[np.int64]) -> Rows:
        """These rows, again in canonical order."""
        texts = tuple([column[i] for i in indices] for column in self.texts)
        return Rows.in_canonical_order(texts, self.labels[indices])


def read_rows(task: Task, data_dir: Path | None) -> tuple[Rows, Rows]:
    """The train and the test rows of a task.

    Args:
        data_dir: folder with ``<folder>/<split>.parquet``; None asks the environment variable
            ``NASBENCH_DATA_DIR``, and then the hub. Embedded and own data do not need it.

    Raises:
        UserError: one line, for files or columns that are missing or damaged, labels that do not fit the task, or a hub
            that cannot be reached.
    """
    train = _rows(task, "train", data_dir)
    if _own_test_is_missing(task.data):
        order = np.random.default_rng(_OWN_TEST_SEED).permutation(len(train))
        n_test = round(_OWN_TEST_FRACTION * len(train))
        return train.take(order[n_test:]), train.take(order[:n_test])
    return train, _rows(task, "test", data_dir)


def read_columns(
    data: DataSource, name: str, part: SplitName, data_dir: Path | None, *, named_labels: bool
) -> tuple[pa.Table, str]:
    """The text and label columns of one part, unchecked, and the place they come from for messages.

    Args:
        name: of the task.
        named_labels: labels are names, not numbers: those of a CSV are then what is written there, where Arrow would
            make ``01`` a 1 and ``false`` a truth value.

    Raises:
        UserError: one line, if there is no such source, file or column, or it cannot be read.
    """
    columns = [*data.text_columns, data.label_column]
    as_text = columns if named_labels else columns[:-1]
    if data.generator is not None:
        table, place = _generate(data.generator, part), f"generator {data.generator}"
    elif data.local_files:
        path = Path(data.local_files[part])
        table, place = _read_file(path, columns, as_text), str(path)
    elif (folder := _data_dir(data_dir)) is not None and data.folder is not None:
        path = folder / data.folder / f"{_split(data, part)}.parquet"
        if not path.is_file():
            raise UserError(
                f"no file {path}, the {part} rows of task {name!r}; put it there, or leave --data-dir and "
                f"{DATA_DIR_VARIABLE} away to take it from the hub"
            )
        table, place = _read_file(path, columns, as_text), str(path)
    else:
        table, place = _from_hub(data, name, part), f"{data.repository} ({_split(data, part)})"
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise UserError(f"{place}: no column {missing[0]!r}; its columns are {', '.join(table.column_names)}")
    twice = [column for column in columns if table.column_names.count(column) > 1]
    if twice:
        raise UserError(f"{place}: two columns are called {twice[0]!r}; rename one")
    if table.num_rows == 0:
        raise UserError(f"{place}: has no rows")
    return table.select(columns), place


def _rows(task: Task, part: SplitName, data_dir: Path | None) -> Rows:
    table, place = read_columns(task.data, task.name, part, data_dir, named_labels=bool(task.data.label_names))
    texts = tuple(_texts(table.column(name), place, name) for name in task.data.text_columns)
    if task.data.local_files:
        _refuse_blank(task, texts, place)
    return Rows.in_canonical_order(texts, _labels(task, table.column(task.data.label_column), place))


def _texts(column: pa.ChunkedArray, place: str, name: str) -> list[str]:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise UserError(f"{place}, column {name!r}: must hold text, not {column.type}")
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise UserError(f"{place}, column {name!r}: row {row} is empty; remove it")
    texts: list[str] = column.to_pylist()
    return texts


def _refuse_blank(task: Task, texts: tuple[list[str], ...], place: str) -> None:
    """Rows of a user's files without text. One of a pair may be blank: a review without a title."""
    names = task.data.text_columns
    alone = task.kind == "multiple_choice"
    groups = [((name,), (column,)) for name, column in zip(names, texts, strict=True)] if alone else [(names, texts)]
    for group, columns in groups:
        for row, parts in enumerate(zip(*columns, strict=True)):
            if not "".join(parts).strip():
                raise UserError(f"{place}, column {' and '.join(map(repr, group))}: row {row} is empty; remove it")


def _labels(task: Task, column: pa.ChunkedArray, place: str) -> Labels:
    where = f"{place}, column {task.data.label_column!r}"
    if names := task.data.label_names:
        found = class_names(column, where, names)
        unknown = next((row for row, name in enumerate(found) if name not in names), None)
        if unknown is not None:
            raise UserError(f"{where}: label {found[unknown]!r} of row {unknown} is none of {_listed(names)}")
        index = {name: i for i, name in enumerate(names)}
        return np.array([index[name] for name in found], dtype=np.int64)
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise UserError(f"{where}: row {row} has no label; remove it")
    if task.kind == "regression":
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise UserError(f"{where}: a regression needs numbers, not {column.type}")
        with np.errstate(over="ignore"):  # too large a number becomes infinite, and is refused as such
            numbers = column.to_numpy().astype(np.float32)
        low, high = task.data.label_range or (-np.inf, np.inf)
        bad = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= low) & (numbers <= high)))
        if len(bad):
            raise UserError(f"{where}: label {numbers[bad[0]]:g} of row {bad[0]} is outside {low:g} to {high:g}")
        return np.asarray(numbers, dtype=np.float32)
    if not pa.types.is_integer(column.type):
        raise UserError(f"{where}: labels must be integers 0 to {task.n_labels - 1}, not {column.type}")
    classes = column.to_numpy().astype(np.int64)
    bad = np.flatnonzero((classes < 0) | (classes >= task.n_labels))
    if len(bad):
        raise UserError(f"{where}: label {classes[bad[0]]} of row {bad[0]} is outside 0 to {task.n_labels - 1}")
    return np.asarray(classes, dtype=np.int64)


def class_names(column: pa.ChunkedArray, where: str, known: Collection[str] = ()) -> list[str]:
    """The name of each row's class, ``(n_rows,)``: :func:`label_name` of what stands there.

    Args:
        where: file and column, for messages.
        known: names that the user listed: whatever they look like, they are classes.

    Raises:
        UserError: one line, for a row without a label (nothing, NaN, an empty text) or a number with a fraction.
    """
    if pa.types.is_nested(column.type):
        raise UserError(f"{where}: must hold one label a row, not {column.type}")
    names = []
    for row, value in enumerate(column.to_pylist()):
        name = value if value in known else label_name(value)
        if value is None or (name not in known and name.lower() in _NO_LABEL):
            or_list = f" ({value!r}), or list it in labels if it is a class" if isinstance(value, str) and name else ""
            raise UserError(f"{where}: row {row} has no label; remove it{or_list}")
        if name not in known and _FRACTION.fullmatch(name):
            raise UserError(
                f"{where}: label {name} of row {row} is a number with a fraction; did you mean "
                'kind = "regression"? If it is a class, list all of them in labels'
            )
        names.append(name)
    return names


def label_name(value: Any) -> str:
    """How the name of a class is written: trimmed, truth values as in JSON, whole numbers without ``.0``."""
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return match[1] if (match := _WHOLE_NUMBER.fullmatch(text)) else text


def _listed(names: tuple[str, ...]) -> str:
    """Enough names to see what kind they are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _data_dir(data_dir: Path | None) -> Path | None:
    if data_dir is None and (text := os.environ.get(DATA_DIR_VARIABLE)):
        data_dir = Path(text)
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"no data folder {data_dir}; name the one that holds <task>/train.parquet")
    return data_dir


def _split(data: DataSource, part: SplitName) -> str:
    return data.train_split if part == "train" else data.test_split


def _own_test_is_missing(data: DataSource) -> bool:
    return bool(data.local_files) and "test" not in data.local_files


def _generate(generator: str, part: SplitName) -> pa.Table:
    module, function = generator.split(":")
    return pa.table(getattr(importlib.import_module(module), function)(part))


def _read_file(path: Path, columns: list[str], as_text: list[str]) -> pa.Table:
    """A table with the columns of a file.

    Args:
        columns: those that are needed; others may be there in name only.
        as_text: those that a CSV shall not make numbers of.
    """
    if not path.is_file():
        raise UserError(f"no data file {path}")
    kind = path.suffix.lower()[1:]
    try:
        match kind:
            case "parquet":
                return pyarrow.parquet.read_table(path)
            case "csv" | "tsv":
                return _read_csv(path, "\t" if kind == "tsv" else ",", as_text)
            case "json" | "jsonl":
                return _read_json(path, columns)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not encoded in UTF-8, save it so ({error})") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as {kind}, replace it ({first_line(error)})") from error
    raise UserError(f"{path}: data files end in .csv, .tsv, .json, .jsonl or .parquet")


def _read_csv(path: Path, delimiter: str, as_text: list[str]) -> pa.Table:
    contents = path.read_bytes()
    contents.decode("utf-8")
    # Of more than one block Arrow guesses the types by the first, and no cell may be larger than one.
    size = min(max(len(contents), _SMALLEST_BLOCK), _LARGEST_BLOCK)
    # Its threads have no use then, and where an error ended the command soon after, they now and then aborted it.
    return pyarrow.csv.read_csv(
        pa.BufferReader(contents),
        read_options=pyarrow.csv.ReadOptions(block_size=size, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(as_text, pa.string())),
    )


def _read_json(path: Path, columns: list[str]) -> pa.Table:
    """An array of objects, or an object a line. Columns that are not needed may hold anything."""
    text = path.read_text(encoding="utf-8-sig").strip()
    first = text.partition("\n")[0].strip()
    if first.startswith("{") and first.endswith("}"):
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    else:
        rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it must be a list of objects, one a row, with named columns")
    if not rows:
        raise ValueError("it has no rows")
    arrays = {name: pa.nulls(len(rows)) for row in rows for name in row}
    for name in columns:
        if name in arrays:
            values = [row.get(name) for row in rows]
            if any(isinstance(value, (list, dict)) for value in values):
                raise ValueError(f"each row has one {name!r}, a list or object is none")
            try:
                arrays[name] = pa.array(values)
            except (pa.ArrowException, OverflowError) as error:
                raise ValueError(f"column {name!r}: {first_line(error)}") from error
    return pa.table(arrays)


def _from_hub(data: DataSource, name: str, part: SplitName) -> pa.Table:
    if data.repository is None:
        raise UserError(f"task {name!r} names no source of data")
    # Imported here: it costs a second, and only the hub needs it.
    import datasets

    try:
        with hub_session():
            dataset = datasets.load_dataset(
                data.repository, data.configuration, revision=data.revision, split=_split(data, part)
            )
            return dataset.with_format("arrow")[:]
    except (*hub_errors(), datasets.exceptions.DatasetsError) as error:
        local = f"with {data.folder}/{data.train_split}.parquet " if data.folder else ""
        raise UserError(
            f"no {part} rows of task {name!r} ({reason(error)}); three ways: a network that reaches the hub "
            f"({data.repository}), a folder {local}named by --data-dir or {DATA_DIR_VARIABLE}, "
            f"or the embedded task: --task demo"
        ) from error


def _digest(row: tuple[str, ...]) -> bytes:
    return hashlib.sha256("".join(f"{len(field)}:{field}" for field in row).encode("utf-8", "surrogatepass")).digest()
