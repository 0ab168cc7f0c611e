"""Changes of the files of a submitted run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nasbench.records.record import RunFolder


def change_run(files: dict[str, bytes], change: Callable[[Any], object]) -> None:
    """Change the contents of ``run.json``."""
    record = json.loads(files[RunFolder.RUN])
    change(record)
    files[RunFolder.RUN] = json.dumps(record).encode()


def change_lines(files: dict[str, bytes], change: Callable[[Any], object]) -> None:
    """Change every line of ``evaluations.jsonl``."""
    lines = [json.loads(line) for line in files[RunFolder.EVALUATIONS].splitlines()]
    for line in lines:
        change(line)
    files[RunFolder.EVALUATIONS] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
