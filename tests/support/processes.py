"""Processes that a test talks to."""

from __future__ import annotations

import select
import subprocess

import pytest

LIMIT_S = 300.0
"""How long a test waits for a process. A busy machine answers sooner; without a limit, a fault would hang the tests."""


def next_line(process: subprocess.Popen[str], limit_s: float = LIMIT_S) -> str:
    """The next line of a process that prints one line for each that it is sent. It is killed if none comes in time."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], limit_s)
    if not ready:
        process.kill()
        pytest.fail(f"no line within {limit_s:g} s")
    return process.stdout.readline()
