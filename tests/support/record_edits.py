"""Small results folders to edit and damage, for tests of reading."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from support.generated_results import Entry, Plan

from nasbench.records.record import RunFolder

PLAN = Plan([Entry("ws-nas", "ehvi"), Entry("rfp", space="large")], tasks=["rte"], seeds=range(3), n_evaluations=8)
"""Six runs: two entries with three seeds each."""

ODD = (None, "x", "\ud800", "a\0", True, -5, 1.5, 10**30, float("nan"), [1], {}, {"x": {"y": "\ud800"}})
"""Values that may stand in any field of a damaged record."""


def first_run(folder: Path) -> Path:
    """The folder of the first run in the order of reading."""
    return folder / "rte/bert-base-cased/rfp_large_gpu_seed0"


def edit_run(path: Path, **changes: object) -> None:
    """Changes fields of ``run.json``."""
    data = json.loads((path / RunFolder.RUN).read_text())
    (path / RunFolder.RUN).write_text(json.dumps({**data, **changes}))


def edit_identity(path: Path, **changes: object) -> None:
    """Changes fields of the identity in ``run.json``."""
    edit_run(path, identity={**json.loads((path / RunFolder.RUN).read_text())["identity"], **changes})


def edit_line(path: Path, line: int, **changes: object) -> None:
    """Changes fields of one evaluation."""
    lines = (path / RunFolder.EVALUATIONS).read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **changes})
    (path / RunFolder.EVALUATIONS).write_text("\n".join(lines) + "\n")


def edit_lines(path: Path, **changes: object) -> None:
    """Changes fields of all evaluations."""
    for line in range(PLAN.n_evaluations):
        edit_line(path, line, **changes)


def put_bytes(path: Path, old: bytes, new: bytes) -> None:
    """Replaces the first ``old`` in ``evaluations.jsonl``."""
    file = path / RunFolder.EVALUATIONS
    assert old in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(old, new, 1))


def copy_run(source: Path, target: Path) -> Path:
    """Copies a run folder; returns ``target``."""
    shutil.copytree(source, target)
    return target
