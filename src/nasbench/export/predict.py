"""Predict with an exported network: a table of texts in, the table with predictions and probabilities out."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch

from nasbench import devices
from nasbench.arrays import FloatArray
from nasbench.data.files import plain, read_file
from nasbench.errors import UserError
from nasbench.export.loading import load, load_tokenizer, read_description
from nasbench.records.record import write_atomically

PREDICTION = "prediction"
_BATCH_TOKENS = 8_192
"""Limit of the tokens of a batch, padding included."""


class Predictions(NamedTuple):
    """The rows of a file with the network's answers.

    Attributes:
        table: the columns of the file; ``prediction`` (the class name, or a number for a regression); and
            ``probability_<class>`` for each class.
        counts: number of rows of each class; empty for a regression.
        left_out: columns of the file that a CSV file cannot hold.
    """

    table: pa.Table
    counts: dict[str, int]
    left_out: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the table as CSV.

        Raises:
            NasbenchError: if the file cannot be written.
        """
        buffer = io.BytesIO()
        pyarrow.csv.write_csv(self.table, buffer)
        write_atomically(path, buffer.getvalue())


def predict(folder: Path, file: Path, text_columns: Sequence[str] = ()) -> Predictions:
    """Predict for every row of a file, in its order.

    Args:
        folder: an exported network.
        file: with the columns of texts, in a format of :func:`nasbench.data.files.read_file`. It needs no labels.
        text_columns: columns of texts, in order; empty for the columns of the network's task.

    Raises:
        UserError: one line, if the folder has no exported network, or the file cannot be read or lacks a column.
    """
    interface = read_description(folder).get("interface") or {}
    if interface.get("kind") in ("language_modelling", "zero_shot_choice"):
        raise UserError(
            f"{folder} is a language model, which predicts no classes; generate text with AutoModelForCausalLM of "
            "transformers"
        )
    columns = tuple(text_columns) or tuple(interface.get("text_columns", ()))
    if not columns:
        raise UserError(f"{folder} does not say which columns hold the texts; name them with --text")
    table, left_out = _read(file, columns)
    network: Any = load(folder)
    tokenizer = load_tokenizer(folder, network)
    is_choice = type(network).__name__.endswith("MultipleChoice") or interface.get("kind") == "multiple_choice"
    n_columns = range(3, len(columns) + 1) if is_choice else range(1, 3)
    if len(columns) not in n_columns:
        due = "a start and at least two endings" if is_choice else "one or two columns of texts"
        raise UserError(f"{folder}: the network takes {due}, not {len(columns)}; name them with --text")
    longest = min(int(interface.get("max_length", tokenizer.model_max_length)), tokenizer.model_max_length)
    texts = [["" if text is None else text for text in table.column(name).to_pylist()] for name in columns]
    logits = _logits(network, tokenizer, texts, longest, is_choice)
    taken = [name == PREDICTION or name.startswith("probability_") for name in table.column_names]
    table = table.select([i for i, is_taken in enumerate(taken) if not is_taken])
    if network.config.problem_type == "regression" and not is_choice:
        return Predictions(table.append_column(PREDICTION, pa.array(logits[:, 0])), {}, left_out)
    names = _class_names(network, interface, logits.shape[1], is_choice)
    chosen = [names[i] for i in logits.argmax(axis=1)]
    table = table.append_column(PREDICTION, pa.array(chosen, pa.string()))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    for name, column in zip(names, (shares / shares.sum(axis=1, keepdims=True)).T, strict=True):
        table = table.append_column(f"probability_{name}", pa.array(column))
    counts = Counter(chosen)
    return Predictions(table, {name: counts[name] for name in names}, left_out)


def _read(file: Path, columns: tuple[str, ...]) -> tuple[pa.Table, tuple[str, ...]]:
    """The columns of a file that a CSV file can hold, and the names of the others."""
    table = read_file(file, columns, columns, None).table
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise UserError(
            f"{file}: no column {missing[0]!r}; its columns are {', '.join(table.column_names)}; name the columns of "
            "texts with --text"
        )
    if table.num_rows == 0:
        raise UserError(f"{file}: has no rows")
    # Read again with the values of all columns, and as text, so that they are written as they were: Arrow would read 01
    # as 1.
    table = read_file(file, columns, table.column_names, None).table
    for name in columns:
        if table.column_names.count(name) > 1:
            raise UserError(f"{file}: two columns are called {name!r}; rename one")
        kind = table.column(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UserError(f"{file}, column {name!r}: must hold text, not {kind}")
    return _writable(table, str(file))


def _writable(table: pa.Table, place: str) -> tuple[pa.Table, tuple[str, ...]]:
    """The columns without lists, objects and bytes that are not text, and the names of those."""
    kept, left_out = [], []
    for i, name in enumerate(table.column_names):  # other columns than those of texts may have the same name
        try:
            column = plain(pa.table({name: table.column(i)}), [name], place).column(0)
        except UserError:
            column = None
        if column is None or pa.types.is_nested(column.type):
            left_out.append(name)
        else:
            kept.append((name, column))
    return pa.Table.from_arrays([column for _, column in kept], names=[name for name, _ in kept]), tuple(left_out)


def _logits(network: Any, tokenizer: Any, texts: list[list[str]], max_length: int, is_choice: bool) -> FloatArray:
    """Outputs of the network, ``(n_rows, n_outputs)``."""
    n_choices = len(texts) - 1 if is_choice else 1
    first = [text for text in texts[0] for _ in range(n_choices)]
    pairs = [text for row in zip(*texts[1:], strict=True) for text in row] if len(texts) > 1 else None
    encoded = tokenizer(first, pairs, truncation=True, max_length=max_length, padding=False)
    rows = [{name: values[i] for name, values in encoded.items()} for i in range(len(first))]
    lengths = np.array([len(row["input_ids"]) for row in rows]).reshape(-1, n_choices).max(axis=1)
    device = torch.device(devices.resolve_device("auto"))
    network = network.to(device)
    found: list[FloatArray | None] = [None] * len(lengths)
    order = np.argsort(lengths, kind="stable")[::-1]
    start = 0
    while start < len(order):
        batch = order[start : start + max(1, _BATCH_TOKENS // int(lengths[order[start]] * n_choices))]
        sequences = [rows[i * n_choices + choice] for i in batch for choice in range(n_choices)]
        padded = tokenizer.pad(sequences, return_tensors="pt").to(device)
        has_choices = type(network).__name__.endswith("MultipleChoice")  # a decoder scores each ending by itself
        inputs = {
            name: value.reshape(len(batch), n_choices, -1) if has_choices else value for name, value in padded.items()
        }
        with torch.no_grad():
            outputs = network(**inputs).logits.double().cpu().numpy().reshape(len(batch), -1)
        for i, output in zip(batch, outputs, strict=True):
            found[int(i)] = output
        start += len(batch)
    return np.stack([output for output in found if output is not None])


def _class_names(network: Any, interface: dict[str, Any], n_classes: int, is_choice: bool) -> list[str]:
    names = list(interface.get("label_names", ())) if is_choice else list(network.config.id2label.values())
    return names if len(names) == n_classes else [str(i) for i in range(n_classes)]
