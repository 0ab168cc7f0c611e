"""The queue of a sweep, with a backend that only plays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nasbench.sweeps.driver import MAX_LOSSES, JobState, Sweep, carry_out, make_sweep
from nasbench.sweeps.jobs import Earlier, Job


def job(name: str, budget_s: float | None = 10.0, limit: int | None = None, super_network: str | None = None) -> Job:
    return Job({}, "cpu", name, name, budget_s, limit, super_network)


class Played:
    """Ends the run that started first, at every poll.

    Args:
        n_at_once: runs at once.
        ends: by name of a job, the reports with which its starts end, in order; complete without any.
    """

    def __init__(self, n_at_once: int, ends: Mapping[str, list[dict[str, Any]]] | None = None) -> None:
        self.n_at_once, self.ends = n_at_once, {name: list(reports) for name, reports in (ends or {}).items()}
        self.running: list[tuple[int, Job]] = []
        self.log: list[str] = []
        self.is_stopped = False

    def has_room(self) -> bool:
        return len(self.running) < self.n_at_once

    def start(self, index: int, job: Job) -> None:
        self.running.append((index, job))
        self.log.append(f"+{job.name}")

    def poll(self, timeout_s: float) -> list[tuple[int, Mapping[str, Any]]]:
        assert timeout_s > 0
        assert self.running, "nothing runs, so nothing can be waited for"
        index, job = self.running.pop(0)
        self.log.append(f"-{job.name}")
        reports = self.ends.get(job.name)
        end = reports.pop(0) if reports else {"status": "complete", "elapsed_s": 4.0, "n_evaluations": 2}
        if end.get("status") == "interrupt":
            raise KeyboardInterrupt
        return [(index, {"phase": "started", "n_evaluations": 1}), (index, end)]

    def stop(self) -> None:
        self.is_stopped = True


LOST = {"status": "lost", "reason": "killed", "is_resumable": True}


def sweep_of(*jobs: Job, retry_failed: bool = False, **made: Earlier) -> Sweep:
    return make_sweep(jobs, [made.get(job.name, Earlier("nothing")) for job in jobs], retry_failed)


def play(sweep: Sweep, backend: Played) -> list[str]:
    carry_out(sweep, backend, lambda _: None)
    return [state.status for state in sweep.states]


def test_as_many_at_once_as_there_is_room_for() -> None:
    backend = Played(2)
    assert play(sweep_of(job("a"), job("b"), job("c")), backend) == ["complete"] * 3
    assert backend.log == ["+a", "+b", "-a", "+c", "-b", "-c"]
    assert backend.is_stopped


def test_complete_runs_are_skipped_and_failed_ones_unless_asked_for() -> None:
    made = {"a": Earlier("complete", 9.0), "b": Earlier("failed", 5.0, "no ideas"), "c": Earlier("started", 3.0)}
    backend = Played(1)
    sweep = sweep_of(job("a"), job("b"), job("c"), **made)
    assert sweep.states[2].left_s == 7.0
    assert play(sweep, backend) == ["complete", "failed", "complete"]
    assert backend.log == ["+c", "-c"]
    assert sweep.states[1].reason == "no ideas"

    backend = Played(1)
    assert play(sweep_of(job("a"), job("b"), job("c"), retry_failed=True, **made), backend) == ["complete"] * 3
    assert backend.log == ["+b", "-b", "+c", "-c"]


def test_a_failed_run_stops_no_other() -> None:
    backend = Played(1, {"a": [{"status": "failed", "reason": "no ideas"}]})
    sweep = sweep_of(job("a"), job("b"))
    assert play(sweep, backend) == ["failed", "complete"]
    assert sweep.counts() == {"complete": 1, "failed": 1}


def test_a_lost_run_goes_on_but_not_for_ever() -> None:
    backend = Played(1, {"a": [LOST, LOST], "b": [LOST] * (MAX_LOSSES + 1)})
    sweep = sweep_of(job("a"), job("b"))
    assert play(sweep, backend) == ["complete", "lost"]
    assert backend.log.count("+a") == 3
    assert backend.log.count("+b") == MAX_LOSSES + 1
    assert [state.n_losses for state in sweep.states] == [2, MAX_LOSSES]

    backend = Played(1, {"a": [{**LOST, "is_resumable": False}]})
    assert play(sweep_of(job("a")), backend) == ["lost"]
    assert backend.log == ["+a", "-a"]


def test_one_run_trains_a_shared_super_network_and_the_others_wait() -> None:
    jobs = [job("a", super_network="x"), job("b", super_network="x"), job("c", super_network="y"), job("d")]
    backend = Played(4)
    play(sweep_of(*jobs), backend)
    assert backend.log == ["+a", "+c", "+d", "-a", "+b", "-c", "-d", "-b"]
    # A failed run leaves none, so the next one trains it. A complete run of an earlier sweep has left one.
    backend = Played(4, {"a": [{"status": "failed", "reason": "no ideas"}]})
    jobs.append(job("e", super_network="x"))
    play(sweep_of(*jobs), backend)
    assert backend.log == ["+a", "+c", "+d", "-a", "+b", "-c", "-d", "-b", "+e", "-e"]
    backend = Played(4)
    play(sweep_of(*jobs, a=Earlier("complete")), backend)
    assert backend.log[:4] == ["+b", "+c", "+d", "+e"]


def test_an_interrupt_stops_all_runs() -> None:
    backend = Played(2, {"b": [{"status": "interrupt"}]})
    sweep = sweep_of(job("a"), job("b"), job("c"))
    with pytest.raises(KeyboardInterrupt):
        play(sweep, backend)
    assert backend.is_stopped
    assert [state.status for state in sweep.states] == ["complete", "running", "running"]


def test_time_left() -> None:
    """By budget; by the pace of the evaluations; by the other runs; never less than the longest run needs."""
    assert JobState(job("a", 10.0)).left_s == 10.0
    assert JobState(job("a", 10.0), "running", elapsed_s=4.0).left_s == 6.0
    assert JobState(job("a", 10.0), "running", elapsed_s=12.0).left_s == 0.0
    assert JobState(job("a", None, 8), "running", elapsed_s=6.0, n_evaluations=2).left_s == 18.0
    assert JobState(job("a", 10.0, 8), "running", elapsed_s=6.0, n_evaluations=2).left_s == 4.0
    assert JobState(job("a", None, 8)).left_s is None
    assert JobState(job("a"), "complete").left_s == 0.0

    sweep = sweep_of(job("a", 10.0), job("b", 20.0), job("c", 30.0))
    assert (sweep.total_s, sweep.left_s) == (60.0, 60.0)
    sweep.n_at_once = 2
    assert sweep.left_s == 30.0
    sweep.n_at_once = 10
    assert sweep.left_s == 30.0
    sweep = sweep_of(job("a", None, 8), job("b", None, 8))
    assert sweep.left_s is None
    sweep.states[0].take({"status": "complete", "elapsed_s": 7.0, "n_evaluations": 8})
    assert (sweep.total_s, sweep.left_s) == (7.0, 7.0)
    sweep = sweep_of(job("a", 1500.0), job("b", 1500.0), job("c", 1500.0))
    sweep.states[0].take({"status": "complete", "elapsed_s": 1500.0})
    sweep.states[1].take({"status": "failed", "elapsed_s": 3.0})
    sweep.states[2].status, sweep.states[2].elapsed_s = "running", 1490.0
    assert (sweep.total_s, sweep.left_s) == (10.0, 10.0)
