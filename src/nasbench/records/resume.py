"""Whether a run can go on from what an earlier attempt left, and the lock that keeps two processes apart."""

from __future__ import annotations

import dataclasses
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nasbench.errors import CannotResume, UserError
from nasbench.records.record import RunFolder, RunRecord


def earlier_attempt(folder: RunFolder) -> RunRecord | None:
    """The record to resume, None for a fresh start; what failed before it had anything to keep starts afresh."""
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
    if record.status == "failed" and not (folder.path / RunFolder.EVALUATIONS).exists():
        shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)
        return None
    return record


def check_same(earlier: RunRecord, now: RunRecord, folder: Path) -> None:
    """A run is resumed with what it was started with, or not at all."""
    what = {
        "data": "data_sha256",
        "pre-trained weights": "weights_sha256",
        "precision": "precision",
        "fine-tuning": "fine_tuning",
        "super-network's training": "super_network",
    }
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
    for name, key in what.items():
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
    """Two processes must not write one record."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write to the results folder {folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"this run is in progress in another process: {folder}") from error
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [".lock"]:  # it came to nothing: leave nothing
                shutil.rmtree(folder, ignore_errors=True)
