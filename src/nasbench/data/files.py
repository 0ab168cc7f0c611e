"""Files of rows as Arrow tables: CSV, TSV, JSON, Parquet, Arrow, and folders of files.

A user's file is read as it is written. Where a choice remains (separator, encoding, quotes), the file decides, the
user's task file may override it, and a note tells what looks wrong.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from nasbench.data.json_rows import read_json
from nasbench.declarations.task import FileFormat
from nasbench.errors import UserError, first_line

_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 20, (1 << 31) - 1
"""Limits of the bytes of a CSV file that Arrow parses together."""
_SEPARATORS = (",", ";", "\t", "|")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks. That of UTF-16 is the beginning of one of UTF-32's, so UTF-32 goes first."""
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_LONGEST_HEADER = 1 << 17
_ENCLOSED = '^"([^"]|"")*""([^"]|"")*"$'
"""A text in quotes with doubled quotes inside, as only a program writes it."""
_KINDS = ".csv, .tsv, .json, .jsonl, .ndjson, .parquet, .arrow or .feather, each also with .gz"
_SPLIT_OF_A_FILE = re.compile(r"train|validation|valid|dev|test", re.IGNORECASE)


class FileTable(NamedTuple):
    """The contents of a file.

    Attributes:
        notes: remarks for the user on contents that look wrong.
    """

    table: pa.Table
    notes: tuple[str, ...] = ()


def read_file(path: Path, columns: Sequence[str], as_text: Sequence[str], form: FileFormat | None) -> FileTable:
    """The columns of a file, of all files that a pattern such as ``train-*.parquet`` matches, or of a folder.

    Args:
        columns: the columns that are needed, the label last. Others may be in the table without their values.
        as_text: the columns of a CSV file that must be read as text. Of a JSON file, these columns have their values,
            too: where they do not fit a type, each as JSON.
        form: None for a file that no task file describes; messages then say how to change the file.

    Raises:
        UserError: one line, if the file is missing or cannot be read.
    """
    if path.is_dir():
        return FileTable(_tidy(_read_folder(path, columns, form), columns, path))
    if not path.is_file():
        matches = sorted(path.parent.glob(path.name)) if re.search(r"[*?\[]", path.name) else []
        if not matches:
            raise UserError(f"no data file {path}")
        parts = [read_file(match, columns, as_text, form) for match in matches]
        table = _joined([(match, part.table) for match, part in zip(matches, parts, strict=True)], columns)
        return FileTable(table, tuple(note for part in parts for note in part.notes))
    kind = path.suffixes[-2].lower()[1:] if path.suffix.lower() == ".gz" and len(path.suffixes) > 1 else ""
    kind = kind or path.suffix.lower()[1:]
    notes: tuple[str, ...] = ()
    try:
        match kind:
            case "parquet":
                table = pyarrow.parquet.read_table(pa.BufferReader(_contents(path)) if _is_packed(path) else path)
            case "arrow" | "feather":
                table = _read_arrow(_contents(path))
            case "csv" | "tsv":
                text = _text(path, form)
                table, notes = _Csv(path, text, "\t" if kind == "tsv" else ",", columns, form).read(as_text)
            case "json" | "jsonl" | "ndjson":
                table = read_json(_text(path, form), columns, as_text)
            case _:
                raise UserError(f"{path}: data files end in {_KINDS}")
    except UnicodeDecodeError as error:
        known = "UTF-8" if form is None else form.encoding or "UTF-8"
        declare = "" if form is None else 'name its encoding in [data], for example encoding = "cp1252", or '
        raise UserError(f"{path}: is not encoded in {known}; {declare}save it in UTF-8 ({error})") from error
    except (pa.ArrowException, OSError, ValueError, EOFError, RecursionError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as {kind}; replace it ({first_line(error)})") from error
    return FileTable(_tidy(table, columns, path), notes)


def plain(table: pa.Table, columns: Sequence[str], place: str) -> pa.Table:
    """The table with plain types in the given columns: text for categories, views and bytes; floats for decimals.

    Raises:
        UserError: for bytes that are not UTF-8.
    """
    for name in columns:
        if table.column_names.count(name) != 1:
            continue
        column = table.column(name)
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
            kind = column.type
        if pa.types.is_string_view(kind):
            column = column.cast(pa.string())
        elif pa.types.is_decimal(kind):
            column = column.cast(pa.float64())
        elif any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)):
            try:
                column = column.cast(pa.large_binary()).cast(pa.large_string())
            except pa.ArrowException as error:
                raise UserError(f"{place}, column {name!r}: holds bytes that are not text in UTF-8") from error
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _tidy(table: pa.Table, columns: Sequence[str], path: Path) -> pa.Table:
    """The table without white space around its headers, and with plain types."""
    named = table.rename_columns([name if name in columns else name.strip() for name in table.column_names])
    # Renaming loses the metadata, in which `datasets` keeps the names of classes.
    return plain(named.replace_schema_metadata(table.schema.metadata), columns, str(path))


