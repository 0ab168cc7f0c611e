"""Damaged records end in exit code 0, 1 or 2 with one line each, never in a traceback, and nothing is overwritten."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.cli import main as command_line
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.plugins import registry
from nasbench.records.record import RunFolder, find_runs
from nasbench.runs import runner
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.configuration import SuperNetworkOptions

RUN = ("run", "--method", "ws-nas", "--task", "tiny-pair", "--device", "cpu", "--set", "epochs=1", "--max-evaluations")
VALUES: tuple[Any, ...] = (
    None, True, -1, 10**30, float("nan"), "", "a\0b", [], {}, [[[[1]]]], {"a": {"b": None}}, ["x"],
)  # fmt: skip
N_SAMPLED = 10
"""Number of mutations of each file that one test tries: all take half an hour, in the long tests."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was interrupted after some evaluations."""
    folder = tmp_path_factory.mktemp("killed")
    subject = MethodSubject(WeightSharingNAS, folder, SuperNetworkOptions(epochs=1), n_evaluations=4)
    request = subject.request(folder / "runs", seed=0, precision=None)
    runner.run(request)
    (run,) = find_runs(folder / "runs")
    record = json.loads((run / "run.json").read_text())
    now = {"status": "running", "n_evaluations": None, "evaluations_sha256": None}
    (run / "run.json").write_text(json.dumps(record | now))
    lines = (run / "evaluations.jsonl").read_bytes().splitlines(keepends=True)
    (run / "evaluations.jsonl").write_bytes(b"".join(lines[:3]))
    RunFolder(run).begin_progress()
    return folder


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all fields of a JSON object, outer ones first."""
    for key, inner in value.items():
        yield (*path, key)
        if isinstance(inner, dict):
            yield from fields(inner, (*path, key))


def replaced(value: dict[str, Any], path: tuple[Any, ...], new: Any) -> str:
    """The object as JSON with one field replaced."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return json.dumps(copy)


def mutations_of_the_record(run: Path) -> list[tuple[str, Callable[[Path], None]]]:
    record = json.loads((run / "run.json").read_text())
    return [
        (f"run.json {path} = {value!r}", partial(write, name="run.json", content=replaced(record, path, value)))
        for path in fields(record)
        for value in VALUES
    ]


def mutations_of_the_evaluations(run: Path) -> list[tuple[str, Callable[[Path], None]]]:
    lines = (run / "evaluations.jsonl").read_text().splitlines()
    found = []
    for number in (0, len(lines) - 1):
        line = json.loads(lines[number])
        for path in fields(line):
            for value in VALUES:
                text = "\n".join([*lines[:number], replaced(line, path, value), *lines[number + 1 :]]) + "\n"
                damage = partial(write, name="evaluations.jsonl", content=text)
                found.append((f"line {number} {path} = {value!r}", damage))
    return found


def write(folder: Path, name: str, content: str | bytes) -> None:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def emptied(folder: Path) -> None:
    write(folder, "evaluations.jsonl", b"")


def a_folder(folder: Path) -> None:
    (folder / "evaluations.jsonl").unlink()
    (folder / "evaluations.jsonl").mkdir()


def not_utf8(folder: Path) -> None:
    data = (folder / "evaluations.jsonl").read_bytes()
    write(folder, "evaluations.jsonl", data[:300] + b"\xff\xfe" + data[302:])


def deep(folder: Path) -> None:
    text = (folder / "run.json").read_text()
    nested = '"provenance": {"x": ' + "[" * 5000 + "]" * 5000 + ", "
    write(folder, "run.json", text.replace('"provenance": {', nested, 1))


def weightless(folder: Path) -> None:
    shutil.rmtree(folder / "weights")


def flipped(folder: Path) -> None:
    for path in (folder / "weights").glob("*.safetensors"):
        data = bytearray(path.read_bytes())
        data[10] ^= 0xFF
        path.write_bytes(bytes(data))


def without_record(folder: Path) -> None:
    (folder / "run.json").unlink()


def without_evaluations(folder: Path) -> None:
    (folder / "evaluations.jsonl").unlink()


def cut(folder: Path) -> None:
    lines = (folder / "evaluations.jsonl").read_bytes().splitlines(keepends=True)
    write(folder, "evaluations.jsonl", b"".join(lines[:2]))


def changed(folder: Path) -> None:
    data = (folder / "evaluations.jsonl").read_bytes()
    write(folder, "evaluations.jsonl", data.replace(b'"latency_ms": ', b'"latency_ms": 1'))


def odd_progress(folder: Path) -> None:
    write(folder, ".progress", b'{"n_evaluations": "3", "n_bytes": [], "sha256": null}')


def deep_progress(folder: Path) -> None:
    write(folder, ".progress", b"[" * 100_000)


CODES = {  # of report, export and run; claims and leaderboard end with 0
    odd_progress: (0, 0, 0), deep_progress: (0, 0, 0), cut: (1, 2, 2), changed: (1, 2, 2), emptied: (1, 2, 2),
    a_folder: (1, 2, 2), not_utf8: (1, 2, 2), deep: (1, 2, 2), weightless: (0, 2, 2), flipped: (0, 2, 2),
    without_record: (0, 2, 2), without_evaluations: (1, 2, 2),
}  # fmt: skip


