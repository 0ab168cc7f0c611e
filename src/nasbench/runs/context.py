"""The harness side of a problem: the parts that a problem needs and a method must not reach."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from torch import nn

from nasbench.objectives.costs import PARAMETERS, Costs
from nasbench.records.checkpoints import Checkpoints, SharedSuperNetworks
from nasbench.records.predictions import Predictions
from nasbench.records.record import Evaluation, RunFolder
from nasbench.runs.budget import Budget
from nasbench.runs.observer import Observer
from nasbench.training.evaluation import Evaluator


@dataclass(frozen=True)
class RunContext:
    """The record, the clock and the test split of a run.

    Attributes:
        folder: the files of the record.
        checkpoints: the saved weights and the checkpoint of the current training.
        budget: the clock.
        observer: receives the events of the run.
        test: evaluates on the test split.
        limit: largest number of evaluations, None for no limit.
        recorded: evaluations of an earlier attempt. The harness answers the method from them.
        note: appends a remark for readers to the record.
        shortened: the record's field of trainings that the budget shortened; written with the next note.
        costs: gives the costs of sub-networks.
        sample_speed: measures the machine's speed and keeps the conditions so far, if the last time is long ago; called
            off the clock.
        process: the process of the run; a copy that the method forks must not report.
        repeats_to: the network whose training an earlier attempt saved after its last evaluation; everything before
            that training is repeated. None if the last that it saved is an evaluation.
        trained: names of the networks that hold shared weights and whose training has ended; their weights are saved.
        shared: super-networks that the runs of an experiment share, None if the run trains its own.
        broken: by module, why its training failed; its evaluations fail for the same reason, under any name.
        predictions: keeps what the networks on the front predict; None for a run without networks.
    """

    folder: RunFolder
    checkpoints: Checkpoints
    budget: Budget
    observer: Observer
    test: Evaluator
    limit: int | None
    recorded: list[Evaluation]
    note: Callable[[str], None] = lambda _: None
    shortened: dict[str, int] = field(default_factory=dict)
    shared: SharedSuperNetworks | None = None
    predictions: Predictions | None = None
    broken: WeakKeyDictionary[nn.Module, str] = field(default_factory=WeakKeyDictionary)
    costs: Costs = PARAMETERS
    sample_speed: Callable[[], None] = lambda: None
    process: int = field(default_factory=os.getpid)
    repeats_to: str | None = None
    trained: list[str] = field(default_factory=list)
