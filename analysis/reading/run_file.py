"""``run.json`` with every value checked that the analysis relies on: strangers write these files too."""

from __future__ import annotations

import operator
import reprlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from nasbench.analysis.reading.evaluation_file import DamagedRecord
from nasbench.records.record import RunFolder, RunRecord, RunStatus

_DEEPEST = 32
"""Levels of lists and dictionaries in one value; what shows them calls itself at every level."""


def read_run_file(path: Path) -> RunRecord:
    """The record of the run in a folder.

    Raises:
        RecordError: if there is no run record, or one of a newer schema.
        DamagedRecord: if a value is not what belongs in its place; names both.
    """
    record = RunFolder(path).read_run()
    for is_right, wanted, names in _RULES:
        for name in names:
            value = operator.attrgetter(name)(record)
            if not is_right(value):
                raise DamagedRecord(f"{RunFolder.RUN}: {name} = {reprlib.repr(value)} is not {wanted}")
    if record.identity.budget_s is None and record.identity.max_evaluations is None:
        raise DamagedRecord(f"{RunFolder.RUN}: neither identity.budget_s nor identity.max_evaluations ends the run")
    return record


def _is_clean(value: Any, depth: int = _DEEPEST) -> bool:
    """Whether a value can be shown: its text has a UTF-8 form and no NUL, which arrays of text lose."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return depth > 0 and all(_is_clean(key) and _is_clean(item, depth - 1) for key, item in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_clean(item, depth - 1) for item in value)
    return True


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and _is_clean(value)


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict) and _is_clean(value)


def _is_integer(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < 2**63


_RULES: tuple[tuple[Callable[[Any], bool], str, tuple[str, ...]], ...] = (
    (
        _is_name,
        "a name",
        (
            "identity.task",
            "identity.model",
            "identity.space",
            "identity.method",
            "identity.device_class",
            "suite_version",
            "track",
            "metric",
        ),
    ),
    (lambda value: value is None or _is_name(value), "a name or null", ("identity.searcher",)),
    (
        lambda value: value is None or (isinstance(value, str) and _is_clean(value)),
        "text or null",
        ("reason", "started_at"),
    ),
    (
        _is_dict,
        "a dictionary of values that can be shown",
        ("identity.options", "dimensions", "provenance", "charged_s", "uncharged_s"),
    ),
    (
        lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value) and _is_clean(value),
        "a list of texts",
        ("unofficial",),
    ),
    (
        lambda value: value is None or (_is_dict(value) and all(isinstance(inner, dict) for inner in value.values())),
        "a dictionary of options by owner, or null",
        ("changed_options",),
    ),
    (lambda value: _is_integer(value, -(2**63)), "an integer of 64 bits", ("identity.seed",)),
    (lambda value: _is_integer(value, 0), "a number of parameters", ("n_params_full",)),
    (
        lambda value: value is None or _is_integer(value, 1),
        "a number of evaluations or null",
        ("identity.max_evaluations",),
    ),
    (
        # An integer may be too large for a float, but not for being compared with one.
        lambda value: value is None or (type(value) in (int, float) and 0 < value <= sys.float_info.max),
        "a time in seconds or null",
        ("identity.budget_s",),
    ),
    (lambda value: value in get_args(RunStatus), "the status of a run", ("status",)),
)
"""What belongs where: a test, its description, and the fields it is for."""