def _joined(parts: Sequence[tuple[Path, pa.Table]], columns: Sequence[str]) -> pa.Table:
    tables = [_tidy(table, columns, path) for path, table in parts]
    if all(set(columns).issubset(table.column_names) for table in tables):
        tables = [table.select(list(columns)) for table in tables]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        first, last = parts[0][0], parts[-1][0]
        raise UserError(f"{first} to {last.name}: their columns do not fit together ({first_line(error)})") from error


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _contents(path: Path) -> bytes:
    if _is_packed(path):
        with gzip.open(path) as file:
            return file.read()
    return path.read_bytes()


def _text(path: Path, form: FileFormat | None) -> str:
    """The file's text in the declared encoding; by default UTF-32 or UTF-16 if it begins so, else UTF-8.

    Raises:
        UnicodeDecodeError: the file has another encoding.
        UserError: the file looks like UTF-16 without a byte-order mark.
    """
    contents = _contents(path)
    declared = None if form is None else form.encoding
    encoding = declared or next((name for mark, name in _MARKS if contents.startswith(mark)), "utf-8")
    head = contents[:_LONGEST_HEADER]
    if declared is None and encoding == "utf-8" and b"\0" in head:
        # Of most characters in UTF-16, one byte is zero: the second one if the low byte comes first.
        guess = "utf-16-le" if head[1::2].count(0) >= head[::2].count(0) else "utf-16-be"
        remedy = "save it in UTF-8" if form is None else f'name its encoding in [data]: encoding = "{guess}"'
        raise UserError(f"{path}: holds zero bytes, so it is not in UTF-8; {remedy}")
    return contents.decode(encoding).removeprefix("\ufeff")


