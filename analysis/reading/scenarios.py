"""Names of scenarios: the task and the device class of each run, with a digest where a name alone is ambiguous."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from nasbench.records.record import Identity, RunRecord


def table_of(record: RunRecord) -> str | None:
    """Digest of the table that answered a simulated run, also of an older record; None for a run on a network."""
    if record.identity.table is not None or record.simulated is None:
        return record.identity.table
    origin = record.provenance.get("table")
    return str(origin.get("sha256"))[:8] if isinstance(origin, dict) else None


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
    tables: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for record in records:
        if (table := table_of(record)) is not None:
            tables[record.identity.task, record.identity.model, record.identity.seed].add(table)
    several = {(task, model) for (task, model, _), found in tables.items() if len(found) > 1}
    return [
        f"{record.identity.device_class}-{table_of(record)}"
        if table_of(record) is not None and (record.identity.task, record.identity.model) in several
        else record.identity.device_class
        for record in records
    ]
