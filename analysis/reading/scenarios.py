"""Scenarios: the task and the device class of each run, with a digest where a name alone is ambiguous."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nasbench.arrays import BoolArray
from nasbench.plugins import registry
from nasbench.records.record import Identity, RunRecord
from nasbench.tables.table import table_of


def task_labels(identities: Sequence[Identity]) -> list[str]:
    """The task of each run. Users' tasks of one name have the digest of their declaration, if there are several."""
    declarations: dict[str, set[str | None]] = {}
    for identity in identities:
        declarations.setdefault(identity.task, set()).add(identity.declaration)
    return [
        identity.task
        if identity.declaration is None or len(declarations[identity.task]) == 1
        else f"{identity.task}-{identity.declaration}"
        for identity in identities
    ]


def device_labels(records: Sequence[RunRecord]) -> list[str]:
    """The device class of each run, with the digest of its table if a seed has runs on several tables.

    Tables that the seed chooses are one scenario, as data splits that the seed chooses are.
    """
    tables = [table_of(record) for record in records]
    by_seed: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for record, table in zip(records, tables, strict=True):
        if table is not None:
            by_seed[record.identity.task, record.identity.model, record.identity.seed].add(table)
    several = {(task, model) for (task, model, _), found in by_seed.items() if len(found) > 1}
    return [
        record.identity.device_class
        if table is None or (record.identity.task, record.identity.model) not in several
        else f"{record.identity.device_class}-{table}"
        for record, table in zip(records, tables, strict=True)
    ]


def of_language_models(runs: pd.DataFrame) -> BoolArray:
    """Runs on tasks that measure a language model's own predictions, such as WikiText-2, ``(n_runs,)``.

    A network for such a task needs no training. A decoder on a classification task does, as an encoder does.

    Args:
        runs: columns ``task, track``. A user's own task may have the name of one of the suite's, but is no such task.
    """
    names = [task.name for task in registry.suite_tasks() if task.needs_language_model]
    is_own = runs["track"].astype(str).str.split(":").str[0] == "user"
    return np.asarray(runs["task"].isin(names) & ~is_own, dtype=np.bool_)
