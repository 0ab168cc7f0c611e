"""Decide whether a run can resume an earlier attempt, and lock its folder against other processes."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nasbench.errors import CannotResume, UserError
from nasbench.records.record import RunFolder, RunRecord

LOCK = ".lock"


class InProgress(UserError):
    """Another process holds the lock of the run."""


_SAME_PROVENANCE = {
    "data": "data_sha256",
    "pre-trained weights": "weights_sha256",
    "precision": "precision",
    "fine-tuning": "fine_tuning",
    "super-network's training": "super_network",
}
"""Parts of a run that must not change between attempts, with their keys in the provenance."""


def earlier_attempt(folder: RunFolder) -> RunRecord | None:
    """The record to resume, or None for a fresh start.

    A run that failed before its first evaluation starts afresh. Its checkpoint is deleted.

    Raises:
        UserError: if the run is complete, or if its folder has other files of a run but no ``run.json``.
        RecordError: if ``run.json`` cannot be read.
    """
    if not folder.exists():
        remains = [name for name in (RunFolder.EVALUATIONS, "weights", "checkpoints") if (folder.path / name).exists()]
        if remains:
            raise UserError(f"{folder.path} has {remains[0]} but no {RunFolder.RUN}; remove the folder to start again")
        return None
    record = folder.read_run()
    if record.status == "complete":
        raise UserError(
            f"this run is complete: {folder.path} (remove the folder to run it again, or choose another --seed)"
        )
    is_empty = not record.n_evaluations and not (folder.path / RunFolder.EVALUATIONS).exists()
    if record.status == "failed" and is_empty:
        shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)
        return None
    return record


def check_same(earlier: RunRecord, now: RunRecord, folder: Path) -> None:
    """Check that a resumed run has the same identity, metric, data, weights, settings and suite version as before.

    Raises:
        UserError: names the first difference. Mostly a :class:`CannotResume`.
    """
    before, after = dataclasses.asdict(earlier.identity), dataclasses.asdict(now.identity)
    changed = [(name, before[name], after[name]) for name in before if before[name] != after[name]]
    if earlier.metric != now.metric:
        changed.append(("metric", earlier.metric, now.metric))
    if changed:
        name, was, now_is = changed[0]
        raise CannotResume(
            f"cannot resume {folder}: it was started with {name} {was}, now it is {now_is}; remove the folder to start "
            "again"
        )
    for name, key in _SAME_PROVENANCE.items():
        if earlier.provenance.get(key) != now.provenance[key]:
            raise CannotResume(
                f"cannot resume {folder}: its {name} differ from the present ones "
                f"({earlier.provenance.get(key)} against {now.provenance[key]}); remove the folder to start again"
            )
    if earlier.suite_version != now.suite_version:
        raise UserError(
            f"cannot resume {folder}: it was started with nasbench {earlier.suite_version}, this is "
            f"{now.suite_version}; remove the folder to start again"
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a run's folder and lock it, so that no two processes write one record.

    The operating system frees the lock of a process that ends, however it ends. A folder in which nothing was written
    is removed again.

    Raises:
        InProgress: at once, if another process holds the lock.
        UserError: if the folder cannot be written.
    """
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InProgress(f"this run is in progress in another process: {folder}") from error
    except OSError as error:
        raise UserError(f"cannot write to the results folder {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        if [path.name for path in folder.iterdir()] == [LOCK]:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()
