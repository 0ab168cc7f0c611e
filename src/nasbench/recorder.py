"""The harness side of a problem: what a method must not reach, and every part of a problem needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nasbench.budget import Budget
from nasbench.checkpoints import Checkpoints, SharedSuperNetworks
from nasbench.evaluation import Evaluator
from nasbench.observer import Observer
from nasbench.record import Evaluation, RunFolder


@dataclass(frozen=True)
class Recorder:
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
