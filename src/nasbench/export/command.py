"""The command that makes a run again, from its record. Needs no torch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from nasbench.plugins.settings import SEARCHER_PREFIX
from nasbench.records.record import RunRecord
from nasbench.tables.table import SUFFIX, digests_of_suite, table_of


def command_of(record: RunRecord) -> str:
    """``nasbench run ...`` with every name spelt out, and the options that the record says were changed.

    A simulated run names its table by the name of the file, unless the table comes with the suite.
    """
    identity = record.identity
    words = ["nasbench", "run", "--method", identity.method]
    if identity.searcher is not None:
        words += ["--searcher", identity.searcher]
    words += ["--task", identity.task, "--model", identity.model]
    if record.simulated is None:
        words += ["--space", identity.space]
    else:
        words += ["--table"] if table_of(record) in digests_of_suite() else ["--table", f"{record.simulated}{SUFFIX}"]
    if identity.objectives is not None:
        words += ["--objectives", ",".join(identity.objectives)]
    for setting in settings_of(record.changed_options or {}):
        words += ["--set", setting]
    words += ["--seed", str(identity.seed)]
    if identity.device_class in ("cpu", "gpu"):
        words += ["--device", "cuda" if identity.device_class == "gpu" else "cpu"]
    if identity.budget_s is not None and any("budget" in reason for reason in record.unofficial):
        words += ["--budget", str(identity.budget_s).removesuffix(".0")]
    if identity.max_evaluations is not None:
        words += ["--max-evaluations", str(identity.max_evaluations)]
    return shlex.join(words)


def settings_of(options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Options as ``--set`` takes them.

    Args:
        options: ``{"method": {...}, "searcher": {...}}``.
    """
    for owner, prefix in (("method", ""), ("searcher", SEARCHER_PREFIX)):
        for name, value in options.get(owner, {}).items():
            yield f"{prefix}{name}={_text(value)}"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value)