def check(
    damage: Callable[[Path], None], name: str, killed: Path, tmp_path: Path, monkeypatch, capsys
) -> dict[str, tuple[int, str]]:
    """Damage a copy, resume it, and give it to all commands that read records.

    Returns:
        The exit code of each command with what it has told about the records.
    """
    shutil.copytree(killed / "runs", tmp_path / "runs")
    (run,) = find_runs(tmp_path / "runs")
    damage(run)
    before = (run / "evaluations.jsonl").read_bytes() if (run / "evaluations.jsonl").is_file() else None
    (whole,) = find_runs(killed / "runs")
    recorded = (whole / "evaluations.jsonl").read_bytes()
    monkeypatch.chdir(tmp_path)
    commands = [
        ("report",),
        ("claims",),
        ("leaderboard", "--results", "runs"),
        ("export", str(run), "--out", "pruned"),
        (*RUN, "4"),
    ]
    told = {}
    for command in commands:
        code = command_line._run(list(command))
        spoken = capsys.readouterr()
        assert code in (0, 1, 2), (name, command, spoken.err)
        assert "Traceback" not in spoken.err, (name, command, spoken.err)
        if code != 0 and command[0] != "report":  # the report has a line for each damaged run and missing figure
            assert spoken.err.count("\n") == 1, (name, command, spoken.err)
        if command[0] == "run" and code == 2:  # refused: nothing is changed
            after = (run / "evaluations.jsonl").read_bytes() if (run / "evaluations.jsonl").is_file() else None
            assert after == before, (name, spoken.err)
        elif command[0] == "run":  # resumed, or another run in a folder of its own: nothing that was recorded is lost
            assert (run / "evaluations.jsonl").read_bytes().startswith(recorded), (name, spoken.out)
        if command[0] == "leaderboard" and code == 0:
            told[command[0]] = code, (tmp_path / "leaderboard.md").read_text()
        else:
            told[command[0]] = code, spoken.out if command[0] == "claims" else spoken.err
    shutil.rmtree(tmp_path / "runs")
    shutil.rmtree(tmp_path / "pruned", ignore_errors=True)
    return told


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, models = {TINY_PAIR.name: TINY_PAIR}, {TINY_BERT.name: TINY_BERT}
    monkeypatch.setattr(registry, "tasks", lambda: tasks)
    monkeypatch.setattr(registry, "models", lambda: models)
    # The other figures would take most of the time.
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {"front": FIGURES["front"]})


@pytest.mark.parametrize("damage", CODES, ids=lambda damage: damage.__name__)
def test_damaged_files_have_their_exit_codes(damage, killed: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    told = check(damage, damage.__name__, killed, tmp_path, monkeypatch, capsys)
    (run,) = find_runs(killed / "runs")
    assert tuple(told[command][0] for command in ("report", "export", "run")) == CODES[damage], told
    assert (told["claims"][0], told["leaderboard"][0]) == (0, 0)
    if told["export"][0]:
        assert run.name in told["export"][1]
    if told["report"][0]:  # all three leave the run out and say why
        for command in ("report", "claims", "leaderboard"):
            assert run.name in told[command][1].replace("\\", ""), (command, told[command])


def test_damage_is_named_if_it_leaves_a_figure_with_nothing_to_show(
    killed: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    shutil.copytree(killed / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert command_line._run(["report", "--figure", "front"]) == 2
    undamaged = capsys.readouterr().err.rstrip("\n")
    assert re.search(r"^error: fronts: no run; \S[^(]* makes the first 5$", undamaged)
    (run,) = find_runs(tmp_path / "runs")
    cut(run)
    shutil.copytree(run, run.with_name("another"))
    assert command_line._run(["report", "--figure", "front"]) == 2
    damaged = capsys.readouterr().err
    assert damaged.startswith(f"{undamaged} (left out: tiny-pair/tiny-bert/another: evaluations.jsonl: 1 of 3 ")
    assert damaged.endswith("; and 1 more)\n")


N_PARTS = 16


@pytest.mark.soak
@pytest.mark.parametrize("part", range(N_PARTS))
@pytest.mark.parametrize("mutations", [mutations_of_the_record, mutations_of_the_evaluations])
def test_all_odd_values_end_without_traceback(
    mutations, part, killed: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    (run,) = find_runs(killed / "runs")
    failed = []
    for name, damage in mutations(run)[part::N_PARTS]:
        try:
            check(damage, name, killed, tmp_path, monkeypatch, capsys)
        except AssertionError as error:
            failed.append((name, str(error)[:500]))
            shutil.rmtree(tmp_path / "runs", ignore_errors=True)
            shutil.rmtree(tmp_path / "pruned", ignore_errors=True)
    assert failed == []


@pytest.mark.parametrize("mutations", [mutations_of_the_record, mutations_of_the_evaluations])
def test_odd_values_end_without_traceback(mutations, killed: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (run,) = find_runs(killed / "runs")
    for name, damage in random.Random(0).sample(mutations(run), N_SAMPLED):
        check(damage, name, killed, tmp_path, monkeypatch, capsys)
