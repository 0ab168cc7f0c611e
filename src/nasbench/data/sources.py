"""Rows of a task from the Hugging Face hub, a folder of Parquet files, a user's own files or a generator.

Rows of every source are checked and sorted by the hash of their contents. This canonical order makes a shuffled copy of
a data set equal to the original.
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
"""Fraction of a user's only file that becomes the test, if the user names no test file."""
_OWN_TEST_SEED = 20_240_502
"""Fixed, so that the same rows become the test for every data seed."""
_NO_LABEL = ("", "nan", "na", "n/a", "null")
"""Texts that mean a missing label, in lower case, as spreadsheets and pandas write them. ``none`` is a class."""
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0*")
_FRACTION = re.compile(r"[+-]?(\d*\.\d+(e[+-]?\d+)?|\d+e-\d+)", re.IGNORECASE)
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 20, (1 << 31) - 1
"""Limits of the bytes of a CSV file that Arrow parses together."""


@dataclass(frozen=True)
class Rows:
    """Labelled texts in canonical order.

    Attributes:
        texts: one list per text column, each ``(n_rows,)``.
        labels: ``(n_rows,)``, int64 classes, or float32 for a regression.
        sha256: hash of all contents, whatever their order in the source.
    """

    texts: tuple[list[str], ...]
    labels: Labels
    sha256: str

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def in_canonical_order(cls, texts: tuple[list[str], ...], labels: Labels) -> Rows:
        """Rows sorted by the hash of their contents. Equal rows are interchangeable, so ties do not matter."""
        values = [float(x).hex() for x in labels] if labels.dtype == np.float32 else [str(x) for x in labels]
        digests = [_digest(row) for row in zip(*texts, values, strict=True)]
        order = sorted(range(len(digests)), key=digests.__getitem__)
        total = hashlib.sha256(b"".join(digests[i] for i in order)).hexdigest()
        return cls(
            tuple([column[i] for i in order] for column in texts), labels[np.array(order, dtype=np.int64)], total
        )

    def take(self, indices: npt.NDArray[np.int64]) -> Rows:
        """The rows at these positions, in canonical order."""
        texts = tuple([column[i] for i in indices] for column in self.texts)
        return Rows.in_canonical_order(texts, self.labels[indices])


def read_rows(task: Task, data_dir: Path | None) -> tuple[Rows, Rows]:
    """The train and the test rows of a task.

    Args:
        data_dir: folder with the files ``<folder>/<split>.parquet``. None stands for the environment variable
            ``NASBENCH_DATA_DIR`` or, without it, the hub. Embedded data and a user's own files do not need it.

    Raises:
        UserError: one line, for a missing or damaged file, a missing column, labels that do not fit the task, or a hub
            that cannot be reached.
    """
    train = _rows(task, "train", data_dir)
    if _own_test_is_missing(task.data):
        order = np.random.default_rng(_OWN_TEST_SEED).permutation(len(train))
        n_test = round(_OWN_TEST_FRACTION * len(train))
        return train.take(order[n_test:]), train.take(order[:n_test])
    return train, _rows(task, "test", data_dir)


def read_columns(
    data: DataSource, name: str, split: SplitName, data_dir: Path | None, *, named_labels: bool
) -> tuple[pa.Table, str]:
    """The unchecked text and label columns of a split, and the name of their source for messages.

    Args:
        name: the task's name.
        named_labels: whether labels are names. If so, labels of a CSV file are read as text: Arrow would read ``01`` as
            1 and ``false`` as a truth value.

    Raises:
        UserError: one line, if a source, file or column is missing or cannot be read.
    """
    columns = [*data.text_columns, data.label_column]
    as_text = columns if named_labels else columns[:-1]
    if data.generator is not None:
        table, place = _generate(data.generator, split), f"generator {data.generator}"
    elif data.local_files:
        path = Path(data.local_files[split])
        table, place = _read_file(path, columns, as_text), str(path)
    elif (folder := _data_dir(data_dir)) is not None and data.folder is not None:
        path = folder / data.folder / f"{_public_split(data, split)}.parquet"
        if not path.is_file():
            raise UserError(
                f"no file {path}, the {split} rows of task {name!r}; put it there, or leave out --data-dir and "
                f"{DATA_DIR_VARIABLE} to load it from the hub"
            )
        table, place = _read_file(path, columns, as_text), str(path)
    else:
        table, place = _from_hub(data, name, split), f"{data.repository} ({_public_split(data, split)})"
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise UserError(f"{place}: no column {missing[0]!r}; its columns are {', '.join(table.column_names)}")
    twice = [column for column in columns if table.column_names.count(column) > 1]
    if twice:
        raise UserError(f"{place}: two columns are called {twice[0]!r}; rename one")
    if table.num_rows == 0:
        raise UserError(f"{place}: has no rows")
    return table.select(columns), place


