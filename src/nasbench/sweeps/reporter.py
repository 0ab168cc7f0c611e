"""Turns the events of a run into reports, and keeps its files at a URL where there is no common folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nasbench.records.record import Evaluation, RunRecord
from nasbench.runs.observer import Observer
from nasbench.sweeps.mirror import Mirror

INTERVAL_S = 1.0
"""Charged seconds between two reports of progress in one phase."""


class Reporter(Observer):
    """Sends a report at each change that a person wants to see. Progress is reported once in :data:`INTERVAL_S`.

    Args:
        send: takes a report of JSON values.
        mirror: where the files are kept besides the folder; None where other machines see the folder.
        folder: of the run.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], mirror: Mirror | None, folder: Path) -> None:
        self._send, self._mirror, self._folder = send, mirror, folder
        self._sent_s = float("-inf")
        self._n_evaluations = 0

    def phase(self, name: str, elapsed_s: float) -> None:
        # Some phases follow each other while the clock stands still, such as the measuring of a front.
        self._send({"elapsed_s": elapsed_s, "n_evaluations": self._n_evaluations, "phase": name})

    def run_started(self, record: RunRecord, folder: Path, n_resumed: int, budget_s: float) -> None:  # noqa: ARG002
        self._n_evaluations = n_resumed
        self._send({"phase": "started", "n_resumed": n_resumed, "n_evaluations": n_resumed})

    def training(self, done: int, total: int, elapsed_s: float) -> None:
        self._report(elapsed_s, phase=f"training, step {done} of {total}")

    def evaluated(self, evaluation: Evaluation) -> None:
        self._n_evaluations = evaluation.index + 1
        self._report(evaluation.elapsed_s)
        self._push(evaluation.elapsed_s)

    def saved(self, elapsed_s: float) -> None:
        self._push(elapsed_s)

    def _report(self, elapsed_s: float, **values: Any) -> None:
        if elapsed_s - self._sent_s >= INTERVAL_S:
            self._sent_s = elapsed_s
            self._send({"elapsed_s": elapsed_s, "n_evaluations": self._n_evaluations, **values})

    def _push(self, elapsed_s: float) -> None:
        if self._mirror is not None:
            self._mirror.push(self._folder, elapsed_s)