class _Csv:
    """A file of separated values.

    Args:
        separator: the separator that the file's name suggests.
        columns: the columns that are needed, the label last.
    """

    def __init__(self, path: Path, text: str, separator: str, columns: Sequence[str], form: FileFormat | None) -> None:
        self.path, self.text, self.columns, self.is_declared = path, text, columns, form is not None
        self.form = form = form or FileFormat()
        self.separator = form.separator or self._found_separator(separator)
        self.header = self._header(self.separator)
        # Tab-separated files are mostly written without quoting (GLUE's are): a quote is part of the text. A program
        # that quotes the headers quotes the texts too.
        quoted_header = bool(self.header) and all(re.fullmatch('".*"', name.strip()) for name in self.header)
        self.quoting = (self.separator != "\t" or quoted_header) if form.quoting is None else form.quoting
        if self.quoting:
            self.header = self._header(self.separator, quoting=True)

    def read(self, as_text: Sequence[str]) -> FileTable:
        self._check_header()
        contents = self.text.encode("utf-8")
        # Arrow infers types from the first block, and no field may be larger than a block: so make it one block.
        size = min(max(len(contents), _SMALLEST_BLOCK), _LARGEST_BLOCK)
        texts = {name: pa.string() for name in self.header if name in as_text or name.strip() in as_text}
        try:
            # Threads do not help with one block. They sometimes aborted the process if an error ended it soon
            # afterwards.
            table = pyarrow.csv.read_csv(
                pa.BufferReader(contents),
                read_options=pyarrow.csv.ReadOptions(block_size=size, use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self.separator,
                    quote_char='"' if self.quoting else False,
                    escape_char=self.form.escape or False,
                    newlines_in_values=self.quoting,
                ),
                convert_options=pyarrow.csv.ConvertOptions(column_types=texts),
            )
        except pa.ArrowException as error:
            raise UserError(
                f"{self.path}: cannot be read as {self._kind()}; {self._remedy(str(error))} ({first_line(error)})"
            ) from error
        table = _tidy(table, self.columns, self.path)
        return FileTable(table, tuple(self._notes(table)))

    def _check_header(self) -> None:
        """Raise if the header is a single cell that holds the names of several columns."""
        line = self.header[0] if len(self.header) == 1 else ""
        if len(self.columns) < 2 or line in self.columns or not all(name in line for name in self.columns):
            return
        rest = line
        for name in sorted(self.columns, key=len, reverse=True):
            rest = rest.replace(name, "")
        found = {character for character in rest if not (character.isalnum() or character in ' "_')}
        if not found:
            return
        example = found.pop() if len(found) == 1 else ";"
        remedy = f"name the separator in [data], for example separator = {example!r}"
        raise UserError(
            f"{self.path}: its header is one column ({line}) with {_NAMES.get(self.separator, repr(self.separator))} "
            f"between cells; {remedy if self.is_declared else 'separate its cells by commas, semicolons, tabs or bars'}"
        )

    def _kind(self) -> str:
        name = _NAMES.get(self.separator, repr(self.separator))
        return f"{'tsv' if '.tsv' in self.path.suffixes else 'csv'} with {name} between cells"

    def _header(self, separator: str, *, quoting: bool = False) -> list[str]:
        style: Any = csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
        head = io.StringIO(self.text[:_LONGEST_HEADER], newline="")
        try:
            return next(csv.reader(head, delimiter=separator, quoting=style, escapechar=self.form.escape), [])
        except (csv.Error, TypeError):
            return []

    def _found_separator(self, usual: str) -> str:
        """The first separator whose header has all columns that are needed; the usual one if no separator does."""
        for separator in (usual, *_SEPARATORS):
            names = {name.strip() for name in self._header(separator, quoting=True)}
            if names.issuperset(column.strip() for column in self.columns):
                return separator
        return usual

    def _remedy(self, message: str) -> str:
        """What the user can do about an error of Arrow."""
        if "columns, got" not in message:
            return "replace it"
        if not self.is_declared:
            return "put cells that hold the separator in quotes, and double the quotes inside cells"
        if self.quoting and self.form.escape is None and '\\"' in self.text:
            return r"if its quotes are escaped by a backslash, set escape = '\' in [data]"
        if not self.quoting and '"' in self.text:
            return "if its cells are in quotes, set quoting = true in [data]"
        if self.quoting and '"' in self.text:
            return "if its quotes are part of the texts, set quoting = false in [data]"
        return "put cells that hold the separator in quotes, or name the right separator in [data]"

    def _notes(self, table: pa.Table) -> list[str]:
        label, texts = self.columns[-1], [name for name in self.columns[:-1] if name in table.column_names]
        if label not in table.column_names or '"' not in self.text:
            return []
        if self.quoting:
            labels = {str(value).strip() for value in table.column(label).unique().to_pylist()}
            cells = [cell for name in texts for cell in _cells_with(table.column(name), "\n")]
            swallowing = [cell for cell in cells if self._holds_rows(cell, labels)]
            if not swallowing:
                return []
            start = " ".join(swallowing[0].split())[:40]
            cells_hold = "1 cell holds" if len(swallowing) == 1 else f"{len(swallowing)} cells hold"
            return [
                f"{self.path.name}: {cells_hold} what looks like whole rows, as after a quote that is never closed; if "
                f"so, set quoting = false in [data] (the first cell begins with {start!r})"
            ]
        quoted = sum(len(_cells_with(table.column(name), _ENCLOSED, regex=True)) for name in texts)
        if not quoted:
            return []
        return [
            f"{self.path.name}: {quoted} {'text is' if quoted == 1 else 'texts are'} in quotes, and the quotes are "
            "read as part of the text; if they only enclose it, set quoting = true in [data]"
        ]

    def _holds_rows(self, cell: str, labels: set[str]) -> bool:
        """Whether a line of the cell looks like a row: it has as many separators, and a label among its fields."""
        for line in cell.split("\n")[1:]:
            fields = [field.strip() for field in line.split(self.separator)]
            if len(fields) >= len(self.header) > 1 and not labels.isdisjoint(field for field in fields if field):
                return True
        return False


