"""What a run has written of ``evaluations.jsonl``, so that lines which are lost or changed later are noticed.

While a run lasts, ``.progress`` beside the record holds the number of lines, their bytes and their checksum, and those
of the lines that are flushed to disk. It is written after each line, so after a kill it names at most the lines that
are there. Once the machine has started again, only the flushed lines must be there. The record of a finished run holds
number and checksum itself, and the file is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from nasbench.errors import NasbenchError
from nasbench.records.schema import RecordError

FILE = ".progress"
RESUMABLE = "; once that is mended, the same command resumes the run"
REMEDY = "put the file back from a copy, or remove the folder to start again"
Written = tuple[int, int, str]
"""Number, bytes and checksum of the lines that a run has written."""


_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Another text each time that the machine starts."""


class Tally:
    """Number, bytes and checksum of the lines that a run has written.

    Args:
        data: the complete lines so far.

    Attributes:
        flushed: number, bytes and checksum of the lines that outlast a power failure.
    """

    def __init__(self, data: bytes = b"") -> None:
        self.n_lines, self.n_bytes = 0, 0
        self._digest = hashlib.sha256()
        self.flushed = (0, 0, self.sha256)
        self.add(data)

    @property
    def sha256(self) -> str:
        """Checksum of all lines."""
        return self._digest.hexdigest()

    def add(self, lines: bytes) -> None:
        """Count lines that were appended."""
        self.n_lines += lines.count(b"\n")
        self.n_bytes += len(lines)
        self._digest.update(lines)

    def note_flush(self) -> None:
        """Note that all lines are on the disk."""
        self.flushed = (self.n_lines, self.n_bytes, self.sha256)

    def save(self, folder: Path) -> None:
        """Write the run's ``.progress``, in place: a few bytes, which a kill does not cut.

        Raises:
            NasbenchError: if it cannot be written.
        """
        values = {
            "n_evaluations": self.n_lines,
            "n_bytes": self.n_bytes,
            "sha256": self.sha256,
            "flushed": self.flushed,
            "boot": _boot(),
        }
        try:
            (folder / FILE).write_bytes(json.dumps(values).encode() + b"\n")
        except OSError as error:
            raise NasbenchError(f"cannot write {folder / FILE}: {error.strerror}{RESUMABLE}") from error


def check_whole(path: Path, data: bytes, written: Written | None, n_recorded: int | None, sha256: str | None) -> None:
    """Check that ``evaluations.jsonl`` has every line that the run wrote, unchanged.

    Args:
        path: the file, for the messages.
        data: its contents; empty if it is missing.
        written: from :func:`read_written`, called before the file was read.
        n_recorded: number of lines according to the record; None if it does not say.
        sha256: their checksum according to the record; None if it does not say.

    Raises:
        RecordError: says how many evaluations are lost, or that they have changed.
    """
    if n_recorded is not None:
        whole = data[: data.rfind(b"\n") + 1]
        _check(path, whole, whole.count(b"\n"), n_recorded, sha256)
    if written is not None:
        n_written, n_bytes, digest = written
        _check(path, data[:n_bytes], data.count(b"\n"), n_written, digest)


def _check(path: Path, lines: bytes, n_left: int, n_written: int, sha256: str | None) -> None:
    if n_left < n_written:
        raise RecordError(
            f"{path}: {n_written - n_left} of {n_written} evaluations are lost since they were recorded; {REMEDY}"
        )
    if sha256 is not None and hashlib.sha256(lines).hexdigest() != sha256:
        raise RecordError(f"{path}: the {n_written} evaluations have changed since they were recorded; {REMEDY}")


def read_written(folder: Path) -> Written | None:
    """The lines of a run's ``evaluations.jsonl`` that must be there.

    Call it before the lines are read: a run that is in progress may append some in between.

    Returns:
        None without a ``.progress``, or with one that a power failure damaged.
    """
    try:
        values = json.loads((folder / FILE).read_bytes())
        found = values["n_evaluations"], values["n_bytes"], values["sha256"]
        if "flushed" in values and values["boot"] != _boot():  # files of older versions name flushed lines only
            found = tuple(values["flushed"])
        _, _, _ = found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_sound = type(found[0]) is int and type(found[1]) is int and found[1] >= 0 and isinstance(found[2], str)
    return found if is_sound else None


def _boot() -> str | None:
    try:
        return _BOOT.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, so that a new file outlasts a power failure. Not all file systems can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