def _rows(task: Task, split: SplitName, data_dir: Path | None) -> Rows:
    table, place = read_columns(task.data, task.name, split, data_dir, named_labels=bool(task.data.label_names))
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
    """Raise for a row without any text. One text of a pair may be blank, as in a review without a title."""
    names = task.data.text_columns
    alone = task.kind == "multiple_choice"
    groups = [((name,), (column,)) for name, column in zip(names, texts, strict=True)] if alone else [(names, texts)]
    for group, columns in groups:
        for row, fields in enumerate(zip(*columns, strict=True)):
            if not "".join(fields).strip():
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
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and is refused below
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
    """The class name of each row, ``(n_rows,)``, as :func:`label_name` writes it.

    Args:
        where: file and column, for messages.
        known: class names that the user has listed. They are accepted whatever they look like.

    Raises:
        UserError: one line, for a row without a label (null, NaN, an empty text) or for a number with a fraction.
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
    """A value as a class name: without outer white space, truth values as in JSON, whole numbers without ``.0``."""
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return match[1] if (match := _WHOLE_NUMBER.fullmatch(text)) else text


def _listed(names: tuple[str, ...]) -> str:
    """The first ten names, and how many more there are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _data_dir(data_dir: Path | None) -> Path | None:
    if data_dir is None and (text := os.environ.get(DATA_DIR_VARIABLE)):
        data_dir = Path(text)
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"no data folder {data_dir}; name the folder that holds <task>/train.parquet")
    return data_dir


def _public_split(data: DataSource, split: SplitName) -> str:
    return data.train_split if split == "train" else data.test_split


def _own_test_is_missing(data: DataSource) -> bool:
    return bool(data.local_files) and "test" not in data.local_files


def _generate(generator: str, split: SplitName) -> pa.Table:
    module, function = generator.split(":")
    return pa.table(getattr(importlib.import_module(module), function)(split))


def _read_file(path: Path, columns: list[str], as_text: list[str]) -> pa.Table:
    """The columns of a file.

    Args:
        columns: the columns that are needed. Others may be in the table without their values.
        as_text: the columns of a CSV file that must be read as text.
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
        raise UserError(f"{path}: is not encoded in UTF-8; save it in UTF-8 ({error})") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as {kind}; replace it ({first_line(error)})") from error
    raise UserError(f"{path}: data files end in .csv, .tsv, .json, .jsonl or .parquet")


def _read_csv(path: Path, delimiter: str, as_text: list[str]) -> pa.Table:
    contents = path.read_bytes()
    contents.decode("utf-8")
    # Arrow infers types from the first block, and no field may be larger than a block: so make it one block.
    size = min(max(len(contents), _SMALLEST_BLOCK), _LARGEST_BLOCK)
    # Threads do not help with one block. They sometimes aborted the process if an error ended it soon afterwards.
    return pyarrow.csv.read_csv(
        pa.BufferReader(contents),
        read_options=pyarrow.csv.ReadOptions(block_size=size, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(as_text, pa.string())),
    )


def _read_json(path: Path, columns: list[str]) -> pa.Table:
    """Rows as an array of objects, or as one object per line. Columns that are not needed may hold anything."""
    text = path.read_text(encoding="utf-8-sig").strip()
    first = text.partition("\n")[0].strip()
    if first.startswith("{") and first.endswith("}"):
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    else:
        rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it must be a list of objects, one per row, with named columns")
    if not rows:
        raise ValueError("it has no rows")
    arrays = {name: pa.nulls(len(rows)) for row in rows for name in row}
    for name in columns:
        if name in arrays:
            values = [row.get(name) for row in rows]
            if any(isinstance(value, (list, dict)) for value in values):
                raise ValueError(f"each row needs one value of {name!r}, not a list or object")
            try:
                arrays[name] = pa.array(values)
            except (pa.ArrowException, OverflowError) as error:
                raise ValueError(f"column {name!r}: {first_line(error)}") from error
    return pa.table(arrays)


def _from_hub(data: DataSource, name: str, split: SplitName) -> pa.Table:
    if data.repository is None:
        raise UserError(f"task {name!r} names no source of data")
    # Imported here because it takes a second and only the hub needs it.
    import datasets

    try:
        with hub_session():
            dataset = datasets.load_dataset(
                data.repository, data.configuration, revision=data.revision, split=_public_split(data, split)
            )
            return dataset.with_format("arrow")[:]
    except (*hub_errors(), datasets.exceptions.DatasetsError) as error:
        local = f" with {data.folder}/{data.train_split}.parquet" if data.folder else ""
        raise UserError(
            f"no {split} rows of task {name!r} ({reason(error)}); connect to the hub ({data.repository}), set "
            f"--data-dir or {DATA_DIR_VARIABLE} to a folder{local}, or run the embedded task: --task demo"
        ) from error


def _digest(row: tuple[str, ...]) -> bytes:
    return hashlib.sha256("".join(f"{len(field)}:{field}" for field in row).encode("utf-8", "surrogatepass")).digest()
