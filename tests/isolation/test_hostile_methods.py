"""Ways to break the rules. Each ends as docs/isolation.md says; the harness and the record survive."""

import re
from pathlib import Path

import numpy as np
import pytest
from isolation import hostile
from isolation.hostile import CONFIGS
from isolation.quick_start import QuickProcess

from nasbench.isolation import process, running
from nasbench.isolation.sandbox import children_of
from nasbench.plugins.method import Method
from nasbench.plugins.registry import PluginError
from nasbench.runs.observer import Observer
from nasbench.testing.subject import SEED, MethodSubject

OVERTIME = r"^the method went on [0-9.]+ s after its budget of 3 s was spent, and was ended; let BudgetExhausted pass"


class Watches(Observer):
    """Notes the method's processes at every evaluation."""

    def __init__(self):
        self.seen = set()

    def evaluated(self, evaluation):  # noqa: ARG002
        pending = [QuickProcess.last.pid]
        while pending:
            pid = pending.pop()
            self.seen.add(pid)
            pending += children_of(pid)

    def alive(self):
        return [pid for pid in self.seen if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize(
    ("method", "reason", "n_evaluations"),
    [
        ("loops", OVERTIME, 1),
        ("sleeps", OVERTIME, 1),
        ("raises", r"^Mine in hostile\.py:\d+: \\x1b\[2J cleared and a second line x+\.\.\.$", 1),
        ("exits", r"^the method's process ended before the method did \(exit code 0\)$", 1),
        ("crashes", r"^the method's process ended before the method did \(signal SIGSEGV\)$", 1),
        (
            "swells",
            r"^the method's process broke the protocol: it sent an array that cannot be made \(ValueError\)$",
            1,
        ),
        ("counts", "^the method's process broke the protocol: it sent a message 'evaluate' without what it needs", 1),
        ("writes", "^the method's process broke the protocol: it sent an unknown message 'record'$", 1),
        ("fills", r"^the method's processes used \d\.\d GB of memory together, more than the limit of 2\.0 GB$", 1),
    ],
)
def test_method_that_does_not_end_as_it_should(run_isolated, method, reason, n_evaluations):
    observer = Watches()
    changes = {"loops": {"budget_s": 3.0}, "sleeps": {"budget_s": 3.0}, "fills": {"memory_bytes": 2_000_000_000}}
    outcome = run_isolated(method, observer, **changes.get(method, {}))
    assert outcome.record.status == "failed"
    assert re.search(reason, outcome.record.reason), outcome.record.reason
    assert len(outcome.record.reason) <= 500
    assert len(outcome.evaluations) == n_evaluations
    assert len(observer.seen) >= 2
    assert observer.alive() == []


def test_checkpoints_of_an_isolated_training_are_announced(run_isolated):
    """A sweep copies a run to its URL when it hears of one."""
    events = []

    class Hears(Observer):
        def saved(self, elapsed_s):  # noqa: ARG002
            events.append("saved")

        def evaluated(self, evaluation):  # noqa: ARG002
            events.append("evaluated")

    assert run_isolated("trains", Hears()).record.reason is None
    assert events[0] == "saved"
    assert events[-1] == "evaluated"


def test_plugin_whose_import_does_not_end_is_given_up(run_isolated, tmp_path, monkeypatch):
    describe = running._described

    def describe_at_once(*arguments):
        monkeypatch.setattr(process, "START_LIMIT_S", 0.0)
        return describe(*arguments)

    monkeypatch.setattr(running, "_described", describe_at_once)
    (tmp_path / "loops.py").write_text("while True: pass\n")
    with pytest.raises(PluginError, match=r"loops\.py: the method was not ready after 0 s$"):
        run_isolated("loops", plugins=(tmp_path / "loops.py",))
    assert not Path(f"/proc/{QuickProcess.last.pid}").exists()


def test_letters_that_steer_a_terminal_are_escaped(run_isolated, capsys):
    class Hears(Observer):
        def notice(self, text):
            self.last = text

    observer = Hears()
    outcome = run_isolated("disguises", observer)
    assert outcome.record.reason == r"reason \u202egnp.exe"
    assert outcome.record.notes == [r"note \u202egnp.exe"]
    assert observer.last == r"notice \u202egnp.exe\ud800"
    assert "        printed \\u202egnp.exe\n" in capsys.readouterr().err


def test_method_with_a_yield_is_told_so(run_isolated):
    outcome = run_isolated("yields")
    assert outcome.record.status == "failed"
    assert re.search(r"^run\(\) has a yield or an await in it, so calling it does nothing", outcome.record.reason)


def test_process_that_a_method_leaves_behind_ends_and_reports_nothing(run_isolated):
    observer = Watches()
    outcome = run_isolated("forks", observer)
    assert (outcome.record.status, outcome.record.reason) == ("complete", None)
    assert [evaluation.index for evaluation in outcome.evaluations] == [0, 1]
    assert len(observer.seen) >= 3
    assert observer.alive() == []


def test_method_that_snoops_and_lies_gets_nothing(run_isolated, results, listener, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    (results.parent / "data").mkdir()
    (results.parent / "data" / "test.csv").write_text("text,label\n")
    outcome = run_isolated("snoops", seed=SEED)
    assert re.search(r"RuntimeError in hostile\.py:\d+: won: \[\]$", outcome.record.reason), outcome.record.reason
    assert not listener.heard()
    assert [path.name for path in results.rglob("*.csv")] == []

    honest = MethodSubject(Honest, results.parent, n_evaluations=None).run(results.parent / "honest", budget_s=1e6)
    assert [e.error for e in outcome.evaluations] == [e.error for e in honest.evaluations]
    assert [e.test_error for e in outcome.evaluations] == [e.test_error for e in honest.evaluations]
    assert [e.metrics for e in outcome.evaluations] == [e.metrics for e in honest.evaluations]


@pytest.mark.parametrize(("method", "reason"), [("hooked", r"'bert' with a hook"), ("forges", r"is due$")])
def test_module_that_is_not_what_it_says_is_refused(run_isolated, method, reason):
    outcome = run_isolated(method)
    assert outcome.record.status == "failed"
    assert re.search(
        f"^evaluate_module\\(\\) got something else than its configuration declares: .*{reason}", outcome.record.reason
    )
    assert [e.weights for e in outcome.evaluations] == ["honest"]


class Honest(Method):
    """Makes the evaluations of ``Snoops``."""

    name, summary = "honest", "for tests"

    def run(self, problem):
        problem.evaluate(problem.pretrained("honest"), CONFIGS[0])
        other = problem.pretrained("other")
        for parameter in other.parameters():
            parameter.data.mul_(1.1)
        problem.evaluate(other, CONFIGS[1])


def test_the_same_attempts_succeed_without_isolation(results, listener, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    where = results / "task" / "model" / "run"
    where.mkdir(parents=True)
    (results.parent / "data").mkdir()
    (results.parent / "data" / "test.csv").write_text("text,label\n")
    labels, won = [np.zeros(32, np.int64)], []
    snoops = hostile.Snoops()
    snoops.read_disk(where, won)
    snoops.read_memory(won)
    snoops.write_records(where, won)
    snoops.call_home(won)
    assert labels
    wanted = {"listed a folder", "read text,label\n", "found labels [0, 0, 0, 0]", "wrote evaluations.jsonl"}
    assert {*wanted, "made a folder of a run", "connected", "sent a datagram", "has a secret"} <= set(won)
    assert listener.heard()
