"""The only owner of time. A run's charged seconds are its budget; uncharged ones are measured too.

Everything a method does is charged, except what the harness does for its own sake: loading, test evaluation, writing
records and checkpoints. Charged time belongs to a phase (training, search, validation); what is left over is idle.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from nasbench.errors import BudgetExhausted, WillNotEnd

CHARGED_PHASES = ("training", "validation", "search", "idle")
MAX_REFUSALS = 1000
"""Times that a method may ask for more after its budget is spent."""


class Budget:
    """A wall-clock allowance that can be paused and divided into phases.

    Args:
        seconds: the allowance; may be infinite.
        charged_s: seconds by phase already spent by an earlier attempt at the same run.
        uncharged_s: likewise, off the clock.
        clock: seconds from any origin; tests give a fake one.
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
        self._clock, self._synchronise = clock, synchronise
        self._phase, self._is_charged = "loading", False
        self._since = clock()
        self.is_suspended = False
        self._n_refusals = 0

    def now(self) -> float:
        """Seconds from some origin, after all queued work is done; differences are durations."""
        self._synchronise()
        return self._clock()

    @property
    def phase_name(self) -> str:
        """The phase that time is counted to now."""
        return self._phase

    @property
    def elapsed_s(self) -> float:
        """Charged seconds so far; does not wait for the device."""
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

    def check(self) -> None:
        """Raise :class:`BudgetExhausted` once the allowance is spent; not while suspended."""
        if not self.is_suspended and self.elapsed_s >= self.seconds:
            self.refuse(f"the budget of {self.seconds:g} s is spent")

    def refuse(self, reason: str) -> NoReturn:
        """Raise :class:`BudgetExhausted`; to a method that will not hear, :class:`WillNotEnd`."""
        self._n_refusals += 1
        if self._n_refusals > MAX_REFUSALS:
            raise WillNotEnd(f"the method went on although {reason}; let BudgetExhausted pass")
        raise BudgetExhausted(reason)

    def suspend(self) -> None:
        """Charge nothing until :meth:`proceed`: a resumed run repeats what was charged when it was first done."""
        self._count()
        self.is_suspended = True

    def proceed(self) -> None:
        """Charge again after :meth:`suspend`."""
        self._synchronise()
        self._count()
        self.is_suspended = False

    def charge(self, phase: str, seconds: float) -> None:
        """Count seconds that were spent elsewhere: the training of weights that several runs share."""
        self._charged[phase] += seconds

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the clock: time inside is charged, as idle where no phase is named."""
        with self._switched("idle", True):
            yield

    @contextmanager
    def charged(self, phase: str) -> Iterator[None]:
        """Count the time inside to a charged phase, unless the clock is stopped around it.

        Raises:
            ValueError: for a phase that records have no place for.
        """
        if phase not in CHARGED_PHASES:
            raise ValueError(f"phase is one of {', '.join(CHARGED_PHASES)}, not {phase!r}")
        with self._switched(phase, self._is_charged):
            yield

    @contextmanager
    def uncharged(self, phase: str) -> Iterator[None]:
        """Stop the clock inside; the time is recorded under ``phase`` but costs nothing."""
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
        now = self._clock()
        if self._is_charged and not self.is_suspended:
            self._charged[self._phase] += now - self._since
        else:
            self._uncharged["repeating" if self.is_suspended else self._phase] += now - self._since
        self._since = now
