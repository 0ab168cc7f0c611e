"""What else the machine does during a run is measured and judged."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nasbench.errors import Interruption
from nasbench.plugins import registry
from nasbench.records.record import Evaluation, RunFolder, RunRecord, find_runs
from nasbench.runs import machine, runner
from nasbench.runs.machine import Watch, better_threads, disturbance, slowness, work_s
from nasbench.runs.observer import Observer
from nasbench.runs.request import RunRequest
from nasbench.testing.models import TINY_BERT
from nasbench.testing.tasks import TINY_PAIR

QUIET: dict[str, Any] = {"wall_s": 100.0, "cpu_s": 95.0, "waited_s": 5.0, "stolen": 0.0}
BUSY: dict[str, Any] = {"wall_s": 100.0, "cpu_s": 60.0, "waited_s": 40.0, "stolen": 0.0}
TOO_SHORT: dict[str, Any] = {"wall_s": 12.0, "cpu_s": 11.0, "waited_s": 1.0, "stolen": 0.0}
STOLEN: dict[str, Any] = {"wall_s": 100.0, "cpu_s": 100.0, "waited_s": 0.0, "stolen": 0.25}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([QUIET], 0.05),
        ([BUSY], 0.4),
        ([STOLEN], 0.25),
        ([QUIET, BUSY], 45 / 200),
        ([BUSY, STOLEN], 1 - (1 - 40 / 200) * (1 - 0.125)),
        ([{**BUSY, "wall_s": 20.0}], None),
        ([], None),
        ([{**QUIET, "waited_s": None, "stolen": None}], 0.0),
    ],
)
def test_disturbance_is_the_share_of_the_time_that_others_took(
    conditions: list[dict[str, Any]], expected: float | None
) -> None:
    assert disturbance(conditions) == (None if expected is None else pytest.approx(expected))


def test_slowness_is_the_share_of_speed_that_a_run_lacked_on_average() -> None:
    """A machine at full speed for half of the samples and at half speed for the others did 75 % of its work."""
    first = {"work_s": [0.01, None], "work_during_s": [0.02, 0.01]}
    assert slowness([first, {"work_s": [0.02], "work_during_s": []}]) is None  # four samples
    assert slowness([first, {"work_s": [0.02, 0.01], "work_during_s": [0.02]}]) == pytest.approx(0.25)
    assert slowness([{"work_s": [0.01] * 5}]) == 0.0
    assert slowness([]) is None


def test_speed_is_sampled_off_the_clock_and_told_if_it_varies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SAMPLE_S", 0.0)
    monkeypatch.setattr(machine, "SHORTEST_S", 0.0)
    monkeypatch.setattr(machine, "DISTURBED", 1.0)
    seconds = itertools.cycle([0.01, 0.03])
    monkeypatch.setattr(machine, "work_s", lambda: next(seconds))
    record, notices, _ = _run(tmp_path)
    (conditions,) = record.conditions
    samples = conditions["work_during_s"]
    assert len(samples) >= record.n_evaluations > 0
    assert set(samples) == {0.01, 0.03}
    assert re.fullmatch(r"on average, the machine was 3[0-9] % slower than at its best in this run", notices.texts[-1])


def test_conditions_count_the_waiting_of_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread waits, one ends and one begins; the last number is the turns that a thread got."""

    def kernel_says(**waited_ns: int) -> None:
        for thread, ns in waited_ns.items():
            (tmp_path / thread).mkdir(exist_ok=True)
            (tmp_path / thread / "schedstat").write_text(f"77000000000 {ns} 5\n")

    monkeypatch.setattr(machine, "_TASKS", tmp_path)
    assert Watch().conditions()["waited_s"] is None
    kernel_says(waits=1_000_000_000, ends=8_000_000_000)
    watch = Watch()
    shutil.rmtree(tmp_path / "ends")
    kernel_says(waits=3_500_000_000, begins=250_000_000)
    assert watch.conditions()["waited_s"] == 2.75


@pytest.mark.soak
def test_waiting_for_a_core_is_counted() -> None:
    """Three processes share one core: each waits as long as the others compute."""
    script = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
from nasbench.runs.machine import Watch
watch, end = Watch(), time.monotonic() + 1.5
while time.monotonic() < end:
    pass
