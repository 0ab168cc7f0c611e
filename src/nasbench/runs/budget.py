"""The clock of a run. No other module reads the time.

Charged seconds count against the budget; uncharged seconds are only measured. All work of a method is charged. Work of
the harness is not: loading, test evaluation, writing records and checkpoints. Each charged second belongs to a phase:
training, validation, search, or idle outside these.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from nasbench.errors import BudgetExhausted, MethodError, WillNotEnd

CHARGED_PHASES = ("training", "validation", "search", "idle")
MAX_REFUSALS = 1000
"""Number of times that a method may continue after :class:`BudgetExhausted` before its run fails."""

_NO_THREAD = -1


class Budget:
    """A wall-clock budget that can be paused and is divided into phases.

    Attributes:
        violation: what a thread other than the method's did, None if there was nothing; see :meth:`check_caller`.

    Args:
        seconds: the budget; may be infinite.
        charged_s: charged seconds by phase of an earlier attempt at the same run.
        uncharged_s: uncharged seconds by phase of that attempt.
        clock: gives seconds from any origin. Tests pass a fake clock.
        synchronise: waits for the device, so that queued work is charged to the phase that queued it.
    """

    def __init__(
        self,
        seconds: float,
        charged_s: Mapping[str, float] | None = None,
        uncharged_s: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        synchronise: Callable[[], None] = lambda: None,
    ) -> None:
        self.seconds = seconds
        self._charged: dict[str, float] = defaultdict(float, charged_s or {})
        self._uncharged: dict[str, float] = defaultdict(float, uncharged_s or {})
        self.clock = self._clock = clock
        self._synchronise = synchronise
        self._phase, self._is_charged = "loading", False
        self._since = clock()
        self.is_suspended = False
        self._n_refusals = 0
        self._thread: int | None = None
        self.violation: str | None = None

    def now(self) -> float:
        """Seconds from an arbitrary origin, after all queued work of the device is done."""
        self._synchronise()
        return self._clock()

    @property
    def elapsed_s(self) -> float:
        """Charged seconds so far. Does not wait for the device."""
        self._count()
        return sum(self._charged.values())

    @property
    def charged_s(self) -> dict[str, float]:
        """Charged seconds by phase."""
        self._count()
        return {phase: self._charged[phase] for phase in CHARGED_PHASES}

    @property
    def uncharged_s(self) -> dict[str, float]:
        """Uncharged seconds by phase."""
        self._count()
        return dict(self._uncharged)

    @property
    def is_charging(self) -> bool:
        """Whether time is charged now. Other threads may ask."""
        return self._is_charged and not self.is_suspended

    @property
    def overshoot_s(self) -> float:
        """Charged seconds beyond the budget, 0 or more. Other threads may ask: nothing is counted."""
        running = max(0.0, self._clock() - self._since) if self.is_charging else 0.0
        return max(0.0, sum(list(self._charged.values())) + running - self.seconds)

    def check_caller(self) -> None:
        """Check that the method's own thread calls, while the method runs.

        Raises:
            MethodError: in another thread, or after the end of the method. The run is then failed.
        """
        if self._thread is not None and threading.get_ident() != self._thread:
            self.violation = self.violation or (
                f"thread {threading.current_thread().name!r} used the problem; only the thread of the method may "
                "train and evaluate, and only until the method returns"
            )
            raise MethodError(self.violation)

    def check(self) -> None:
        """Raise :class:`BudgetExhausted` if the budget is spent and the clock is not suspended."""
        if not self.is_suspended and self.elapsed_s >= self.seconds:
            self.refuse(f"the budget of {self.seconds:g} s is spent")

    def refuse(self, reason: str) -> NoReturn:
        """End the run.

        Raises:
            BudgetExhausted: says the reason.
            WillNotEnd: if the method has continued after :data:`MAX_REFUSALS` such errors.
        """
        self._n_refusals += 1
        if self._n_refusals > MAX_REFUSALS:
            raise WillNotEnd(f"the method went on although {reason}; let BudgetExhausted pass")
        raise BudgetExhausted(reason)

    def suspend(self) -> None:
        """Charge nothing until :meth:`proceed`. A resumed run repeats work that was charged in the earlier attempt."""
        self._count()
        self.is_suspended = True

    def proceed(self) -> None:
        """Charge again, after :meth:`suspend`."""
        self._synchronise()
        self._count()
        self.is_suspended = False

    def charge(self, phase: str, seconds: float) -> None:
        """Charge seconds that the clock has not counted.

        They are those of a training that another run has made for both, of the fit of an objective's model, or idle
        ones of an isolated method.
        """
        self._charged[phase] += seconds

    @contextmanager
    def running(self) -> Iterator[None]:
        """Charge the time inside, as idle unless a phase is named."""
        self._thread = threading.get_ident()
        try:
            with self._switched("idle", True):
                yield
        finally:
            self._thread = _NO_THREAD

    @contextmanager
    def charged(self, phase: str) -> Iterator[None]:
        """Count the time inside towards a phase. It is charged unless an outer :meth:`uncharged` stops the clock.

        Raises:
            ValueError: if ``phase`` is not one of :data:`CHARGED_PHASES`.
        """
        if phase not in CHARGED_PHASES:
            raise ValueError(f"phase is one of {', '.join(CHARGED_PHASES)}, not {phase!r}")
        with self._switched(phase, self._is_charged):
            yield

    @contextmanager
    def uncharged(self, phase: str) -> Iterator[None]:
        """Stop the clock inside. The time is recorded under ``phase`` but not charged."""
        with self._switched(phase, False):
            yield

    @contextmanager
    def _switched(self, phase: str, is_charged: bool) -> Iterator[None]:
        before = self._phase, self._is_charged
        self._synchronise()
        self._count()
        self._phase, self._is_charged = phase, is_charged
        try:
            yield
        finally:
            self._synchronise()
            self._count()
            self._phase, self._is_charged = before

    def _count(self) -> None:
        now = max(self._clock(), self._since)  # a clock that is set back charges nothing, and nothing twice
        if self._is_charged and not self.is_suspended:
            self._charged[self._phase] += now - self._since
        else:
            self._uncharged["repeating" if self.is_suspended else self._phase] += now - self._since
        self._since = now
