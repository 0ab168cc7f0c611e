"""Folders that a test may not use, whoever runs it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


def read_only_folder() -> AbstractContextManager[Path]:
    """A folder that is read-only for this process. Inside the scope, root is nobody, since root may write anywhere."""
    return _folder(0o555)


def closed_folder() -> AbstractContextManager[Path]:
    """A folder that this process can neither list nor enter. Inside the scope, root is nobody."""
    return _folder(0o000)


@contextmanager
def _folder(mode: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(mode)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)
