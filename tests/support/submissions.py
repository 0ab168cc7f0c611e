"""Changes of the files of a submitted run."""

from __future__ import annotations

import hashlib
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
    fit_checksum(files)


def fit_checksum(files: dict[str, bytes]) -> None:
    """Write the checksum of the changed lines into ``run.json``, as an attacker would."""
    data = files[RunFolder.EVALUATIONS]
    checksum = {"n_evaluations": data.count(b"\n"), "evaluations_sha256": hashlib.sha256(data).hexdigest()}
    change_run(files, lambda record: record.update(checksum))