def _cells_with(column: pa.ChunkedArray, pattern: str, *, regex: bool = False) -> list[str]:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return []
    match = pyarrow.compute.match_substring_regex if regex else pyarrow.compute.match_substring
    cells: list[str] = column.filter(match(column, pattern)).to_pylist()
    return cells


def _read_arrow(contents: bytes) -> pa.Table:
    """A file of Arrow's file format, which is also Feather's, or of its stream format, which ``datasets`` writes."""
    if contents.startswith(b"FEA1"):
        raise ValueError("it is Feather of version 1; write it in version 2")
    buffer = pa.BufferReader(contents)
    try:
        return pyarrow.ipc.open_file(buffer).read_all()
    except pa.ArrowInvalid:
        buffer.seek(0)
        return pyarrow.ipc.open_stream(buffer).read_all()


def _read_folder(folder: Path, columns: Sequence[str], form: FileFormat | None) -> pa.Table:
    """A folder of Parquet files, a data set that ``save_to_disk`` wrote, or a folder of text files for each class."""
    if (folder / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir()))
        raise UserError(f"{folder}: holds several splits ({splits}); name the folder of one of them")
    saved = folder / "state.json"
    try:
        if saved.is_file():
            named = [folder / part["filename"] for part in json.loads(saved.read_text("utf-8"))["_data_files"]]
            return _joined([(path, _read_arrow(path.read_bytes())) for path in named], columns)
        parquet = sorted(folder.glob("*.parquet"))
        if parquet:
            splits = ", ".join(sorted({found[0] for path in parquet if (found := _SPLIT_OF_A_FILE.match(path.name))}))
            if "," in splits:
                raise UserError(
                    f"{folder}: holds files of several splits ({splits}); name those of one split, for example "
                    f'"{folder.name}/{splits.split(", ")[-1]}*.parquet"'
                )
            return _joined([(path, pyarrow.parquet.read_table(path)) for path in parquet], columns)
        texts = sorted(path for path in folder.glob("*/*.txt") if path.is_file())
        if texts:
            values = [_text(path, form) for path in texts], [path.parent.name for path in texts]
            if len(columns) != 2:
                raise UserError(f"{folder}: text files have one text, so text must name one column")
            return pa.table(dict(zip(columns, values, strict=True)))
    except UnicodeDecodeError:
        known = "UTF-8" if form is None else form.encoding or "UTF-8"
        remedy = 'name the encoding of the files in [data], for example encoding = "cp1252"'
        remedy = "save it in UTF-8" if form is None else remedy
        raise UserError(f"{folder}: a text file is not encoded in {known}; {remedy}") from None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: cannot be read; replace it ({first_line(error)})") from error
    kinds = re.findall(r"\.\w+", _KINDS)
    others = sorted({path.suffix for path in folder.iterdir() if path.suffix in kinds})
    pattern = f'; name files of one kind by a pattern, for example "{folder.name}/*{others[0]}"' if others else ""
    raise UserError(
        f"{folder}: a folder must hold Parquet files, a data set of save_to_disk, or a folder of .txt files for each "
        f"class{pattern}"
    )
