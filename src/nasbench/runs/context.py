"""The harness side of a problem: what a method must not reach, and every part of a problem needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nasbench.records.checkpoints import Checkpoints, SharedSuperNetworks
from nasbench.records.record import Evaluation, RunFolder
from nasbench.runs.budget import Budget
from nasbench.runs.observer import Observer
from nasbench.training.evaluation import Evaluator


@dataclass(frozen=True)
class RunContext:
    """Where a run's results go, and who watches.

    Attributes:
        limit: end the run after so many evaluations.
        recorded: evaluations of an earlier attempt, to be answered again.
        note: puts what a reader of the record should know into it.
        shared: super-networks of other runs of an experiment; None where each run trains its own.
    """

    folder: RunFolder
    checkpoints: Checkpoints
    budget: Budget
    observer: Observer
    test: Evaluator
    limit: int | None
    recorded: list[Evaluation]
    note: Callable[[str], None] = lambda _: None
    shared: SharedSuperNetworks | None = None
