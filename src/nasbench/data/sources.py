"""Rows of a task from the Hugging Face hub, a folder of Parquet files, a user's own files or a generator.

Rows of every source are checked and sorted by the hash of their contents. This canonical order makes a shuffled copy of
a data set equal to the original. Running text is the exception: its lines are joined to passages in the order of the
source, and only the passages are sorted. Its declared number of rows is that of one order.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from nasbench.data.division import divide
from nasbench.data.files import plain, read_file
from nasbench.data.hub import hub_errors, hub_session, reason
from nasbench.data.labels import DROP, Labels, first_of, is_missing, or_drop, read_labels, with_class_names
from nasbench.data.passages import n_bytes, passages, with_blank
from nasbench.declarations.task import DataSource, Task
from nasbench.errors import UserError

SplitName = Literal["train", "validation", "test"]

DATA_DIR_VARIABLE = "NASBENCH_DATA_DIR"
_OWN_TEST_FRACTION = 0.2
"""Fraction of a user's only file that becomes the test, if the user names no test file."""
_HALF = 0.5
"""Fraction of the rows that becomes the test, if a declared task has a single public split."""
_OWN_TEST_SEED = 20_240_502
"""Fixed, so that the same rows become the test for every data seed."""


@dataclass(frozen=True)
class Rows:
    """Labelled texts in canonical order.

    Attributes:
        texts: one list per text column, each ``(n_rows,)``.
        labels: ``(n_rows,)``, int64 classes or bytes of a passage, or float32 for a regression.
        sha256: hash of all contents, whatever their order in the source; of running text, that of its passages.
        notes: remarks for the user on what looks wrong in the source, or was left out.
        groups: the group of each row, ``(n_rows,)``; empty without groups.
    """

    texts: tuple[list[str], ...]
    labels: Labels
    sha256: str
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def in_canonical_order(
        cls, texts: tuple[list[str], ...], labels: Labels, notes: tuple[str, ...] = (), groups: Sequence[str] = ()
    ) -> Rows:
        """Rows sorted by the hash of their contents. Equal rows are interchangeable, so ties do not matter."""
        values = [float(x).hex() for x in labels] if labels.dtype == np.float32 else [str(x) for x in labels]
        digests = [_digest(row) for row in zip(*texts, values, *([groups] if groups else []), strict=True)]
        order = sorted(range(len(digests)), key=digests.__getitem__)
        total = hashlib.sha256(b"".join(digests[i] for i in order)).hexdigest()
        return cls(
            tuple([column[i] for i in order] for column in texts),
            labels[np.array(order, dtype=np.int64)],
            total,
            notes,
            tuple(groups[i] for i in order) if groups else (),
        )

    def take(self, indices: npt.NDArray[np.int64]) -> Rows:
        """The rows at these positions, in canonical order, without the notes."""
        texts = tuple([column[i] for i in indices] for column in self.texts)
        groups = [self.groups[i] for i in indices] if self.groups else []
        return Rows.in_canonical_order(texts, self.labels[indices], groups=groups)

    def strata(self, task: Task) -> Labels | None:
        """The classes if each class shall have the same share of a part, else None."""
        return self.labels if task.data.stratify else None


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
        rng = np.random.default_rng(_OWN_TEST_SEED)
        fraction = _OWN_TEST_FRACTION if task.data.local_files else _HALF
        test, rest = divide(len(train), 1 - fraction, rng, train.strata(task), train.groups)
        return dataclasses.replace(train.take(rest), notes=train.notes), train.take(test)
    return train, _rows(task, "test", data_dir)


def read_validation_rows(task: Task, data_dir: Path | None) -> Rows | None:
    """The rows of a task's own validation split, None if it has none. Arguments and errors as :func:`read_rows`."""
    data = task.data
    has_own = "validation" in data.local_files if data.local_files else data.validation_split is not None
    return _rows(task, "validation", data_dir) if has_own else None


class Columns(NamedTuple):
    """The unchecked text and label columns of a split.

    Attributes:
        place: name of their source, for messages.
        notes: remarks for the user on contents that look wrong, or on rows that were dropped.
    """

    table: pa.Table
    place: str
    notes: tuple[str, ...] = ()


