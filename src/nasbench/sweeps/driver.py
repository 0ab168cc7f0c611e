"""The queue of a sweep: starts runs where a backend has room, and follows their reports to the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from nasbench.sweeps.jobs import Earlier, Job

Status = Literal["waiting", "running", "complete", "failed", "lost"]
"""``lost``: its process ended without a last report, and is not started again. The record can be resumed."""
MAX_LOSSES = 5
"""How often a run whose process or machine was lost is resumed: a method must not kill its process for ever."""
POLL_S = 0.5


@dataclass
class JobState:
    """How far a run of the sweep is.

    Attributes:
        job: the run.
        status: see :data:`Status`.
        is_made_before: complete or failed before the sweep, which leaves it as it is.
        elapsed_s: charged seconds.
        n_evaluations: number of evaluations.
        phase: what it does now, in a few words.
        reason: why it failed or was lost.
        n_starts: how often its method was started by this sweep; more than once if a process or machine was lost.
        n_losses: how often the sweep has had to start it again.
    """

    job: Job
    status: Status = "waiting"
    is_made_before: bool = False
    elapsed_s: float = 0.0
    n_evaluations: int = 0
    phase: str = ""
    reason: str = ""
    n_starts: int = 0
    n_losses: int = 0

    @property
    def left_s(self) -> float | None:
        """Charged seconds to its end; None where nothing tells, 0 for a run that has ended."""
        if self.status not in ("waiting", "running"):
            return 0.0
        limits = []
        if self.job.budget_s is not None:
            limits.append(max(0.0, self.job.budget_s - self.elapsed_s))
        if self.job.max_evaluations is not None and self.n_evaluations > 0:
            per_evaluation_s = self.elapsed_s / self.n_evaluations
            limits.append(max(0.0, per_evaluation_s * (self.job.max_evaluations - self.n_evaluations)))
        return min(limits, default=None)

    def take(self, report: Mapping[str, Any]) -> None:
        """Take a report of the run's process."""
        self.elapsed_s = max(self.elapsed_s, report.get("elapsed_s", 0.0))
        self.n_evaluations = report.get("n_evaluations", self.n_evaluations)
        self.phase = report.get("phase", self.phase)
        self.n_starts += report.get("phase") == "started"
        if "status" in report:
            self.status, self.reason, self.phase = report["status"], report.get("reason", ""), ""


class Backend(Protocol):
    """Where runs are made: this machine or a cluster."""

    n_at_once: int

    def has_room(self) -> bool:
        """Whether another run can be handed over now."""
        ...

    def start(self, index: int, job: Job) -> None:
        """Hand over a run. Reports on it come with this index."""
        ...

    def poll(self, timeout_s: float) -> list[tuple[int, Mapping[str, Any]]]:
        """Reports since the last call; waits up to ``timeout_s`` for the first. The last of a run has a ``status``.

        The status ``lost`` says that the process ended without a last report. Such a report has ``is_resumable``:
        whether to hand the run over again.
        """
        ...

    def stop(self) -> None:
        """Interrupt all runs, which keep their records, and wait for them. Nothing happens after the last has ended."""
        ...


@dataclass
class Sweep:
    """All runs of a sweep.

    Attributes:
        states: one of each job, in the order in which they are started.
        n_at_once: how many the backend makes at the same time.
    """

    states: list[JobState]
    n_at_once: int = 1
    _sharing: set[str] = field(default_factory=set)

    def counts(self) -> dict[str, int]:
        """Number of runs by status, in the order of :data:`Status`; only those above 0."""
        order: tuple[Status, ...] = ("complete", "running", "waiting", "failed", "lost")
        found = {status: sum(state.status == status for state in self.states) for status in order}
        return {status: n for status, n in found.items() if n}

    @property
    def total_s(self) -> float | None:
        """Charged seconds of the runs that are still to be made; None if nothing tells for one of them."""
        return _total([state.left_s for state in self.states], self._usual_s())

    @property
    def left_s(self) -> float | None:
        """Estimated seconds to the end of the sweep: the work that is left, spread over the runs at once."""
        work = self.total_s
        if work is None:
            return None
        usual_s = self._usual_s() or 0.0
        longest = max((usual_s if (s := state.left_s) is None else s for state in self.states), default=0.0)
        return max(work / self.n_at_once, longest)

    def _usual_s(self) -> float | None:
        """Mean seconds of the runs that this sweep has made, for those that nothing else tells about."""
        made = [state.elapsed_s for state in self.states if state.status == "complete"]
        return sum(made) / len(made) if made else None

    def next(self) -> int | None:
        """Index of a run that can start now: one whose super-network no other run is training."""
        for index, state in enumerate(self.states):
            if state.status == "waiting" and not self._must_wait(state.job.super_network):
                return index
        return None

    def _must_wait(self, key: str | None) -> bool:
        if key is None or key in self._sharing:
            return False
        return any(state.job.super_network == key and state.status == "running" for state in self.states)

    def ended(self, state: JobState) -> None:
        """Note that a run has ended: if it is complete, its super-network is there for the others."""
        if state.job.super_network is not None and state.status == "complete":
            self._sharing.add(state.job.super_network)


def make_sweep(jobs: Sequence[Job], earlier: Sequence[Earlier], retry_failed: bool) -> Sweep:
    """The state before the first start.

    Args:
        earlier: what is made of each job.
        retry_failed: make failed runs again; a failed run goes on from its last evaluation.
    """
    sweep = Sweep([])
    for job, made in zip(jobs, earlier, strict=True):
        state = JobState(job, elapsed_s=made.elapsed_s)
        if made.made == "complete" or (made.made == "failed" and not retry_failed):
            state.status, state.reason, state.is_made_before = made.made, made.reason, True
            sweep.ended(state)
        sweep.states.append(state)
    return sweep


def carry_out(sweep: Sweep, backend: Backend, changed: Callable[[JobState | None], None]) -> None:
    """Make all runs that are waiting.

    Args:
        changed: called with a run that has started or ended, and with None now and then for the time.

    Raises:
        KeyboardInterrupt: after all runs have stopped.
    """
    sweep.n_at_once = backend.n_at_once
    try:
        while any(state.status in ("waiting", "running") for state in sweep.states):
            while backend.has_room() and (index := sweep.next()) is not None:
                state = sweep.states[index]
                backend.start(index, state.job)
                state.status, state.phase = "running", "starting"
                changed(state)
            for index, report in backend.poll(POLL_S):
                state = sweep.states[index]
                state.take(report)
                if state.status == "lost" and report["is_resumable"] and state.n_losses < MAX_LOSSES:
                    state.n_losses += 1
                    state.status, state.phase = "waiting", "lost, will resume"
                if "status" in report:
                    sweep.ended(state)
                    changed(state)
            changed(None)
    finally:
        backend.stop()


def _total(left: Sequence[float | None], usual_s: float | None) -> float | None:
    found = [usual_s if seconds is None else seconds for seconds in left]
    known = [seconds for seconds in found if seconds is not None]
    return math.fsum(known) if len(known) == len(found) else None
