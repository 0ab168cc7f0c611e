"""Runs in processes of their own on this machine: slots, a killed process, an interrupt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from support.processes import LIMIT_S
from support.sweeping import Scene, in_the_middle, is_alive, one_after_the_other, records

from nasbench.errors import UserError
from nasbench.records.record import RunFolder, find_runs
from nasbench.sweeps import driver
from nasbench.sweeps.jobs import Earlier
from nasbench.sweeps.local import LocalBackend, Slot, _opened, slots


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {8, 9, 10, 11, 12, 13, 14, 15})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def see_gpus(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)


@pytest.mark.usefixtures("eight_cores")
def test_slots_on_a_cpu() -> None:
    assert slots("cpu") == [Slot(tuple(range(8, 16)))]
    assert slots("cpu", jobs=2) == [Slot((8, 9, 10, 11)), Slot((12, 13, 14, 15))]
    assert slots("cpu", jobs=3) == [Slot((8, 9)), Slot((10, 11)), Slot((12, 13))]
    assert slots("cpu", cpus_per_run=4) == [Slot((8, 9, 10, 11)), Slot((12, 13, 14, 15))]
    assert slots("cpu", jobs=2, cpus_per_run=1) == [Slot((8,)), Slot((9,))]
    for arguments in ({"jobs": 9}, {"cpus_per_run": 9}, {"jobs": 3, "cpus_per_run": 4}):
        with pytest.raises(UserError, match="this process may use 8 cores"):
            slots("cpu", **arguments)


@pytest.mark.usefixtures("eight_cores")
def test_slots_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    see_gpus(monkeypatch, 4)
    assert slots("cuda") == [Slot((8 + 2 * i, 9 + 2 * i), (str(i),)) for i in range(4)]
    assert slots("cuda", gpus_per_run=2) == [Slot((8, 9, 10, 11), ("0", "1")), Slot((12, 13, 14, 15), ("2", "3"))]
    assert slots("cuda", jobs=1) == [Slot(tuple(range(8, 16)), ("0",))]
    assert slots("cuda:2") == [Slot(tuple(range(8, 16)), ("2",))]
    with pytest.raises(UserError, match="4 GPUs have room for 4 runs at once"):
        slots("cuda", jobs=5)
    with pytest.raises(UserError, match="--gpus-per-run 5"):
        slots("cuda", gpus_per_run=5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,3")
    see_gpus(monkeypatch, 2)
    assert [slot.gpus for slot in slots("cuda")] == [("GPU-a",), ("3",)]
    assert [slot.gpus for slot in slots("cuda:1")] == [("3",)]


def test_report_comes_although_the_log_stays_and_lines_are_no_reports(tmp_path: Path, monkeypatch: Any) -> None:
    """A results folder can become read-only in the middle of a sweep."""
    backend = LocalBackend(str(tmp_path), [Slot((0,))], tmp_path)
    lines = ["a method prints\n", "[1]\n", '{"phase": "x"}\n', '{"status": "complete", "is_last": true}\n']
    process: Any = SimpleNamespace(stdout=lines, stdin=None, wait=lambda: 0)
    backend._processes[3] = process, Slot((0,))
    monkeypatch.setattr(Path, "unlink", Mock(side_effect=OSError(30, "Read-only file system")))
    backend._read(3, process, tmp_path / "job.log")
    reports = [report for _, report in backend.poll(0.1)]
    assert [report for report in reports if report] == [{"phase": "x"}, {"status": "complete"}]
    assert backend.has_room()


def test_log_opens_although_another_run_removes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removals, make = [1], Path.mkdir

    def made_and_removed(folder: Path, **options: Any) -> None:
        make(folder, **options)
        if removals:
            removals.pop()
            folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", made_and_removed)
    _opened(tmp_path / "logs" / "job.log").close()
    assert (tmp_path / "logs" / "job.log").exists()


def sweep_locally(jobs: list, results: Path, n_slots: int = 1) -> driver.Sweep:
    """Make the jobs with processes that share this process's cores."""
    cores = tuple(sorted(os.sched_getaffinity(0)))[:1]
    backend = LocalBackend(str(results), [Slot(cores)] * n_slots, results / "sweep-logs")
    sweep = driver.make_sweep(jobs, [Earlier("nothing")] * len(jobs), retry_failed=False)
    driver.carry_out(sweep, backend, lambda _: None)
    return sweep


def test_a_killed_process_goes_on_and_changes_no_record(scene: Scene, tmp_path: Path) -> None:
    jobs = scene.jobs(["patient"], 1, [0, 1])
    one_after_the_other(jobs, tmp_path / "expected")

    def kill(pid: int) -> None:
        assert os.sched_getaffinity(pid) == set(sorted(os.sched_getaffinity(0))[:1])
        os.kill(pid, signal.SIGKILL)

    with in_the_middle(scene, "first", 0, kill) as killed:
        sweep = sweep_locally(jobs, tmp_path / "swept", n_slots=2)
    assert [state.status for state in sweep.states] == ["complete", "complete"]
    assert [(state.n_losses, state.n_starts) for state in sweep.states] == [(1, 2), (0, 1)]
    assert not is_alive(killed[0])
    assert records(tmp_path / "swept") == records(tmp_path / "expected")
    assert not (tmp_path / "swept" / "sweep-logs").exists()


COMMAND = """
import signal, sys
from nasbench.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.soak),
        pytest.param(signal.SIGKILL, marks=pytest.mark.soak),
    ],
    ids=["SIGTERM", "Ctrl-C", "killed"],
)
def test_no_run_outlives_its_sweep(scene: Scene, tmp_path: Path, number: signal.Signals) -> None:
    """After SIGTERM or Ctrl-C, all runs have stopped. If the sweep is killed, its runs stop soon."""
    results = tmp_path / "results"
    arguments = ["--method", "patient", "--task", str(scene.folder / "first.toml"), "--seed", "0,1", "--device", "cpu"]
    arguments += ["--plugin", str(scene.plugin), "--no-isolate", "--max-evaluations", "6", "--results", str(results)]
    arguments += ["--cpus-per-run", "1", "--jobs", "1"]
    scene.close("first", 0)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "sweep", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        pid = scene.wait_for("first", 0)
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()  # it has ended, unless the test has failed
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert err == (
            "error: interrupted; 0 of 2 runs are complete, all records are kept, and the same command goes on\n"
        )
        assert "running: first my-model patient" in out
        assert not is_alive(pid)
    end_s = time.monotonic() + 30
    while is_alive(pid):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    (folder,) = find_runs(results)
    assert RunFolder(folder).read_run().status == "running"
    assert len(RunFolder(folder).read_evaluations()) == 3


def test_method_from_outside_is_isolated_by_default(scene: Scene, tmp_path: Path) -> None:
    (isolated,), (trusted,) = (scene.jobs(["patient"], 1, [0], isolate=isolate) for isolate in (None, False))
    assert "isolate" not in isolated.command("x")
    assert "--no-isolate" in trusted.command("x")
    sweep = sweep_locally([isolated], tmp_path / "swept")
    assert [state.status for state in sweep.states] == ["complete"], sweep.states[0].reason
    one_after_the_other([trusted], tmp_path / "alone")
    (swept,), (alone,) = records(tmp_path / "swept").values(), records(tmp_path / "alone").values()
    assert swept == alone
    found = [json.loads((tmp_path / name / isolated.folder / "run.json").read_text()) for name in ("swept", "alone")]
    assert "isolation" in found[0]["provenance"]
    assert "the method shared the harness's process (--no-isolate)" in found[1]["unofficial"]
