"""``evaluations.jsonl`` as a table: parsed in one call, checked column by column.

The bounds are those of :mod:`nasbench.records.schema`. Resuming checks them line by line with pydantic. The
analysis needs columns. Collecting them from checked lines took nearly three times as long at 10^5 lines.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from nasbench.analysis.reading.objectives import COST, MEASURED, columns
from nasbench.arrays import BoolArray, FloatArray
from nasbench.declarations.task import OBJECTIVES
from nasbench.records.progress import check_whole, read_written
from nasbench.records.record import Identity, RunRecord
from nasbench.records.schema import MAX_ERROR, ROUNDING, RecordError

COLUMNS = pa.schema(
    {
        "index": pa.int64(),
        "key": pa.string(),
        "error": pa.float64(),
        "params": pa.float64(),
        "n_params": pa.int64(),
        "elapsed_s": pa.float64(),
        "status": pa.string(),
        "test_error": pa.float64(),
        "latency_ms": pa.float64(),
        "n_duplicates": pa.int64(),
        "weights": pa.string(),
        "epochs": pa.float64(),
        "reason": pa.string(),
    }
)
"""The columns of every table with their types. ``config`` and the metrics of the record follow."""

_REQUIRED = ("index", "params", "n_params", "elapsed_s", "status")
_DEEPEST = 1000  # opening brackets in a line; an evaluation has about ten
_NO_COLUMN = (pa.ArrowException, ValueError, TypeError, OverflowError)  # raised for values without a common type
_LONGEST_TEXT = 24  # characters of one value of a configuration; the packed masks of LARGE have thousands of digits


def read_evaluation_file(path: Path, record: RunRecord) -> tuple[pa.Table, list[str]]:
    """The evaluations of a run as a table, and the oddities that were corrected.

    A last line without a newline was cut off by a kill and is dropped. For a finished run that is an oddity. Three more
    oddities are corrected: an evaluation whose error is not a number counts as failed, a test error that is not a
    number is left out, and evaluations after the end of the budget are left out.

    Args:
        path: the file. A run without evaluations has none.
        record: the run's record, for its status, its limits and the size of the full network.

    Returns:
        A table with the columns :data:`COLUMNS`, ``config``, the metrics as ``metric.<name>`` and
        ``test_metric.<name>``, costs beside the parameters as ``cost.<name>``,
        and measured ones as ``measured_<name>`` beside modelled ones; and one text per oddity.

    Raises:
        RecordError: if lines are lost or changed, for a line that is not an evaluation, indices that do not count 0, 1,
            2, ..., or values that no run can produce.
    """
    written = read_written(path.parent)
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise RecordError(f"{path.name}: cannot be read ({error.strerror})") from error
    check_whole(path, data, written, record.n_evaluations, record.evaluations_sha256)
    whole = data[: data.rfind(b"\n") + 1]
    oddities = []
    if record.status != "running" and len(whole) < len(data):
        oddities.append(f"{path.name}: the last line is cut off; left out")
    if not whole:
        return empty_table(), oddities
    parsed = _parsed(path.name, whole)
    table = parsed.select(COLUMNS.names)
    table = table.append_column("config", _config_text(path.name, parsed))
    for field, prefix in (("metrics", "metric."), ("test_metrics", "test_metric."), ("costs", COST)):
        for metric, values in _fields(path.name, parsed, field):
            kind = values.type
            if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
                raise RecordError(f"{path.name}: {metric!r} of {field!r} holds {kind} instead of numbers")
            if prefix + metric != f"{COST}params":
                table = table.append_column(prefix + metric, values.cast(pa.float64(), safe=False))
    _check_costs(path.name, table, record.identity)
    for cost, measured in MEASURED.items():
        if cost in table.column_names:
            values = _measured(record, cost.removeprefix(COST), len(table))
            table = table.append_column(measured, pa.array(values, pa.float64()))
    table = _validated(path.name, table, record.n_params_full, oddities)
    return _within_limits(path.name, table, record.identity, oddities), oddities


def _check_costs(name: str, table: pa.Table, identity: Identity) -> None:
    """Refuse evaluations without a cost that the run minimises. Raises :class:`RecordError`."""
    for column in set(columns(",".join(identity.objectives or OBJECTIVES))) - set(OBJECTIVES):
        values = _numbers(table, column) if column in table.column_names else np.full(table.num_rows, np.nan)
        if not (np.isfinite(values) & (values >= 0)).all():
            i = int(np.argmin(np.isfinite(values) & (values >= 0)))
            raise RecordError(f"{name}, line {i + 1}: no {column!r} of 0 or more, which the run minimises")


def _measured(record: RunRecord, name: str, n: int) -> FloatArray:
    """Measured costs of the evaluations on the front, ``(n,)``; NaN for the others and for what is no cost."""
    found = np.full(n, np.nan)
    described = (record.costs or {}).get(name)
    front = described.get("front") if isinstance(described, dict) else None
    for each in front if isinstance(front, list) else []:
        index, ratio = (each.get("index"), each.get("ratio")) if isinstance(each, dict) else (None, None)
        if type(index) is int and 0 <= index < n and isinstance(ratio, int | float) and 0 <= ratio < np.inf:
            found[index] = ratio
    return found


def empty_table() -> pa.Table:
    """The table of a record without evaluations."""
    return COLUMNS.empty_table().append_column("config", pa.array([], pa.string()))


def _parsed(name: str, data: bytes) -> pa.Table:
    """All fields of all lines as a table."""
    try:
        if not data.isascii():  # nearly every record is ASCII, and that check is fast
            data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecordError(f"{name}, line {line}: not an evaluation (no UTF-8)") from error
    if _may_be_deep(data):
        return _parse_lines(name, data)
    try:
        # One block, because a line may not straddle two and the packed masks of LARGE make lines of 10 kB.
        parsed = pyarrow.json.read_json(
            io.BytesIO(data),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=COLUMNS, newlines_in_values=False),
        )
    except pa.ArrowInvalid:
        return _parse_lines(name, data)
    return parsed if parsed.num_rows == data.count(b"\n") else _parse_lines(name, data)


def _may_be_deep(data: bytes) -> bool:
    """Whether a line may be nested so deep that Arrow's parser would overflow the stack and end the process."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    starts = np.append(0, ends[:-1] + 1)
    long = ends - starts > _DEEPEST
    return any(
        data.count(b"[", start, end) + data.count(b"{", start, end) > _DEEPEST
        for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True)
    )


