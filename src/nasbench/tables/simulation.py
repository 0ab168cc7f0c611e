"""Run a searcher on a table: the usual method, harness and budget, with recorded errors and a simulated clock.

The clock charges the recorded seconds of the training and of each evaluation, and the real seconds of the searcher:
wall-clock seconds, or CPU seconds on a table that was recorded in CPU seconds, so that all seconds of a run are of one
kind. A simulated run is not resumed: it takes seconds, so its lines are written together at the end, and a killed run
starts afresh.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

import nasbench
from nasbench.errors import UserError
from nasbench.objectives.costs import counted_costs
from nasbench.objectives.declared import choose_objectives, is_modelled, is_usual
from nasbench.plugins import options
from nasbench.records import provenance, schema
from nasbench.records.checkpoints import Checkpoints
from nasbench.records.record import Evaluation, RunFolder, RunRecord, write_atomically
from nasbench.records.resume import earlier_attempt, locked
from nasbench.runs import runner
from nasbench.runs.budget import Budget
from nasbench.runs.context import RunContext
from nasbench.runs.loading import changed_options, now, unofficial_reasons
from nasbench.runs.observer import Guarded, Observer
from nasbench.runs.request import RunRequest, make_request
from nasbench.tables.problem import SimulatedClock, TableEvaluator, TableProblem
from nasbench.tables.table import Table, digests_of_suite, find_table
from nasbench.training.configuration import TRAINING_SHARE
from nasbench.training.evaluation import Evaluator

METHODS = ("ws-nas", "ws-nas-depth")
"""Methods that train one super-network as a table's was, and only evaluate afterwards."""
SPACE = "small-grid"
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.monotonic, "cpu": time.thread_time}
"""The clock of the searcher for each clock of a table: CPU seconds are those of the thread in which it runs."""


def make_simulation(method: Any, task: Any, *, table: Path | None = None, **arguments: Any) -> tuple[RunRequest, Table]:
    """The request of a run on a table, and its table.

    Args:
        table: the file; None for the table that :func:`~nasbench.tables.table.find_table` chooses by the seed.
        arguments: as for :func:`~nasbench.runs.request.make_request`.

    Raises:
        UserError: for everything that does not exist or does not fit together.
    """
    name = method if isinstance(method, str) else method.name
    if modelled := [*filter(is_modelled, choose_objectives(arguments.get("objectives")))]:
        raise UserError(f"--table holds no network to measure; leave out the objective {modelled[0]}")
    if name not in METHODS:
        raise UserError(f"--table holds the networks of one super-network; use --method {METHODS[0]}, not {name}")
    if (space := arguments.pop("space", None)) not in (None, SPACE):
        raise UserError(f"--table holds the space {SPACE!r}; leave out --space {space}")
    if (device := arguments.pop("device", "auto")).startswith("cuda"):
        raise UserError(f"--table simulates the device on which the table was made; leave out --device {device}")
    for option in ("precision", "threads"):
        if (value := arguments.pop(option, None)) is not None:
            raise UserError(f"--table computes nothing; leave out --{option} {value}")
    request = make_request(method, task, space=SPACE, device="cpu", **arguments)
    training = options.to_json(request.method_options)
    place = (request.task.name, request.model.name)
    if table is None:
        found = find_table(*place, request.seed, training)
    else:
        if not table.is_file():
            raise UserError(f"--table {table}: no such file; 'nasbench tabulate' makes one")
        found = Table(table)
        if (found.info.task, found.info.model) != place:
            raise UserError(
                f"--table {table} is of {found.info.task} with {found.info.model}, not {' with '.join(place)}"
            )
        if dict(found.info.options) != training:
            raise UserError(f"--table {table}: its super-network was trained with other options than these of --method")
    if request.declaration is not None and found.digest in digests_of_suite():
        raise UserError(
            f"--table: table {found.name} is of the suite's {' with '.join(place)}, not of a declaration of your own; "
            "leave out --table"
        )
    _ = found.columns  # a damaged table is no failure of the method, which would read them first
    request = dataclasses.replace(request, table=found.digest)
    seconds = request.effective_budget_s
    if seconds is None and request.max_evaluations is None:
        raise UserError(f"task {place[0]!r} has no budget for {place[1]!r} on a cpu; give --budget SECONDS")
    if seconds is not None and found.info.training_s >= TRAINING_SHARE * seconds:
        raise UserError(
            f"the super-network of table {found.name} took {found.info.training_s:.0f} s to train, and a budget of "
            f"{seconds:g} s leaves {TRAINING_SHARE * seconds:.0f} s for it; give --budget "
            f"{found.info.training_s / TRAINING_SHARE + 1:.0f} or more, or --max-evaluations"
        )
    return request, found


