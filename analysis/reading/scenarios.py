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
    """The task of each run, with the digest of a user's declaration where the names stand for several.

    The names of a task and a model of the suite stand for these: a user's own ``minilm-l6`` on ``rte`` has the digest.
    """
    tasks, models = {task.name for task in registry.suite_tasks()}, registry.models()
    # On a task of the suite, a user's model with a name of its own makes no other task.
    places = [(each.task, each.model if each.task in tasks else "") for each in identities]
    declarations: dict[tuple[str, str], set[str | None]] = {
        (task, model): {None} if model in models else set() for task, model in places
    }
    for place, identity in zip(places, identities, strict=True):
        declarations[place].add(identity.declaration)
    return [
        identity.task
        if identity.declaration is None or len(declarations[place]) == 1
        else f"{identity.task}-{identity.declaration}"
        for place, identity in zip(places, identities, strict=True)
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
