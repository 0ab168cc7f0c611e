"""Appends lines to ``evaluations.jsonl``.

Each line is handed to the operating system before :meth:`Lines.append` returns, so no line is lost when the process is
killed. It is flushed to disk at most once a second: on a fast GPU, a flush costs as much time as an evaluation. So a
power failure can lose the evaluations since the last flush. ``.progress`` says which lines are flushed, so that the run
can be resumed without the others.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nasbench.errors import NasbenchError
from nasbench.records import progress

FLUSH_INTERVAL_S = 1.0
"""Shortest time between two flushes to disk."""


class Lines:
    """The lines of one run, and their number and checksum.

    Args:
        path: the file, which may be missing.
        data: its contents; what follows the last newline does not count.
        clock: gives seconds from any origin. Tests pass a fake clock.

    Attributes:
        tally: number and checksum of the lines. They are read once, and counted while lines are appended.
    """

    def __init__(self, path: Path, data: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self.tally = progress.Tally(data[: data.rfind(b"\n") + 1])
        self._path, self._clock = path, clock
        self._flushed_at: float | None = None

    def append(self, line: bytes) -> None:
        """Append a line, with its newline.

        Raises:
            NasbenchError: if the disk is full or the file cannot be written. No part of the line stays.
        """
        is_due = self._flushed_at is None or self._clock() - self._flushed_at >= FLUSH_INTERVAL_S
        try:
            with self._path.open("ab", buffering=0) as file:
                try:
                    if file.write(line) < len(line):  # a disk that is nearly full takes a part
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    if is_due:
                        os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):
                        file.truncate(self.tally.n_bytes)
                    raise
            if self.tally.n_lines == 0:
                progress.sync_folder(self._path.parent)
        except OSError as error:
            raise self._failure(error) from error
        self.tally.add(line)
        if is_due:
            self._note_flush()
        self.tally.save(self._path.parent)

    def flush(self) -> None:
        """Flush all lines to disk.

        Raises:
            NasbenchError: if the disk is full or the file cannot be written.
        """
        try:
            with self._path.open("ab") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise self._failure(error) from error
        self._note_flush()
        self.tally.save(self._path.parent)

    def _note_flush(self) -> None:
        self.tally.note_flush()
        self._flushed_at = self._clock()

    def _failure(self, error: OSError) -> NasbenchError:
        return NasbenchError(f"cannot write {self._path}: {error.strerror}{progress.RESUMABLE}")
