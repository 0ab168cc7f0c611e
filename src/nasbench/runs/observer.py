"""The events of a run. The base class ignores them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
        """A phase begins: loading, training or search. ``elapsed_s`` seconds of the budget are spent."""

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