def _parse_lines(name: str, data: bytes) -> pa.Table:
    """The lines parsed one by one. Slow, but it names a bad line and reads NaN, which Arrow's parser rejects."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(data.decode().split("\n")[:-1], start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
            rows.append(row)
        except ValueError as error:
            raise RecordError(f"{name}, line {number}: not an evaluation ({error})") from error
        except RecursionError as error:
            raise RecordError(f"{name}, line {number}: not an evaluation (nested too deep)") from error
    columns = {}
    for field in COLUMNS:
        try:
            columns[field.name] = pa.array([row.get(field.name) for row in rows], field.type)
        except _NO_COLUMN as error:
            raise RecordError(f"{name}: column {field.name!r} holds other values than {field.type}") from error
    for nested in ("config", "metrics", "test_metrics", "costs"):
        try:
            columns[nested] = pa.array([row.get(nested) for row in rows])
        except _NO_COLUMN as error:
            raise RecordError(f"{name}: column {nested!r} holds values without a common type") from error
    return pa.table(columns)


def _fields(name: str, table: pa.Table, column: str) -> list[tuple[str, Any]]:
    """Names and columns of a nested field. Empty if the field is missing or null in every line."""
    if column not in table.column_names or pa.types.is_null(table[column].type):
        return []
    kind = table[column].type
    if not pa.types.is_struct(kind):
        raise RecordError(f"{name}: column {column!r} holds {kind} instead of objects")
    return [(kind.field(i).name, pc.struct_field(table[column], i)) for i in range(kind.num_fields)]


def _config_text(name: str, table: pa.Table) -> Any:
    """Configurations as text for readers, ``heads=3, units=100, layers=2``. Long values are cut."""
    parts: list[Any] = []
    for key, values in _fields(name, table, "config"):
        if pa.types.is_nested(values.type):
            # Arrow reads text that looks like a date as a date, for which JSON has no form.
            texts = pa.array([json.dumps(value, default=str) for value in values.to_pylist()], pa.string())
        else:
            texts = values.cast(pa.string())
        if (pc.max(pc.utf8_length(texts)).as_py() or 0) > _LONGEST_TEXT:
            cut = pc.utf8_slice_codeunits(texts, 0, _LONGEST_TEXT)
            is_long = pc.greater(pc.utf8_length(texts), _LONGEST_TEXT)
            texts = pc.if_else(is_long, pc.binary_join_element_wise(cut, "\N{HORIZONTAL ELLIPSIS}", ""), texts)
        parts.append(pc.binary_join_element_wise(f"{key}=", pc.fill_null(texts, "?"), ""))
    if not parts:
        return pa.repeat(pa.scalar(""), table.num_rows)
    return pc.binary_join_element_wise(*parts, ", ") if len(parts) > 1 else parts[0]


def _numbers(table: pa.Table, name: str) -> FloatArray:
    """A column as a writable array with NaN for null."""
    return np.array(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _validated(name: str, table: pa.Table, n_params_full: int, oddities: list[str]) -> pa.Table:
    """The table with non-finite errors turned into failures. Raises :class:`RecordError` for impossible values."""

    def refuse(wrong: BoolArray, message: Callable[[int], str]) -> None:
        if wrong.any():
            i = int(np.argmax(wrong))
            raise RecordError(f"{name}, line {i + 1}: {message(i)}")

    for column in _REQUIRED:
        missing = table[column].is_null().to_numpy()
        refuse(missing, lambda _, column=column: f"not an evaluation (no {column!r})")  # type: ignore[misc]
    index = table["index"].to_numpy()
    status = np.array(table["status"].to_numpy(), dtype=object)
    params, elapsed_s = _numbers(table, "params"), _numbers(table, "elapsed_s")
    refuse(index != np.arange(len(index)), lambda i: f"index {index[i]} where {i} is due")
    refuse((status != "ok") & (status != "failed"), lambda i: f"status {status[i]!r} is neither 'ok' nor 'failed'")
    # Negate "in range" instead of testing "out of range", because a NaN is in no range.
    is_fraction = (params > 0) & (params <= 1 + ROUNDING)
    refuse(~is_fraction, lambda i: f"params = {params[i]} is not a fraction of the full network")
    n_params, wanted = table["n_params"].to_numpy(), params * n_params_full
    refuse(
        np.abs(n_params - wanted) > 1,
        lambda i: f"n_params = {n_params[i]}, but params = {params[i]} of {n_params_full} are {wanted[i]:.0f}",
    )
    refuse(
        ~((elapsed_s >= 0) & np.isfinite(elapsed_s)),
        lambda i: f"elapsed_s = {elapsed_s[i]} is not a number of seconds, 0 or more",
    )
    refuse(np.diff(elapsed_s, prepend=0.0) < 0, lambda i: f"elapsed_s goes back to {elapsed_s[i]}")
    error, test_error = _numbers(table, "error"), _numbers(table, "test_error")
    for what, values in (("error", error), ("test_error", test_error)):
        impossible = np.isfinite(values) & ((values < -ROUNDING) | (values > MAX_ERROR + ROUNDING))
        refuse(
            impossible,
            lambda i, what=what, values=values: f"{what} = {values[i]} is not between 0 and {MAX_ERROR}",  # type: ignore[misc]
        )
    without_error = (status == "ok") & ~np.isfinite(error)
    if without_error.any():
        i = int(np.argmax(without_error))
        what = "missing" if table["error"].is_null()[i].as_py() else str(error[i])
        more = f" (and {without_error.sum() - 1} more)" if without_error.sum() > 1 else ""
        oddities.append(f"{name}, line {i + 1}{more}: the error is {what}; counted as a failed evaluation")
    status[without_error] = "failed"
    error[status == "failed"] = np.nan
    # A null means that there is no test error. A NaN or infinity is a defect.
    odd = ~table["test_error"].is_null().to_numpy() & ~np.isfinite(test_error)
    if odd.any():
        i = int(np.argmax(odd))
        oddities.append(f"{name}, line {i + 1}: the test error is {test_error[i]}; left out")
        test_error[odd] = np.nan
    for column, values in (("status", status), ("error", error), ("test_error", test_error)):
        place = table.column_names.index(column)
        table = table.set_column(place, column, pa.array(values, COLUMNS.field(column).type))
    return table


def _within_limits(name: str, table: pa.Table, identity: Identity, oddities: list[str]) -> pa.Table:
    """The evaluations within the budget, by time and by number."""
    elapsed_s = _numbers(table, "elapsed_s")
    n = len(table)
    if identity.max_evaluations is not None and n > identity.max_evaluations:
        n = identity.max_evaluations
        oddities.append(f"{name}, line {n + 1}: past the limit of {n} evaluations; left out with all after it")
    if identity.budget_s is not None:
        in_time = int(np.searchsorted(elapsed_s, identity.budget_s * (1 + ROUNDING), side="right"))
        if in_time < n:
            n = in_time
            spent = f"elapsed_s = {elapsed_s[n]} is past the budget of {identity.budget_s:g} s"
            oddities.append(f"{name}, line {n + 1}: {spent}; left out with all after it")
    return table.slice(0, n)
