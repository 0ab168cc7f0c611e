"""The command line as a process of its own: exit codes, signals and pipes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.processes import LIMIT_S

from nasbench.records.record import RunFolder, find_runs

INTERRUPTED = "error: interrupted; the record is kept, and the same command resumes the run"
PROCESS = """
import importlib, sys
from nasbench.cli.main import main
if "tiny-pair" in sys.argv:
    from nasbench.testing.models import TINY_MODELS
    from nasbench.testing.tasks import TINY_TASKS
    benchmark = importlib.import_module("nasbench.benchmark")
    benchmark.TASKS += TINY_TASKS
    benchmark.MODELS += TINY_MODELS
main(sys.argv[1:])
"""


def command_line(*arguments: str) -> list[str]:
    """Command that runs nasbench in a process of its own, with the tiny tasks and models declared."""
    return [sys.executable, "-c", PROCESS, *arguments]


def test_separate_process_prints_one_line_for_a_mistake() -> None:
    result = subprocess.run(command_line("run", "--method", "ws-nas", "--task", "rtee"), capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: unknown task 'rtee'; did you mean 'rte'?\n"


@pytest.mark.parametrize("arguments", [["tasks"], ["tasks", "--json"], ["--help"]], ids=str)
def test_closed_pipe_prints_no_error(arguments: list[str]) -> None:
    process = subprocess.Popen(command_line(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=LIMIT_S) == 0


SLOW = """
import pathlib, signal, time
from nasbench.plugins.method import Method

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs without it

class Slow(Method):
    name = "slow"
    summary = "waits after its second and third evaluation until it is interrupted, each time once"

    def run(self, problem):
        network, config = problem.pretrained(), problem.space.largest
        for layers in range(4):
            config[2] = layers
            problem.evaluate(network, config)
            waiting = pathlib.Path(f"waiting-{layers + 1}")
            if layers in (1, 2) and not waiting.exists():
                waiting.touch()
                time.sleep(600)
"""


def test_same_command_resumes_interrupted_run(tmp_path: Path) -> None:
    """Ctrl-C ends the first attempt, SIGTERM the second, and the third comes to the end."""
    (tmp_path / "slow.py").write_text(SLOW)
    plugin = ("--plugin", "slow.py", "--no-isolate")  # it writes a file
    command = command_line("run", "--method", "slow", *plugin, "--task", "tiny-pair", "--device", "cpu")
    recorded = b""
    for n_evaluations, number in ((2, signal.SIGINT), (3, signal.SIGTERM)):
        code, errors = interrupted(command, tmp_path / f"waiting-{n_evaluations}", number)
        assert (code, errors.strip()) == (130, INTERRUPTED), number
        (folder,) = find_runs(tmp_path)
        before, recorded = recorded, (folder / "evaluations.jsonl").read_bytes()
        assert recorded.startswith(before)
        assert recorded.count(b"\n") == n_evaluations

    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "3 evaluations" in next(line for line in again.stdout.splitlines() if line.startswith("resuming after"))
    assert (folder / "evaluations.jsonl").read_bytes().startswith(recorded)
    assert len(RunFolder(folder).read_evaluations()) == 4


def interrupted(command: list[str], waiting: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit code and errors of a command that gets a signal once it has written a file into the folder it runs in."""
    with subprocess.Popen(
        command, cwd=waiting.parent, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            end_s = time.monotonic() + LIMIT_S
            while not waiting.exists():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end_s, "the run does not come to the evaluation after which it waits"
                time.sleep(0.05)
            process.send_signal(number)
            _, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()  # it has ended, unless the test has failed
    return process.returncode, errors
