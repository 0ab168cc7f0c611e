"""Rows of a task, wherever they come from: the hub, a folder of Parquet files, a user's own files, a generator.

Whatever the source, rows are checked, and brought into a canonical order: by the hash of their contents. A data set
that is shuffled, or sorted another way, is the same data set.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from nasbench.errors import UserError
from nasbench.hub import first_line, hub_errors, hub_session, reason
from nasbench.task import DataSource, Task

Part = Literal["train", "test"]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]

DATA_DIR_VARIABLE = "NASBENCH_DATA_DIR"
_OWN_TEST_FRACTION = 0.2
"""Of a user's only file, where none is named for the test."""
_OWN_TEST_SEED = 20_240_502
"""Which rows become the test is a property of the data: the same for every data seed."""


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


def read_columns(data: DataSource, name: str, part: Part, data_dir: Path | None) -> tuple[pa.Table, str]:
    """The text and label columns of one part, unchecked, and the place they come from for messages.

    Args:
        name: of the task.
    """
    columns = [*data.text_columns, data.label_column]
    if data.generator is not None:
        table, place = _generate(data.generator, part), f"generator {data.generator}"
    elif data.local_files:
        path = Path(data.local_files[part])
        table, place = _read_file(path, columns[:-1]), str(path)
    elif (folder := _data_dir(data_dir)) is not None and data.folder is not None:
        path = folder / data.folder / f"{_split(data, part)}.parquet"
        if not path.is_file():
            raise UserError(
                f"no file {path}, the {part} rows of task {name!r}; put it there, or leave --data-dir and "
                f"{DATA_DIR_VARIABLE} away to take it from the hub"
            )
        table, place = _read_file(path, columns[:-1]), str(path)
    else:
        table, place = _from_hub(data, name, part), f"{data.repository} ({_split(data, part)})"
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise UserError(f"{place}: no column {missing[0]!r}; its columns are {', '.join(table.column_names)}")
    return table.select(columns), place


def _rows(task: Task, part: Part, data_dir: Path | None) -> Rows:
    table, place = read_columns(task.data, task.name, part, data_dir)
    if table.num_rows == 0:
        raise UserError(f"{place}: has no rows")
    texts = tuple(_texts(table.column(name), place, name) for name in task.data.text_columns)
    return Rows.in_canonical_order(texts, _labels(task, table.column(task.data.label_column), place))


def _texts(column: pa.ChunkedArray, place: str, name: str) -> list[str]:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise UserError(f"{place}, column {name!r}: must hold text, not {column.type}")
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise UserError(f"{place}, column {name!r}: row {row} is empty; remove it")
    texts: list[str] = column.to_pylist()
    return texts


def _labels(task: Task, column: pa.ChunkedArray, place: str) -> Labels:
    where = f"{place}, column {task.data.label_column!r}"
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise UserError(f"{where}: row {row} has no label; remove it")
    if task.data.label_names:
        return _named_labels(task.data.label_names, column, where)
    if task.kind == "regression":
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise UserError(f"{where}: a regression needs numbers, not {column.type}")
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


def _named_labels(names: tuple[str, ...], column: pa.ChunkedArray, where: str) -> Labels:
    index = {name: i for i, name in enumerate(names)}
    values = [label_name(value) for value in column.to_pylist()]
    unknown = next((row for row, value in enumerate(values) if value not in index), None)
    if unknown is not None:
        raise UserError(f"{where}: label {values[unknown]!r} of row {unknown} is none of {', '.join(names)}")
    return np.array([index[value] for value in values], dtype=np.int64)


def label_name(value: Any) -> str:
    """How a label of any type is written: ``1.0`` of a float column is the class ``1``."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _data_dir(data_dir: Path | None) -> Path | None:
    if data_dir is None and (text := os.environ.get(DATA_DIR_VARIABLE)):
        data_dir = Path(text)
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"no data folder {data_dir}; name the one that holds <task>/train.parquet")
    return data_dir


def _split(data: DataSource, part: Part) -> str:
    return data.train_split if part == "train" else data.test_split


def _own_test_is_missing(data: DataSource) -> bool:
    return bool(data.local_files) and "test" not in data.local_files


def _generate(generator: str, part: Part) -> pa.Table:
    module, function = generator.split(":")
    return pa.table(getattr(importlib.import_module(module), function)(part))


def _read_file(path: Path, text_columns: list[str]) -> pa.Table:
    if not path.is_file():
        raise UserError(f"no data file {path}")
    try:
        match path.suffix.lower():
            case ".parquet":
                return pyarrow.parquet.read_table(path)
            case ".csv" | ".tsv":
                delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
                return pyarrow.csv.read_csv(
                    path,
                    parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                    convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(text_columns, pa.string())),
                )
            case ".json" | ".jsonl":
                return _read_json(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as {path.suffix[1:]}, replace it ({first_line(error)})") from error
    raise UserError(f"{path}: data files end in .csv, .tsv, .json, .jsonl or .parquet")


def _read_json(path: Path) -> pa.Table:
    """An array of objects, or an object a line."""
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        rows = json.loads(text)
    else:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("every row must be an object with named columns")
    return pa.Table.from_pylist(rows)


def _from_hub(data: DataSource, name: str, part: Part) -> pa.Table:
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
