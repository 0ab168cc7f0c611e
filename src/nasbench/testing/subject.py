"""Run a method under test: on a tiny network, with a fake clock, killed at any point.

The fake clock advances by one second at every reading, so no result depends on the speed of the machine.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nasbench.declarations.model import Model
from nasbench.declarations.task import Task
from nasbench.errors import Interruption
from nasbench.plugins.method import Method
from nasbench.records.record import Evaluation, RunFolder, RunRecord
from nasbench.runs import runner
from nasbench.runs.observer import Observer
from nasbench.runs.request import RunRequest, choose_searcher, choose_space
from nasbench.search.searcher import Searcher
from nasbench.testing.models import TINY_BERT
from nasbench.testing.tasks import TINY_PAIR

N_EVALUATIONS = 6
MOST_READINGS = 20_000
"""Readings of the clock after which a run that does not end is killed."""
SEED = 3
NOT_REPEATABLE = ("elapsed_s", "charged_s", "latency_ms")
"""Fields of an evaluation that differ between equal runs."""


class Broken(AssertionError):
    """A check of a contract failed. The message says why."""


class Killed(Interruption):
    """Ends a run as a kill would. ``except Exception`` in a method does not catch it."""


class SteppingClock:
    """A clock that advances by one second at every reading.

    Args:
        limit: number of readings after which the clock raises :class:`Killed`, None for no limit.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.n_readings, self.limit = 0, limit

    def __call__(self) -> float:
        self.n_readings += 1
        if self.limit is not None and self.n_readings > self.limit:
            raise Killed
        return float(self.n_readings)


class KillingObserver(Observer):
    """Counts the training steps and evaluations of a run, and kills the run at event number ``kill_at``."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.n_events, self.kill_at = 0, kill_at

    def _count(self) -> None:
        self.n_events += 1
        if self.n_events == self.kill_at:
            raise Killed

    def training(self, done: int, total: int, elapsed_s: float) -> None:  # noqa: ARG002
        self._count()

    def evaluated(self, evaluation: Evaluation) -> None:  # noqa: ARG002
        self._count()


@dataclass(frozen=True)
class Outcome:
    """The record and the evaluations of a run."""

    record: RunRecord
    evaluations: list[Evaluation]

    def comparable(self, without: tuple[str, ...] = NOT_REPEATABLE) -> list[dict[str, Any]]:
        """The evaluations as dictionaries, without the fields in which equal runs differ."""
        found = [dataclasses.asdict(evaluation) for evaluation in self.evaluations]
        return [{key: value for key, value in line.items() if key not in without} for line in found]


@dataclass
class MethodSubject:
    """A method under test, with the settings of its runs.

    Attributes:
        method: the class under test.
        folder: an empty folder for the runs.
        options: an instance of the method's ``Options``, None for the defaults.
        searcher: a searcher class, None for the method's default.
        n_evaluations: largest number of evaluations, None for no limit.
        space: name of the search space, None for the space that ``nasbench run`` would choose.
    """

    method: type[Method]
    folder: Path
    options: Any = None
    searcher: type[Searcher] | None = None
    task: Task = TINY_PAIR
    model: Model = TINY_BERT
    n_evaluations: int = N_EVALUATIONS
    space: str | None = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def new_folder(self) -> Path:
        """The path of a new results folder."""
        return self.folder / f"run{next(self._numbers)}"

    def request(self, results: Path, **changes: Any) -> RunRequest:
        """The request of a run.

        Args:
            results: the results folder.
            changes: fields of the request that differ from the subject's settings.
        """
        searcher = self.searcher or choose_searcher(self.method)
        usual: dict[str, Any] = {
            "task": self.task,
            "model": self.model,
            "space": self.space or choose_space(self.method, self.task),
            "method": self.method,
            "method_options": self.method.Options() if self.options is None else self.options,
            "searcher": searcher,
            "searcher_options": None if searcher is None else searcher.Options(),
            "seed": SEED,
            "device": "cpu",
            "precision": "fp32",
            "results_dir": results,
            "max_evaluations": self.n_evaluations,
        }
        return RunRequest(**{**usual, **changes})

    def run(
        self,
        results: Path | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] | None = None,
        **changes: Any,
    ) -> Outcome:
        """Run the method once.

        Args:
            results: the results folder, None for a new one.
            observer: receives the events of the run.
            clock: None for a :class:`SteppingClock`.
            changes: as for :meth:`request`.

        Raises:
            Killed: if the observer or the clock raises it.
        """
        request = self.request(results or self.new_folder(), **changes)
        record = runner.run(request, observer, clock or SteppingClock())
        return Outcome(record, RunFolder(request.folder).read_evaluations())

    @property
    def usual(self) -> tuple[Outcome, int, int]:
        """An undisturbed run, its number of events, and its number of clock readings.

        Raises:
            Broken: if the run does not end.
        """
        found = self._usual
        if isinstance(found, Broken):
            raise found
        return found

    @cached_property
    def _usual(self) -> tuple[Outcome, int, int] | Broken:
        observer, clock = KillingObserver(), SteppingClock(limit=MOST_READINGS)
        try:
            outcome = self.run(observer=observer, clock=clock)
        except Killed:
            return Broken(
                f"it did not end after {self.n_evaluations} evaluations; let BudgetExhausted pass, and call "
                "problem.check_budget() in loops that do not evaluate"
            )
        return outcome, observer.n_events, clock.n_readings
