"""The events of a run. The base class ignores them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.errors import Interrupted, NasbenchError, in_one_line
from nasbench.records.record import Evaluation, RunRecord

if TYPE_CHECKING:
    from nasbench.data.summary import DataSummary


class Observer:
    """Receives the events of a run in order. The terminal views in :mod:`nasbench.cli.terminal` override it."""

    def data_loaded(self, summary: DataSummary) -> None:
        """The data are loaded and split. No time is charged yet."""

    def run_started(self, record: RunRecord, folder: Path, n_resumed: int, budget_s: float) -> None:
        """The method is about to start.

        Args:
            folder: the run's folder.
            n_resumed: number of evaluations from an earlier attempt.
            budget_s: the budget in charged seconds; infinite if only the number of evaluations ends the run.
        """

    def phase(self, name: str, elapsed_s: float) -> None:
        """A phase begins, such as loading, training or search. ``elapsed_s`` seconds of the budget are spent."""

    def training(self, done: int, total: int, elapsed_s: float) -> None:
        """The current training has made ``done`` of its ``total`` optimizer steps."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """An evaluation has been written to disk."""

    def saved(self, elapsed_s: float) -> None:
        """A checkpoint of the current training has been written. Uncharged, as :meth:`evaluated` is."""

    def notice(self, text: str) -> None:
        """Something that the user should know now, in one line."""

    def run_finished(self, record: RunRecord, evaluations: list[Evaluation]) -> None:
        """The run has ended. ``record.status`` says whether it is complete or has failed."""


def _passed_on(event: str) -> Callable[..., None]:
    def pass_on(self: Guarded, *arguments: Any) -> None:
        try:
            getattr(self.shown, event)(*arguments)
        except NasbenchError:
            raise
        except (Exception, SystemExit) as error:  # rich ends the process when a pipe is closed
            raise Interrupted(
                f"the run cannot show its progress ({in_one_line(error)}); its record is kept, and the same command "
                "resumes it"
            ) from error

    return pass_on


class Guarded(Observer):
    """Passes events to another observer. What goes wrong there interrupts the run: it is no fault of the method.

    Such as a closed pipe (``nasbench run ... | less``), or standard output on a full disk.
    """

    def __init__(self, shown: Observer) -> None:
        self.shown = shown

    phase = _passed_on("phase")
    training = _passed_on("training")
    evaluated = _passed_on("evaluated")
    saved = _passed_on("saved")
    notice = _passed_on("notice")
