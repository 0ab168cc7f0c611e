"""The state of a run, collected from its events for a view. Reads no clock: all times come with the events."""

from __future__ import annotations

from pathlib import Path

from nasbench.objectives.declared import USUAL
from nasbench.records.record import Evaluation, RunFolder, RunRecord
from nasbench.runs.observer import Observer
from nasbench.search.pareto import empty_front, hypervolume

RAW_REFERENCE = 1.0
"""Reference point of the hypervolume shown during a run, in each objective: raw error and fractions of costs. Rankings
normalise the objectives and use :data:`nasbench.declarations.task.REFERENCE_POINT`, so their numbers differ."""


class Progress(Observer):
    """The state that views show. Views override :meth:`changed`, :meth:`run_started` and :meth:`run_finished`."""

    def __init__(self) -> None:
        self.record: RunRecord | None = None
        self.folder = Path()
        self.budget_s = float("inf")
        self.phase_name = "loading"
        self.elapsed_s = 0.0
        self.steps: tuple[int, int] | None = None
        self.n_evaluations = 0
        self.n_failed = 0
        self.best_error: float | None = None
        self.front = empty_front(2)
        self._first_step = (0, 0.0)

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end of the current training at its speed so far, but at most those left in the budget."""
        if self.steps is None:
            return None
        (done, total), (first, since_s) = self.steps, self._first_step
        if done <= first:
            return None
        training_s = (self.elapsed_s - since_s) / (done - first) * (total - done)
        return max(0.0, min(training_s, self.budget_s - self.elapsed_s))

    @property
    def raw_hypervolume(self) -> float:
        """Hypervolume of the evaluations so far, with reference point :data:`RAW_REFERENCE`."""
        values = self.front.values
        return hypervolume(values, [RAW_REFERENCE] * values.shape[1])

    def changed(self) -> None:
        """Called after each change of the state."""

    def run_started(self, record: RunRecord, folder: Path, n_resumed: int, budget_s: float) -> None:
        self.record, self.folder, self.budget_s = record, folder, budget_s
        self.front = empty_front(len(record.identity.objectives or USUAL))
        for evaluation in RunFolder(folder).read_evaluations()[:n_resumed]:
            self._count(evaluation)

    def phase(self, name: str, elapsed_s: float) -> None:
        self.phase_name, self.elapsed_s = name, max(self.elapsed_s, elapsed_s)
        if name != "training":
            self.steps = None
        self.changed()

    def training(self, done: int, total: int, elapsed_s: float) -> None:
        is_new = self.steps is None or done < self.steps[0] or total != self.steps[1]
        if is_new:
            self._first_step = (done, elapsed_s)
        self.steps, self.elapsed_s = (done, total), max(self.elapsed_s, elapsed_s)
        self.changed()

    def evaluated(self, evaluation: Evaluation) -> None:
        self.elapsed_s = max(self.elapsed_s, evaluation.elapsed_s)
        self._count(evaluation)
        self.changed()

    def _count(self, evaluation: Evaluation) -> None:
        self.n_evaluations = max(self.n_evaluations, evaluation.index + 1)
        if evaluation.error is None:
            self.n_failed += 1
            return
        self.best_error = evaluation.error if self.best_error is None else min(self.best_error, evaluation.error)
        self.front.add((evaluation.error, *evaluation.cost_values), evaluation.index)
