"""nasbench sweep on the command line, and nasbench.sweep."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from support.sweeping import Scene, one_after_the_other

import nasbench as package
from nasbench.cli import sweep_view
from nasbench.cli.sweep import Place
from nasbench.devices import resolve_device
from nasbench.errors import UserError
from nasbench.records.record import RunFolder
from nasbench.sweeps import cluster, driver, local
from nasbench.sweeps.driver import JobState, Sweep
from nasbench.sweeps.jobs import Job

Command = Callable[..., Any]


@pytest.fixture
def made(scene: Scene) -> list[Job]:
    """Three jobs in ``runs``: complete, failed, and not made."""
    jobs = scene.jobs(["patient"], 1, [0, 1, 2])
    results = scene.folder.parent / "runs"
    one_after_the_other(jobs[:2], results)
    folder = RunFolder(results / jobs[1].folder)
    record = folder.read_run()
    record.status, record.reason = "failed", "no more ideas"
    folder.write_run(record)
    return jobs


def arguments(scene: Scene, *others: str, seeds: str = "0-2") -> list[str]:
    task, plugin = scene.folder / "first.toml", scene.plugin
    words = [
        "sweep",
        "--method",
        "patient",
        "--task",
        str(task),
        "--plugin",
        str(plugin),
        "--no-isolate",
        "--max-evaluations",
        "6",
    ]
    return [*words, "--device", "cpu", "--cpus-per-run", "1", "--jobs", "1", "--seed", seeds, *others]


def test_dry_run_shows_plan_and_total_time(nasbench: Command, scene: Scene, made: list[Job]) -> None:
    before = sorted((scene.folder.parent / "runs").rglob("*"))
    spoken = nasbench(*arguments(scene, "--dry-run", "--budget", "90"))
    *_, last = spoken.out.splitlines()
    assert (spoken.code, last) == (
        0,
        "# 3 runs: 3 to make in 4:30 min of budget: 4:30 min with 1 at once, loading and tests apart",
    )
    lines = nasbench(*arguments(scene, "--dry-run")).out.splitlines()
    assert [line.partition("  # ")[2] for line in lines[:3]] == ["complete", "failed: no more ideas", ""]
    assert lines[0].startswith(made[0].command("runs"))
    assert lines[3].startswith("# 3 runs: 1 complete, 1 failed, 1 to make in ")
    assert nasbench(*arguments(scene, "--dry-run", "--retry-failed")).out.count(" 2 to make") == 1
    assert sorted((scene.folder.parent / "runs").rglob("*")) == before


@pytest.mark.usefixtures("made")
def test_failed_runs_give_exit_code_1_and_are_left(nasbench: Command, scene: Scene) -> None:
    spoken = nasbench(*arguments(scene, seeds="0-1"))
    name = "first my-model patient small seed 1"
    assert (spoken.code, spoken.out) == (1, f"failed: {name}: no more ideas\n2 runs: 1 complete, 1 failed\n")
    assert spoken.err == "error: 1 of 2 runs failed; --retry-failed makes failed runs again\n"
    assert nasbench(*arguments(scene, seeds="0")).code == 0


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit(1)], ids=["full", "closed"])
def test_sweep_that_cannot_show_its_progress_is_interrupted(
    error: BaseException, nasbench: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(sweep_view.SweepView, "changed", fail)
    monkeypatch.setattr(local.LocalBackend, "start", lambda *_: None)
    spoken = nasbench(*arguments(scene))
    assert spoken.code == 130
    (line,) = spoken.err.splitlines()
    assert line.startswith("error: the sweep cannot show its progress (")
    assert line.endswith("; its records are kept, and the same command goes on")


@pytest.mark.usefixtures("made")
def test_from_python_with_retry(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scene.folder.parent)
    runs = package.sweep(
        ["patient"], [scene.folder / "first.toml"], seeds=[0, 1], max_evaluations=6, plugins=[scene.plugin],
        isolate=False, device="cpu", cpus_per_run=1, jobs=1, retry_failed=True, quiet=True,
    )  # fmt: skip
    assert [(run.status, run.record.identity.seed, len(run.evaluations)) for run in runs] == [
        ("complete", 0, 6),
        ("complete", 1, 6),
    ]


def test_sigterm_ends_a_sweep_from_python_as_ctrl_c_does(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scene.folder.parent)
    monkeypatch.setattr(driver, "carry_out", lambda *_: signal.raise_signal(signal.SIGTERM))
    elsewhere: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: elsewhere.append(number))
    try:
        with pytest.raises(KeyboardInterrupt):
            package.sweep(
                ["patient"], [scene.folder / "first.toml"], seeds=[0], max_evaluations=6, plugins=[scene.plugin],
                isolate=False, device="cpu", cpus_per_run=1, jobs=1, quiet=True,
            )  # fmt: skip
        assert elsewhere == []
        signal.raise_signal(signal.SIGTERM)
        assert elsewhere == [signal.SIGTERM]  # the program's own handler is back
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "rfp"], "give --task NAME,... or --experiment NAME"),
        (["--method", "rfp", "--task", "demo", "--seed", "x"], "--seed is a list such as 0-9"),
        (["--method", "rfp", "--task", "demo", "--ray-address", "auto"], "--ray-address goes with --backend ray"),
        (["--method", "rfp", "--task", "demo", "--jobs", "999", "--device", "cpu"], "--jobs 999: this process may use"),
        (["--experiment", "fig6", "--model", "minilm-l6", "--task", "demo", "--method", "rfp", "--device", "cpu"],
         "experiment 'fig6' has no such runs"),
        (["--experiment", "fig99"], "fig99"),
    ],
    ids=str,
)  # fmt: skip
def test_mistakes_are_one_line(nasbench: Command, words: list[str], message: str) -> None:
    spoken = nasbench("sweep", *words)
    assert spoken.code == 2
    assert message in spoken.err
    assert len(spoken.err.splitlines()) == 1
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "a=1"], ["--budget", "90"], ["--max-evaluations", "6"], ["--max-evaluations", "0"],
        ["--objectives", "error,macs"], ["--precision", "fp32"], ["--plugin", "mine.py"], ["--isolate"],
        ["--no-isolate"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_experiment_takes_no_flag_that_changes_its_runs(nasbench: Command, words: list[str]) -> None:
    spoken = nasbench("sweep", "--experiment", "fig6", *words, "--dry-run")
    assert (spoken.code, spoken.out) == (2, "")
    assert spoken.err == f"error: an experiment fixes its runs; leave out {words[0]}\n"


def test_results_that_cannot_be_a_folder_are_one_line(nasbench: Command, scene: Scene) -> None:
    Path("occupied").write_text("")
    spoken = nasbench(*arguments(scene, seeds="0"), "--results", "occupied")
    assert (spoken.code, len(spoken.err.splitlines())) == (2, 1)
    assert "Not a directory" in spoken.err


def test_an_experiment_has_the_runs_of_its_definition(nasbench: Command) -> None:
    words = ["fig6", "--task", "demo", "--model", "minilm-l6", "--device", "cpu"]
    asked = nasbench("sweep", "--experiment", *words, "--seed", "0,1", "--dry-run").out.splitlines()
    listed = nasbench("experiment", *words, "--seed", "0", "--seed", "1", "--dry-run").out.splitlines()
    key = ("--method", "--searcher", "--seed")

    def told(line: str) -> tuple[str, ...]:
        found = line.split()
        return tuple(found[found.index(name) + 1] for name in key)

    assert [told(line) for line in asked[:-1]] == [told(line) for line in listed if line.startswith("nasbench")]
    chosen = nasbench("sweep", "--experiment", *words, "--seed", "0", "--method", "ws-nas", "--dry-run").out
    assert {told(line)[0] for line in chosen.splitlines()[:-1]} == {"ws-nas"}


def test_a_gpu_by_number(nasbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ("run", "--method", "rfp", "--task", "demo", "--device")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "this torch sees no GPU; use --device cpu" in nasbench(*run, "cuda:1").err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [resolve_device(name) for name in ("auto", "cpu", "cuda", "cuda:0", "cuda:01")] == [
        *("cuda", "cpu", "cuda", "cuda:0", "cuda:1")
    ]
    assert "this torch sees 2 GPUs, cuda:0 to cuda:1" in nasbench(*run, "cuda:2").err
    for name in ("gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "mps"):
        assert "--device is auto, cpu, cuda or cuda:NUMBER" in nasbench(*run, name).err


def test_missing_ray_is_one_line(nasbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    spoken = nasbench("sweep", "--method", "rfp", "--task", "demo", "--backend", "ray", "--dry-run")
    assert (spoken.code, spoken.out) == (2, "")
    assert spoken.err == "error: --backend ray needs Ray: pip install 'nasbench-plm[cluster]'\n"


def test_a_cluster_finds_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    has = {"CPU": 8.0}
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(cluster_resources=lambda: has))
    assert [Place("ray", device=name).kind_of_device() for name in ("auto", "cpu", "cuda")] == ["cpu", "cpu", "cuda"]
    has["GPU"] = 1.0
    assert [Place("ray", device=name).kind_of_device() for name in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    with pytest.raises(UserError, match=r"^--device is auto, cpu or cuda with --backend ray, not 'cuda:1'$"):
        Place("ray", device="cuda:1").kind_of_device()


def test_a_cluster_is_told_what_each_run_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    for name in ("connect", "RayBackend"):
        monkeypatch.setattr(cluster, name, lambda *arguments: told.append(arguments))
    Place("ray", jobs=3, cpus_per_run=2).connect()
    Place("ray", ray_address="auto").connect()
    assert told == [(None, 6), ("auto", None)]
    told.clear()
    Place("ray", results="runs", jobs=3, gpus_per_run=2).make_backend("cpu")
    Place("ray", results="s3://bucket/runs", gpus_per_run=2, cpus_per_run=4).make_backend("cuda")
    assert told == [(str(Path("runs").absolute()), 1, 0, 3), ("s3://bucket/runs", 4, 2, None)]


def test_live_table_shows_the_runs_at_work_first() -> None:
    states = [JobState(Job({}, "cpu", f"run {i}", f"{i}", 60.0, None)) for i in range(40)]
    for state in states[:20]:
        state.status, state.elapsed_s = "complete", 60.0
    states[20].take({"phase": "training, step 3 of 9", "elapsed_s": 16.0, "n_evaluations": 2})
    states[20].status = "running"
    states[3].status, states[3].reason = "failed", "no more ideas"
    console = Console(width=100, height=14, record=True, file=io.StringIO())
    console.print(sweep_view.LiveSweepView(Sweep(states, 2), console).render())
    text = console.export_text()
    assert len(text.splitlines()) <= 14
    assert "run 20" in text
    assert "running: training, step 3 of 9" in text
    assert "44 s" in text
    assert "run 3 " in text
    assert "40 runs: 19 complete, 1 running, 19 waiting, 1 failed; about 9:52 min left" in text
    assert "and 32 more" in text
