"""Methods that ignore their budget or break out of the harness: one clear line, the right status, nothing lost."""

import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from support.runs import CONFIGS

from nasbench.cli import main as command_line
from nasbench.plugins.method import Method
from nasbench.records.record import RunFolder
from nasbench.runs import runner, watchdog
from nasbench.testing.subject import MethodSubject


class Ended(BaseException):
    """An exception that ``except Exception`` does not catch."""


def method(run):
    """A method class whose ``run`` evaluates once and then does what the function says."""

    class Hostile(Method):
        name, summary = "hostile", "for tests"

        def run(self, problem):
            network = problem.pretrained()
            problem.evaluate(network, CONFIGS[0])
            return run(problem, network)

    return Hostile


class Jumps:
    """The real clock, 1,000 s ahead once ``has_jumped`` is set: any budget ends there, however slow the machine is."""

    def __init__(self):
        self.has_jumped = False

    def __call__(self):
        return time.monotonic() + 1000.0 * self.has_jumped


@pytest.fixture
def jumps(monkeypatch):
    """A clock that the watchdog takes for the real one."""
    clock = Jumps()
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(watchdog, "INTERVAL_S", 0.02)
    return clock


def outcome(tmp_path, run, budget_s=None, clock=time.monotonic):
    """The record and the evaluations of a run, by the real clock unless another is given."""
    cls = run if isinstance(run, type) else method(run)
    subject = MethodSubject(cls, tmp_path, n_evaluations=5)
    request = subject.request(tmp_path / "runs", budget_s=budget_s)
    record = runner.run(request, clock=clock)
    return record, RunFolder(request.folder).read_evaluations(RunFolder(request.folder).read_run())


def loops(*_):
    while True:
        pass


def sleeps(*_):
    time.sleep(600)


def goes_on(*_):
    for _ in range(2):
        with suppress(BaseException):
            time.sleep(600)
    time.sleep(600)


@pytest.mark.parametrize("run", [loops, sleeps, goes_on])
def test_watchdog_ends_a_method_that_ignores_its_budget(tmp_path, jumps, run):
    def ignores(*arguments):
        jumps.has_jumped = True
        run(*arguments)

    record, evaluations = outcome(tmp_path, ignores, budget_s=500.0, clock=jumps)
    assert record.status == "failed"
    assert re.search(
        r"went on although the budget of 500 s is exceeded by [\d.]+ s; call problem.check_budget", record.reason
    )
    assert record.overshoot_s >= 10
    assert len(evaluations) == 1  # reported in time


def test_watchdog_ends_an_evaluation_that_takes_too_long_without_blame(tmp_path, jumps):
    def takes_long(*_):
        jumps.has_jumped = True
        time.sleep(600)

    def run(problem, network):
        problem._harness._outcomes = takes_long
        problem.evaluate(network, CONFIGS[1])

    record, evaluations = outcome(tmp_path, run, budget_s=500.0, clock=jumps)
    assert (record.status, record.reason, len(evaluations)) == ("complete", None, 1)
    assert record.overshoot_s >= 10


def test_grace_is_ten_seconds_or_two_per_cent():
    assert watchdog.grace_s(60) == 10
    assert watchdog.grace_s(7200) == 144


def test_method_within_its_budget_has_no_overshoot(tmp_path):
    record, _ = outcome(tmp_path, lambda *_: None, budget_s=500.0)
    assert (record.status, record.overshoot_s) == ("complete", None)


def raises(*_):
    raise Ended("now")


def escapes(*_):
    raise ValueError("\x1b[31mred\x1b]0;title\x07 \u202e gnp\n\nexe")


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def silent(*_):
    raise Silent


def long_reason(*_):
    raise ValueError("x" * 10**6)


def name_of_300_letters(problem, network):
    problem.evaluate(network.renamed("n" * 300), CONFIGS[1])


def training_of_300_letters(problem, _):
    problem.training(problem.pretrained("n" * 300))


