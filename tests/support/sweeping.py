"""Sweeps for tests: a method that can be caught in the middle of a run, and the same runs made one after the other."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.user_tasks import BASE, changed, make_folder, toml

from nasbench.records.record import RunFolder, find_runs
from nasbench.sweeps.jobs import Job, grid
from nasbench.testing.subject import NOT_REPEATABLE

PATIENT = """
import os, pathlib, time
from nasbench.plugins.method import Method

class Patient(Method):
    name = "patient"
    summary = "trains, and waits after its third evaluation while a file says so"

    def run(self, problem):
        gates = pathlib.Path(__file__).parent / "gates"
        network = problem.pretrained("trained")
        problem.training(network).run()
        for number in range(6):
            problem.evaluate(network, problem.space.sample(problem.rng))
            if number == 2:
                here = gates / f"{problem.task.name}-{problem.seed}"
                if here.exists():
                    here.with_suffix(".pid").write_text(str(os.getpid()))
                while here.exists():
                    time.sleep(0.05)
"""


class Scene:
    """A folder with two tiny tasks, a tiny model and the plugin with the method ``patient``.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder(folder)
        (folder / "first.toml").write_text(toml(BASE))
        (folder / "second.toml").write_text(toml(changed(metric="f1")))
        self.plugin = folder / "patient.py"
        self.plugin.write_text(PATIENT)
        self._gates = folder / "gates"
        self._gates.mkdir()

    def jobs(self, methods: Sequence[str], n_tasks: int, seeds: Sequence[int], **common: Any) -> list[Job]:
        """The grid of these methods, the first of the two tasks, and seeds; six evaluations each."""
        tasks = [str(self.folder / f"{name}.toml") for name in ("first", "second")[:n_tasks]]
        common = {"max_evaluations": 6, "isolate": False, **common}  # an isolated method would not see the gates
        return grid(methods, tasks, seeds, "cpu", plugins=(self.plugin,), **common)

    def close(self, task: str, seed: int) -> None:
        """Make the run of ``patient`` on this task and seed wait after its third evaluation."""
        (self._gates / f"{task}-{seed}").touch()

    def open(self, task: str, seed: int) -> None:
        """Let it go on; a run that is resumed does not wait either."""
        (self._gates / f"{task}-{seed}").unlink()

    def waiting_pid(self, task: str, seed: int) -> int | None:
        """The process that waits in that run, None before it does."""
        file = self._gates / f"{task}-{seed}.pid"
        try:
            return int(file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def wait_for(self, task: str, seed: int, timeout_s: float = 120.0) -> int:
        """The process that waits in that run, once it does."""
        end_s = time.monotonic() + timeout_s
        while (pid := self.waiting_pid(task, seed)) is None:
            assert time.monotonic() < end_s, "the run does not come to its third evaluation"
            time.sleep(0.05)
        return pid


@contextmanager
def in_the_middle(scene: Scene, task: str, seed: int, happens: Callable[[int], None]) -> Iterator[list[int]]:
    """Do something to the process of a run of ``patient`` that has made half of its evaluations.

    It is done in a thread. Its error is raised at the end.
    """
    pids: list[int] = []
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            pids.append(scene.wait_for(task, seed, 600.0))
            happens(pids[0])
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
        finally:
            scene.open(task, seed)

    scene.close(task, seed)
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield pids
    thread.join()
    if errors:
        raise errors[0]


def one_after_the_other(jobs: Sequence[Job], results: Path) -> None:
    """Make the runs in this process."""
    for job in jobs:
        with job.prepared(results, "cpu", threads=1) as (_, make):
            make(None)


def records(results: Path) -> dict[str, tuple[str, Any, list[dict[str, Any]]]]:
    """Status, identity and evaluations without their times of all runs below a folder, by their place in it."""
    found = {}
    for folder in find_runs(results):
        run = json.loads((folder / RunFolder.RUN).read_text())
        lines = (folder / RunFolder.EVALUATIONS).read_text().splitlines()
        evaluations = [{k: v for k, v in json.loads(line).items() if k not in NOT_REPEATABLE} for line in lines]
        found[str(folder.relative_to(results))] = run["status"], run["identity"], evaluations
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and not only waits to be forgotten."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
