"""What a process of a sweep does about a run that another process holds."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.sweeping import Scene

from nasbench.records import resume
from nasbench.sweeps import worker
from nasbench.sweeps.worker import carry_out


def test_a_run_waits_until_a_lost_process_has_let_go(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = scene.jobs(["s-nas"], 1, [0], max_evaluations=2)
    other, n_waits = ExitStack(), 0

    def wait(_: float) -> None:
        nonlocal n_waits
        n_waits += 1
        if n_waits == 3:
            other.close()

    monkeypatch.setattr(time, "sleep", wait)
    reports: list[dict[str, object]] = []
    with other:
        other.enter_context(resume.locked(tmp_path / "results" / job.folder))
        outcome = carry_out(job, str(tmp_path / "results"), "cpu", 1, reports.append)
    assert (outcome["status"], n_waits) == ("complete", 3)
    assert reports[:3] == [{"phase": "waiting for the lock of another process"}] * 3


def test_a_run_that_stays_locked_fails_with_the_process_that_holds_it(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = scene.jobs(["s-nas"], 1, [0], max_evaluations=2)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(worker, "LOCK_WAIT_S", 2.0)
    with resume.locked(tmp_path / "results" / job.folder):
        outcome = carry_out(job, str(tmp_path / "results"), "cpu", 1, lambda _: None)
    assert outcome["status"] == "failed"
    assert outcome["reason"].startswith("this run is in progress in another process: ")
