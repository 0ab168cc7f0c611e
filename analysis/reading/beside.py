"""The files that other commands have written beside a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nasbench.records.quantization import read_quantization
from nasbench.records.schema import RecordError
from nasbench.records.zero_shot import read_zero_shot

_READERS: Mapping[str, tuple[Callable[[Path], list[Any]], str]] = {
    "quantized": (lambda folder: read_quantization(folder).devices, "the quantised networks are"),
    "zero_shot": (lambda folder: read_zero_shot(folder).tasks, "the accuracies on zero-shot tasks are"),
}
"""For each column of the runs: what reads it, and what a damaged file leaves out."""
COLUMNS = tuple(_READERS)


def read_beside(run_folder: Path) -> tuple[dict[str, list[Any]], list[str]]:
    """The values of each of :data:`COLUMNS` for a run, and a remark on each file that cannot be read."""
    found: dict[str, list[Any]] = {}
    remarks = []
    for name, (read, what) in _READERS.items():
        try:
            found[name] = read(run_folder)
        except RecordError as error:
            found[name] = []
            remarks.append(f"{error}; {what} left out".removeprefix(f"{run_folder}/"))
    return found, remarks
