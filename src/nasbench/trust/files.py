"""The files of a submitted run, read with bounds: regular files of known names, none larger than its limit."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from nasbench.errors import UserError
from nasbench.records.predictions import FILE as PREDICTIONS
from nasbench.records.predictions import MAX_BYTES
from nasbench.records.record import RunFolder

SUBMISSION = "submission.json"
VERIFICATION = "verification.json"
RECORD = (RunFolder.RUN, RunFolder.EVALUATIONS, PREDICTIONS)
"""The files that make a record. The last one may be missing."""

_MIB = 2**20
LIMITS: Mapping[str, int] = {
    RunFolder.RUN: 4 * _MIB,
    RunFolder.EVALUATIONS: 256 * _MIB,
    PREDICTIONS: MAX_BYTES + _MIB,
    SUBMISSION: _MIB // 16,
    VERIFICATION: _MIB // 16,
}
"""Largest size of each file in bytes."""

Files = dict[str, bytes]


class FileError(UserError):
    """A file of a submission that is not read: it is too large, or no regular file."""


def read_files(folder: Path, names: Iterable[str] = RECORD) -> Files:
    """The contents of those of the files that exist.

    Symbolic links are not followed: a link in a pull request could show a file of the machine that verifies it.

    Raises:
        FileError: if a file is too large, is no regular file, or cannot be read.
    """
    found = {}
    for name in names:
        try:
            descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError as error:
            if (folder / name).is_symlink():
                raise FileError(f"{name}: a symbolic link is not followed; put the file itself there") from error
            raise FileError(f"{name}: cannot be read ({error.strerror})") from error
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileError(f"{name}: not a regular file")
            data = file.read(LIMITS[name] + 1)
        if len(data) > LIMITS[name]:
            raise FileError(f"{name}: larger than {LIMITS[name]:,} bytes")
        found[name] = data
    return found