def read_columns(
    data: DataSource, name: str, split: SplitName, data_dir: Path | None, *, named_labels: bool, has_labels: bool = True
) -> Columns:
    """The unchecked text and label columns of a split.

    Args:
        name: the task's name.
        named_labels: whether labels are names. If so, labels of a CSV file are read as text: Arrow would read ``01`` as
            1 and ``false`` as a truth value.
        has_labels: whether there is a column of labels. Text for a language model has none.

    Raises:
        UserError: one line, if a source, file or column is missing or cannot be read.
    """
    groups = [] if data.group_column is None else [data.group_column]
    labels = [data.label_column] if has_labels else []
    columns = [*data.text_columns, *groups, *labels]
    as_text = columns if named_labels or not has_labels else columns[:-1]
    notes: tuple[str, ...] = ()
    if data.generator is not None:
        table, place = _generate(data.generator, split), f"generator {data.generator}"
    elif data.local_files:
        path = Path(data.local_files[split])
        (table, notes), place = read_file(path, columns, as_text, data.file_format), str(path)
    elif (folder := _data_dir(data_dir)) is not None and data.folder is not None:
        path = folder / _local_file(data, split)
        if not path.is_file():
            on_hub = f", or leave out --data-dir and {DATA_DIR_VARIABLE} to load it from the hub"
            remedy = "put it there" + ("" if data.repository is None else on_hub)
            raise UserError(f"no file {path}, the {split} rows of task {name!r}; {remedy}")
        table, place = read_file(path, columns, as_text, data.file_format).table, str(path)
    else:
        place = f"{data.repository} ({_public_split(data, split)})"
        table = plain(_from_hub(data, name, split), columns, place)
    table = _with_items(table, columns)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise UserError(f"{place}: no column {missing[0]!r}; its columns are {', '.join(table.column_names)}")
    twice = [column for column in columns if table.column_names.count(column) > 1]
    if twice:
        raise UserError(f"{place}: two columns are called {twice[0]!r}; rename one")
    if table.num_rows == 0:
        raise UserError(f"{place}: has no rows")
    table = table.select(columns)
    if named_labels:
        table = with_class_names(table, data.label_column, data.label_names)
    if data.drop_empty:
        table, dropped = _without_empty(table, data, place)
        notes += dropped
    return Columns(table, place, notes)


