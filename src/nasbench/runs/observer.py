"""What a run tells whoever watches it. The base class watches nothing."""

from __future__ import annotations

from pathlib import Path

from nasbench.records.record import Evaluation, RunRecord


class Observer:
    """Receives the events of a run in order; overridden by the terminal views in :mod:`nasbench.cli.terminal`."""

    def run_started(self, record: RunRecord, folder: Path, n_resumed: int, budget_s: float) -> None:
        """The method is about to start; ``n_resumed`` evaluations come from an earlier attempt."""

    def phase(self, name: str, elapsed_s: float) -> None:
        """A phase begins: loading, training or search. ``elapsed_s`` of the budget are spent."""

    def training(self, done: int, total: int, elapsed_s: float) -> None:
        """``done`` of ``total`` optimizer steps of the current training are made."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """An evaluation is on disk."""

    def run_finished(self, record: RunRecord, evaluations: list[Evaluation]) -> None:
        """The run has ended, well or not; ``record.status`` says which."""