def simulate(
    request: RunRequest,
    table: Table,
    observer: Observer | None = None,
    clock: Callable[[], float] | None = None,
) -> RunRecord:
    """Carry out a run on a table.

    Args:
        request: from :func:`make_simulation`.
        observer: receives the events of the run.
        clock: the real clock, which measures the searcher; None for that of :data:`CLOCKS`. Tests pass a fake clock.

    Returns:
        The record, with status ``complete`` or ``failed``.

    Raises:
        UserError: if the run is complete or is running in another process. Nothing is overwritten.
    """
    observer = observer or Observer()
    folder = _BufferedFolder(request.folder)
    with locked(folder.path):
        earlier_attempt(folder)
        folder.remove_leftovers()
        folder.clear()
        simulated = SimulatedClock(clock or CLOCKS.get(table.info.clock, time.monotonic))
        seconds = request.effective_budget_s
        budget = Budget(float("inf") if seconds is None else seconds, clock=simulated)
        record = _new_record(request, table)
        context = RunContext(
            folder=folder,
            checkpoints=cast(Checkpoints, _NoWeights()),
            budget=budget,
            observer=Guarded(observer),
            test=cast(Evaluator, TableEvaluator(table, request.task, None)),
            limit=request.max_evaluations,
            recorded=[],
            note=record.notes.append,
            costs=counted_costs(request.objectives),
        )
        problem = TableProblem(table, request.task, request.model, request.seed, simulated, context)
        folder.write_run(record)
        observer.run_started(record, folder.path, 0, budget.seconds)
        record.status, record.reason = runner.run_method(request, problem, context)
        record.charged_s, record.uncharged_s = budget.charged_s, budget.uncharged_s
        folder.flush()
        folder.finish(record)
        observer.run_finished(record, folder.read_evaluations())
    return record


def _new_record(request: RunRequest, table: Table) -> RunRecord:
    info = table.info
    unofficial = [f"simulated on table {table.name}", *request.unofficial, *unofficial_reasons(request)]
    made = {
        name: value for name, value in info.provenance.items() if name not in ("packages", "python", "git_revision")
    }
    here = provenance.describe(torch.device("cpu"))
    origin = {
        **made,
        **{name: here[name] for name in ("packages", "python", "git_revision")},
        "table": {"name": table.name, "sha256": table.sha256, "seed": info.seed, "suite_version": info.suite_version},
        "simulated_on": here["hardware"],
    }
    return RunRecord(
        identity=request.identity,
        suite_version=nasbench.__version__,
        track=info.track,
        metric=info.metric,
        n_params_full=info.dims.n_params,
        dimensions=dict(info.dimensions),
        unofficial=[*unofficial, *info.unofficial],
        changed_options=changed_options(request),
        costs=None if is_usual(request.objectives) else counted_costs(request.objectives).describe(info.dims),
        simulated=table.name,
        declaration=None if request.declaration is None else dict(request.declaration),
        provenance=origin,
        started_at=now(),
    )


class _BufferedFolder(RunFolder):
    """Collects the evaluations and writes them together: flushing every line would take longer than the run."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._collected: list[Evaluation] = []

    def append(self, evaluation: Evaluation) -> None:
        self._collected.append(dataclasses.replace(evaluation, weights=None))

    def read_evaluations(self, record: RunRecord | None = None) -> list[Evaluation]:  # noqa: ARG002
        return self._collected

    def clear(self) -> None:
        """Remove the lines of an attempt that was killed."""
        (self.path / self.EVALUATIONS).unlink(missing_ok=True)

    def flush(self) -> None:
        """Write all lines."""
        lines = (json.dumps(schema.to_json(evaluation), allow_nan=False) + "\n" for evaluation in self._collected)
        write_atomically(self.path / self.EVALUATIONS, "".join(lines).encode())


class _NoWeights:
    """Stands for the checkpoints of a run without weights."""

    def keep_weights(self, network: Any) -> None:
        """Do nothing."""

    def remove_weights(self, name: str) -> None:
        """Do nothing."""