def _with_items(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The table with a column ``choices.1`` for item 1 of a column ``choices`` of lists, if such a name is wanted."""
    for name in columns:
        whole, _, item = name.rpartition(".")
        if name not in table.column_names and whole in table.column_names and item.isdigit():
            column = table.column(whole)
            if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
                rows, place = column.to_pylist(), int(item)
                items = [row[place] if row is not None and place < len(row) else None for row in rows]
                table = table.append_column(name, pa.array(items))
    return table


def _without_empty(table: pa.Table, data: DataSource, place: str) -> tuple[pa.Table, tuple[str, ...]]:
    """The rows that have a text (for multiple choice: all texts) and a label, and a note on the others."""
    blank = []
    for position, name in enumerate(data.text_columns):
        column = table.column(name)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = column.fill_null("")
            table = table.set_column(position, name, column)
            blank.append(pyarrow.compute.equal(pyarrow.compute.utf8_trim_whitespace(column), "").to_numpy())
        else:
            blank.append(column.is_null().to_numpy())
    is_choice = len(data.text_columns) > 2
    no_text = np.any(blank, axis=0) if is_choice else np.all(blank, axis=0)
    labels = table.column(data.label_column)
    no_label = np.array([is_missing(value, data.label_names) for value in labels.to_pylist()], dtype=bool)
    kept = ~(no_text | no_label)
    if kept.all():
        return table, ()
    if not kept.any():
        raise UserError(f"{place}: no row has both a text and a label")
    note = (
        f"{Path(place).name}: {int((~kept).sum())} of {len(kept)} rows dropped (drop_empty), {int(no_text.sum())} "
        f"without a text and {int(no_label.sum())} without a label"
    )
    return table.filter(pa.array(kept)), (note,)


def _rows(task: Task, split: SplitName, data_dir: Path | None) -> Rows:
    named_labels = bool(task.data.label_names)
    is_text = task.kind == "language_modelling"
    table, place, notes = read_columns(
        task.data, task.name, split, data_dir, named_labels=named_labels, has_labels=not is_text
    )
    texts = tuple(_texts(task, table.column(name), place, name) for name in task.data.text_columns)
    if is_text:
        if len(texts) == 1:
            texts = (passages(texts[0], task.max_length - 1),)
            return Rows.in_canonical_order(texts, n_bytes(texts[0]), notes)
        return Rows.in_canonical_order(texts, n_bytes([with_blank(ending) for ending in texts[1]]), notes)
    if task.data.is_users_own:
        _refuse_blank(task, texts, place)
    labels = read_labels(task, table.column(task.data.label_column), place)
    return Rows.in_canonical_order(texts, labels, notes, _groups(task.data.group_column, table, place))


def _groups(name: str | None, table: pa.Table, place: str) -> list[str]:
    """The group of each row as text; empty without groups."""
    if name is None:
        return []
    groups = ["" if value is None else str(value).strip() for value in table.column(name).to_pylist()]
    missing = [row for row, group in enumerate(groups) if not group]
    if missing:
        raise UserError(f"{place}, column {name!r}: {first_of(missing, 'has no group', 'have no group')}")
    if len(set(groups)) < 2:
        raise UserError(f"{place}, column {name!r}: all rows are in one group; leave out group, or name another column")
    return groups


def _texts(task: Task, column: pa.ChunkedArray, place: str, name: str) -> list[str]:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise UserError(f"{place}, column {name!r}: must hold text, not {column.type}")
    if column.null_count:
        rows = np.flatnonzero(column.is_null().to_numpy())
        empty = first_of(rows, "is empty", "are empty")
        raise UserError(f"{place}, column {name!r}: {empty}{or_drop(task)}")
    texts: list[str] = column.to_pylist()
    return texts


def _refuse_blank(task: Task, texts: tuple[list[str], ...], place: str) -> None:
    """Raise for a row without any text. One text of a pair may be blank, as in a review without a title."""
    names = task.data.text_columns
    alone = task.has_endings
    groups = [((name,), (column,)) for name, column in zip(names, texts, strict=True)] if alone else [(names, texts)]
    for group, columns in groups:
        rows = [row for row, fields in enumerate(zip(*columns, strict=True)) if not "".join(fields).strip()]
        if rows:
            where = f"{place}, column {' and '.join(map(repr, group))}"
            raise UserError(f"{where}: {first_of(rows, 'is empty', 'are empty')}, or {DROP}")


def _data_dir(data_dir: Path | None) -> Path | None:
    if data_dir is None and (text := os.environ.get(DATA_DIR_VARIABLE)):
        data_dir = Path(text)
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"no data folder {data_dir}; name the folder that holds <task>/train.parquet")
    return data_dir


def _public_split(data: DataSource, split: SplitName) -> str:
    names = {"train": data.train_split, "validation": data.validation_split, "test": data.test_split}
    return str(names[split])


def _local_file(data: DataSource, split: SplitName) -> str:
    """The path of a split's file below the folder of local data."""
    folder = data.train_folder if split == "train" and data.train_folder is not None else data.folder
    return f"{folder}/{_public_split(data, split)}.parquet"


def _own_test_is_missing(data: DataSource) -> bool:
    return "test" not in data.local_files if data.local_files else data.test_split is None


def _generate(generator: str, split: SplitName) -> pa.Table:
    module, function = generator.split(":")
    return pa.table(getattr(importlib.import_module(module), function)(split))


def _from_hub(data: DataSource, name: str, split: SplitName) -> pa.Table:
    if data.repository is None and data.folder is None:
        raise UserError(f"task {name!r} names no source of data")
    if data.repository is None:
        raise UserError(
            f"no {split} rows of task {name!r}: they are on no hub; set --data-dir or {DATA_DIR_VARIABLE} to a folder "
            f"with {_local_file(data, split)}"
        )
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