def reports_from_a_thread(problem, network):
    thread = threading.Thread(target=quietly, args=(lambda: problem.evaluate(network, CONFIGS[1]),), name="late")
    thread.start()
    thread.join()


def quietly(call):
    with suppress(Exception):  # the run must notice by itself
        call()


class Yields(Method):
    name, summary = "yields", "for tests"

    def run(self, problem):
        problem.evaluate(problem.pretrained(), CONFIGS[0])
        yield


@pytest.mark.parametrize(
    ("run", "reason", "n"),
    [
        (raises, r"^Ended in test_hostile_methods.py:\d+: now$", 1),
        (escapes, r"^ValueError in \S+: \\x1b\[31mred\\x1b\]0;title\\x07 \\u202e gnp exe$", 1),
        (silent, r"^Silent in test_hostile_methods.py:\d+$", 1),
        (long_reason, r"^ValueError in \S+: x{997}\.\.\.$", 1),
        (name_of_300_letters, r"^the network name 'n{20}'\.\.\. has 300 letters; use at most 60$", 1),
        (training_of_300_letters, r"^the network name 'n{20}'\.\.\. has 300 letters; use at most 60$", 1),
        (reports_from_a_thread, r"^thread 'late' used the problem; only the thread of the method may", 1),
        (Yields, r"^run\(\) has a yield or an await in it, so calling it does nothing; report by evaluate\(\)$", 0),
    ],
)
def test_hostile_method_ends_with_one_clear_line(tmp_path, run, reason, n):
    record, evaluations = outcome(tmp_path, run)
    assert record.status == "failed"
    assert re.search(reason, record.reason), record.reason
    assert record.reason.isprintable()
    assert len(evaluations) == n


def test_thread_that_reports_after_the_end_changes_nothing(tmp_path):
    go, said = threading.Event(), []

    def report(problem, network):
        go.wait()
        try:
            problem.evaluate(network, CONFIGS[1])
        except Exception as error:  # noqa: BLE001 - shown below
            said.append(str(error))

    threads = []

    def run(problem, network):
        threads.append(threading.Thread(target=report, args=(problem, network), name="late"))
        threads[0].start()

    record, evaluations = outcome(tmp_path, run)
    go.set()
    threads[0].join()
    assert "only until the method returns" in said[0]
    assert record.status == "complete"
    folder = RunFolder(next(tmp_path.rglob("run.json")).parent)
    assert folder.read_evaluations(folder.read_run()) == evaluations


FORKS = """
import os, sys
from pathlib import Path
from nasbench.plugins.method import Method
from nasbench.runs import runner
from nasbench.testing.subject import MethodSubject

class Forks(Method):
    name, summary = "forks", "for tests"

    def run(self, problem):
        network = problem.pretrained()
        problem.evaluate(network, problem.space.largest)
        for evaluates in (True, False):
            child = os.fork()
            if child == 0:
                if evaluates:
                    problem.evaluate(network, problem.space.smallest)
                return
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

record = runner.run(MethodSubject(Forks, Path(sys.argv[1]), n_evaluations=5).request(Path(sys.argv[1]) / "runs"))
print(record.status)
"""


def test_forked_copies_of_the_run_are_ended(tmp_path):
    """A copy that evaluates, and one that returns, neither write nor go on as a second run."""
    done = subprocess.run([sys.executable, "-c", FORKS, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["1", "1", "complete"], done.stderr
    assert done.stderr.count("a process that a method forked went on in the suite's code; it is ended") == 2
    folder = RunFolder(next(tmp_path.rglob("run.json")).parent)
    assert len(folder.read_evaluations(folder.read_run())) == 1


def test_message_on_the_terminal_has_no_escapes(capsys):
    assert command_line._fail("a \x1b[2Jb", 1) == 1
    assert capsys.readouterr().err == "error: a \\x1b[2Jb\n"


def test_sigterm_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt):
        command_line.interrupt(15, None)