found = watch.conditions()
print(found["waited_s"] if found["waited_s"] is not None else -1, found["cpu_s"], found["wall_s"])
"""
    core = str(min(os.sched_getaffinity(0)))
    spin = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    neighbours = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2)]
    try:
        done = subprocess.run([sys.executable, "-c", script, core], capture_output=True, text=True, check=True)
    finally:
        for neighbour in neighbours:
            neighbour.kill()
    waited_s, cpu_s, wall_s = map(float, done.stdout.split())
    if waited_s < 0:
        pytest.skip("this kernel does not count waiting threads")
    # Independent of the kernel's count: a spinning process that does not compute waits.
    assert waited_s == pytest.approx(wall_s - cpu_s, abs=0.3 * wall_s)
    assert waited_s > 0.3 * wall_s


def test_fixed_work_takes_time_and_the_number_of_threads_stays() -> None:
    before = torch.get_num_threads()
    assert work_s() > 0
    assert better_threads() in (1, before)
    assert torch.get_num_threads() == before


def test_one_thread_is_chosen_if_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = iter([2, 1])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(machine, "work_s", lambda: {2: 3.84, 1: 0.77}[next(threads)])
    assert better_threads() == 1
    threads = iter([2, 1])
    monkeypatch.setattr(machine, "work_s", lambda: {2: 0.77, 1: 1.5}[next(threads)])
    assert better_threads() == 2


class _Notices(Observer):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def notice(self, text: str) -> None:
        self.texts.append(text)


def _run(
    folder: Path, clock: Callable[[], float] = time.monotonic, **changes: Any
) -> tuple[RunRecord, _Notices, RunFolder]:
    method, searcher, notices = registry.methods()["ws-nas"], registry.searchers()["random"], _Notices()
    request = RunRequest(
        **{
            "task": TINY_PAIR, "model": TINY_BERT, "space": "small", "method": method,
            "method_options": method.Options(epochs=1), "searcher": searcher, "searcher_options": searcher.Options(),
            "seed": 0, "device": "cpu", "results_dir": folder, "budget_s": 2.0, **changes,
        }
    )  # fmt: skip
    return runner.run(request, notices, clock), notices, RunFolder(request.folder)


def test_record_has_the_conditions_and_a_disturbed_run_is_unofficial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, notices, folder = _run(tmp_path / "quiet")
    (conditions,) = record.conditions
    assert conditions["wall_s"] >= 2
    assert conditions["cpu_s"] > 0
    assert conditions["threads"] >= 1
    assert len(conditions["work_s"]) == len(conditions["load"]) == 2
    assert folder.read_run().conditions == record.conditions
    assert not any("other work" in text for text in [*record.unofficial, *notices.texts])
    monkeypatch.setattr(Watch, "conditions", lambda _: dict(BUSY))
    record, notices, folder = _run(tmp_path / "busy")
    assert record.unofficial[-1] == "other work on the machine took 40 % of its time"
    assert notices.texts[-1].startswith("this run was disturbed: other work on the machine took 40 % of its time")
    assert folder.read_run().unofficial == record.unofficial
    record, notices, _ = _run(tmp_path / "counted", max_evaluations=2)
    assert not any("other work" in text for text in [*record.unofficial, *notices.texts])
    assert len(record.conditions[0]["work_s"]) == 2


def test_interrupted_attempt_keeps_its_conditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupts(_Notices):
        def training(self, *_: Any) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}._Notices", Interrupts)
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path)
    record, _, _ = _run(tmp_path)
    assert len(record.conditions) == 2
    assert all(each["wall_s"] > 0 for each in record.conditions)


@pytest.mark.parametrize(
    ("place", "error"),
    [(f"{__name__}._Notices.evaluated", Interruption), ("nasbench.runs.runner.measure_front", KeyboardInterrupt)],
    ids=["killed in the method", "interrupted after it"],
)
def test_disturbed_attempt_that_does_not_end_makes_the_run_unofficial(
    place: str, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*arguments: Any) -> None:
        if not isinstance(arguments[-1], Evaluation) or arguments[-1].index == 2:
            raise error

    monkeypatch.setattr(machine, "SAMPLE_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "conditions", lambda _: dict(BUSY))
        patch.setattr(place, end)
        with pytest.raises(error):
            _run(tmp_path)
    (folder,) = find_runs(tmp_path)
    assert RunFolder(folder).read_run().status == "running"
    monkeypatch.setattr(Watch, "conditions", lambda _: dict(TOO_SHORT))
    record, _, _ = _run(tmp_path)
    first, second = record.conditions
    assert first.items() >= BUSY.items()
    assert second.items() >= TOO_SHORT.items()
    assert record.status == "complete"
    assert record.unofficial[-1] == "other work on the machine took 37 % of its time"


def test_conditions_are_written_off_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, n_writes, write = 0.0, 0, RunFolder.write_run

    def clock() -> float:
        nonlocal seconds
        seconds += 0.01
        return seconds

    def write_slowly(folder: RunFolder, record: RunRecord) -> None:
        nonlocal seconds, n_writes
        seconds, n_writes = seconds + 1000, n_writes + 1
        write(folder, record)

    monkeypatch.setattr(machine, "SAMPLE_S", 0.0)
    monkeypatch.setattr(machine, "work_s", lambda: 0.01)
    monkeypatch.setattr(RunFolder, "write_run", write_slowly)
    record, _, _ = _run(tmp_path, clock)
    assert n_writes > (record.n_evaluations or 0) > 0
    assert sum(record.charged_s.values()) < 3
