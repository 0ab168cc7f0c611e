"""Decide whether a run can resume an earlier attempt, and lock its folder against other processes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nasbench.errors import CannotResume, UserError, printable
from nasbench.records.record import UNFINISHED, RunFolder, RunRecord
from nasbench.records.schema import EARLIER_ATTEMPTS, OTHER_WORK

LOCK = ".lock"
HOLDER = ".holder"
"""Names the machine and the process that holds the lock."""
BEAT_S = 5.0
LOST_S = 30.0
"""Seconds after which a holder on another machine counts as lost, if it has not touched its file."""


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
_ORIGIN = ("git_revision", "hardware", "packages", "isolation")


def earlier_attempt(folder: RunFolder) -> RunRecord | None:
    """The record to resume, or None for a fresh start.

    A run that failed before its first evaluation starts afresh. Its checkpoint and its weights are deleted.

    Raises:
        UserError: if the run is complete, or if its folder has other files of a run but no ``run.json``.
        RecordError: if ``run.json`` cannot be read, or evaluations of a complete run are lost or changed.
    """
    if not folder.exists():
        remains = [name for name in (RunFolder.EVALUATIONS, "weights", "checkpoints") if (folder.path / name).exists()]
        if remains:
            raise UserError(f"{folder.path} has {remains[0]} but no {RunFolder.RUN}; remove the folder to start again")
        return None
    record = folder.read_run()
    if record.status == "complete":
        folder.read_evaluations(record)  # a complete run that has lost evaluations since then is not complete
        raise UserError(
            f"this run is complete: {folder.path} (remove the folder to run it again, or choose another --seed)"
        )
    is_empty = not record.n_evaluations and not (folder.path / RunFolder.EVALUATIONS).exists()
    if record.status == "failed" and is_empty:
        for name in (
            "checkpoints",
            "weights",
        ):  # the next attempt may be of another method that names its networks alike
            shutil.rmtree(folder.path / name, ignore_errors=True)
        return None
    return record


def check_precision(record: RunRecord, precision: str | None, folder: Path) -> None:
    """Check that a complete run computed in a precision; None for any. The folder does not depend on it.

    Raises:
        UserError: if it computed in another one.
    """
    computed_in = record.provenance.get("precision", precision)
    if record.status == "complete" and precision not in (None, computed_in):
        raise UserError(
            f"the complete run in {folder} computed in {computed_in}, not {precision}; name another folder with "
            "--results to run it again"
        )


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


def carry_over(earlier: RunRecord, now: RunRecord, *, repeats_all: bool) -> None:
    """Keep what the record of an earlier attempt says and the present one cannot know.

    Args:
        repeats_all: whether the method repeats everything that a note is about.
    """
    now.started_at, now.conditions, now.uncharged_s = earlier.started_at, earlier.conditions, earlier.uncharged_s
    # Other work on the machine is judged again, from the conditions of all attempts.
    kept = [reason for reason in earlier.unofficial if not reason.startswith(OTHER_WORK)]
    now.unofficial = [*kept, *(reason for reason in now.unofficial if reason not in kept)]
    if not repeats_all:
        now.notes = earlier.notes
        now.shortened_trainings.update(earlier.shortened_trainings)
    recorded = earlier.provenance.get(EARLIER_ATTEMPTS)
    attempts = list(recorded) if isinstance(recorded, list) else []  # a damaged record may hold anything here
    before, after = ({name: part.provenance.get(name) for name in _ORIGIN} for part in (earlier, now))
    if before != after and before not in attempts:
        attempts.append(before)
    if attempts:
        now.provenance[EARLIER_ATTEMPTS] = attempts


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a run's folder and lock it, so that no two processes write one record.

    The operating system frees the lock of a process that ends, however it ends. Some network file systems do not show
    the lock to other machines. So the holder also names itself in a file and touches the file while it lives. A folder
    in which nothing was written is removed again.

    Raises:
        InProgress: at once, if another process holds the lock.
        UserError: if the folder cannot be written.
    """
    lock, holder = FileLock(folder / LOCK, blocking=False), folder / HOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InProgress(f"this run is in progress in another process: {folder}{_holder(holder)[1]}") from error
    except OSError as error:
        raise UserError(f"cannot write to the results folder {folder}: {error.strerror}") from error
    has_ended = threading.Event()
    try:
        try:
            _refuse_other_host(folder)
            holder.write_text(json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
        except OSError as error:
            raise UserError(f"cannot write to the results folder {folder}: {error.strerror}") from error
        beat = threading.Thread(target=_beat, args=(holder, has_ended), name="nasbench-holder", daemon=True)
        beat.start()
        try:
            yield
        finally:
            has_ended.set()
            beat.join()
            with suppress(OSError):
                holder.unlink(missing_ok=True)
    finally:
        if folder.exists() and [path.name for path in folder.iterdir()] == [LOCK]:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _holder(path: Path) -> tuple[str | None, str]:
    """The host in a holder's file, and a text that names host and process; None and "" without such a file."""
    try:
        values = json.loads(path.read_bytes())
        host, process = str(values["host"]), int(values["process"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, ""
    return host, f" (process {process} on {printable(host)})"


def _refuse_other_host(folder: Path) -> None:
    """Refuse a folder that a live process of another machine holds. The times are those of the file server's clock."""
    path = folder / HOLDER
    host, text = _holder(path)
    if host is None or host == socket.gethostname():  # on this machine, the lock has told already
        return
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=UNFINISHED) as now:
        silent_s = Path(now.name).stat().st_mtime - path.stat().st_mtime
    if silent_s < LOST_S:
        raise InProgress(
            f"this run is in progress in another process: {folder}{text}; if that machine is lost, try again after "
            f"{LOST_S:g} s"
        )


def _beat(path: Path, has_ended: threading.Event) -> None:
    """Touch the holder's file until the run ends."""
    while not has_ended.wait(BEAT_S):
        with suppress(OSError):
            os.utime(path)
