"""The plan of a sweep: which runs, in which order, and what is already made of them."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
from support.sweeping import Scene, one_after_the_other

from nasbench.cli.commands.budgets import seconds_of
from nasbench.cli.main import run as run_command
from nasbench.errors import UserError
from nasbench.records.record import RunFolder
from nasbench.runs.request import make_request
from nasbench.sweeps.jobs import Job, earlier, from_json, grid, names, numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-9", tuple(range(10))),
        ("3", (3,)),
        ("0,2,5-7", (0, 2, 5, 6, 7)),
        ("5-7,6,1", (5, 6, 7, 1)),
        (" 1 , 2 - 3 ", (1, 2, 3)),
    ],
)
def test_seeds(text: str, expected: tuple[int, ...]) -> None:
    assert numbers(text) == expected


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "0-99999", "1.5", "1:3"])
def test_no_seeds(text: str) -> None:
    with pytest.raises(UserError, match="--seed"):
        numbers(text)


def test_names() -> None:
    assert names(["ws-nas, s-nas", "rfp", "s-nas,"]) == ("ws-nas", "s-nas", "rfp")
    assert names([]) == ()


def test_a_job_with_other_objectives_is_a_run_of_its_own() -> None:
    (usual,), (job,) = (
        grid(["ws-nas"], ["rte"], [0], "cuda", models=["bert-base-cased"], **common)
        for common in ({}, {"objectives": "macs,error"})
    )
    assert job.folder != usual.folder
    assert "_error+macs_seed0" in job.folder
    assert job.name == f"{usual.name} error,macs"
    assert "--objectives macs,error" in job.command("runs")
    assert "--objectives" not in usual.command("runs")
    assert from_json(job.to_json()) == job


def test_grid_has_every_combination_the_seeds_slowest() -> None:
    jobs = grid(["ws-nas", "rfp"], ["rte", "mrpc"], [0, 1], "cuda", models=["bert-base-cased"])
    assert [job.name for job in jobs] == [
        f"{task} bert-base-cased {method} seed {seed}"
        for seed in (0, 1)
        for task in ("rte", "mrpc")
        for method in ("ws-nas/random small", "rfp large")
    ]
    assert {job.budget_s for job in jobs} == {
        make_request("rfp", task, model="bert-base-cased", device="cuda", check_device=False).official_budget_s
        for task in ("rte", "mrpc")
    }


def test_searchers_are_for_the_methods_that_use_one() -> None:
    jobs = grid(["ws-nas", "rfp"], ["demo"], [0], "cpu", searchers=["random", "ehvi"])
    assert [job.arguments.get("searcher") for job in jobs] == ["random", "ehvi", None]
    with pytest.raises(UserError, match="leave out --searcher"):
        grid(["rfp"], ["demo"], [0], "cpu", searchers=["random"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": ["rtee"]}, "did you mean 'rte'"),
        ({"methods": ["ws-nos"]}, "did you mean 'ws-nas'"),
        ({"spaces": ["huge"]}, "search space"),
        ({"settings": ("epochz=1",)}, "epochz"),
        ({"budget_s": -1.0}, "--budget"),
        ({"models": ["roberta-base"], "device": "cpu"}, "has no budget for 'roberta-base' on a cpu"),
    ],
    ids=str,
)
def test_an_impossible_run_is_refused_before_any_starts(changes: dict, words: str) -> None:
    arguments = {"methods": ["ws-nas"], "tasks": ["rte"], "seeds": [0], "device": "cpu", **changes}
    with pytest.raises(UserError, match=words):
        grid(**arguments)


def parsed(command: str) -> dict:
    """The arguments that nasbench run gets from a command line."""
    words = shlex.split(command)
    assert words[:2] == ["nasbench", "run"]
    return run_command.make_context("run", words[2:]).params


def test_the_command_makes_the_same_run(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scene.folder.parent)
    scene.folder.rename(scene.folder.parent / "a scene")
    moved = Path("a scene")
    jobs = grid(
        ["ws-nas", "patient"], [str(moved / "first.toml")], [3], "cpu", budget_s=12.5, max_evaluations=9,
        settings=(), plugins=(moved / "patient.py",),
    )  # fmt: skip
    monkeypatch.chdir("/")  # a worker has another working folder
    for job in jobs:
        arguments = parsed(job.command("my runs"))
        place = (arguments["task"], arguments["model"], arguments["device"])
        arguments["budget_s"] = seconds_of(arguments.pop("budget"), *place)
        for name in ("quiet", "table", "isolate"):
            arguments.pop(name)
        for name in [name for name in arguments if name not in make_request.__kwdefaults__ | {"method": 0, "task": 0}]:
            arguments.pop(name)
        typed = make_request(**arguments)
        again = from_json(json.loads(json.dumps(job.to_json())))
        assert again == Job(**job.to_json())
        with again.prepared(Path("my runs"), "cpu", None) as (request, _):
            assert request.identity == typed.identity
            assert request.folder == typed.folder
            assert request.isolation is not None  # with a plugin, every run is isolated
        assert str(typed.folder) == f"my runs/{job.folder}"


@pytest.mark.parametrize(("budget_s", "text"), [(600.0, "600"), (1234567.5, "1234567.5"), (7200.125, "7200.125")])
def test_the_command_has_the_whole_budget(budget_s: float, text: str) -> None:
    """Another budget would be another run."""
    (job,) = grid(["rfp"], ["demo"], [0], "cpu", budget_s=budget_s, settings=(), plugins=())
    assert f" --budget {text} " in job.command("runs")


def test_what_is_made_already(scene: Scene, tmp_path: Path) -> None:
    results = tmp_path / "results"
    job, other = scene.jobs(["patient"], 1, [0, 1])
    assert earlier(results, job).made == "nothing"
    one_after_the_other([job], results)
    made = earlier(results, job)
    assert (made.made, made.reason) == ("complete", "")
    folder = RunFolder(results / job.folder)
    computed_in = folder.read_run().provenance["precision"]
    (other_one,) = {"fp32", "bf16"} - {computed_in}
    in_other = dataclasses.replace(job, arguments={**job.arguments, "precision": other_one})
    assert earlier(results, in_other).made == "failed"
    assert f"computed in {computed_in}, not {other_one}; name another folder" in earlier(results, in_other).reason
    whole = (folder.path / RunFolder.EVALUATIONS).read_bytes()
    (folder.path / RunFolder.EVALUATIONS).write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    assert earlier(results, job).made == "failed"
    assert "evaluations" in earlier(results, job).reason
    assert earlier(results, job, is_whole=False).made == "complete"  # its run.json alone, from a URL
    (folder.path / RunFolder.EVALUATIONS).write_bytes(whole)
    lines = folder.read_evaluations()
    assert made.elapsed_s >= lines[-1].elapsed_s

    record = folder.read_run()
    record.status, record.charged_s = "running", {}
    folder.write_run(record)
    assert (earlier(results, job).made, earlier(results, job).elapsed_s) == ("started", lines[-1].elapsed_s)
    record.status, record.reason = "failed", "no more ideas"
    folder.write_run(record)
    assert (earlier(results, job).made, earlier(results, job).reason) == ("failed", "no more ideas")
    (folder.path / RunFolder.RUN).write_text("{")
    assert earlier(results, job).made == "failed"
    assert earlier(results, other).made == "nothing"
