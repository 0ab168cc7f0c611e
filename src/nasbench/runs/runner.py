"""Carry out one run, from the request to the finished record. An interrupted run is resumed."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

import nasbench
from nasbench import devices
from nasbench.errors import (
    BudgetExhausted,
    CannotResume,
    Interrupted,
    Interruption,
    MethodError,
    NasbenchError,
    UserError,
    WillNotEnd,
    in_one_line,
    printable,
)
from nasbench.networks.space import make_space
from nasbench.objectives.costs import Costs
from nasbench.objectives.declared import is_usual
from nasbench.objectives.measurers import check_measurable
from nasbench.plugins import registry
from nasbench.plugins.method import run_to_end
from nasbench.records import provenance
from nasbench.records.checkpoints import Checkpoints, SharedSuperNetworks
from nasbench.records.front import front_of, needed_weights
from nasbench.records.predictions import Predictions
from nasbench.records.record import Evaluation, RunFolder, RunRecord, RunStatus
from nasbench.records.resume import carry_over, check_precision, check_same, earlier_attempt, locked
from nasbench.records.schema import OTHER_WORK
from nasbench.runs import machine, watchdog
from nasbench.runs.budget import Budget
from nasbench.runs.context import RunContext
from nasbench.runs.loading import (
    Loaded,
    changed_options,
    find_costs,
    load,
    measure_front,
    new_record,
    now,
    other_declaration,
)
from nasbench.runs.observer import Guarded, Observer
from nasbench.runs.problem import Problem
from nasbench.runs.request import RunRequest
from nasbench.training.evaluation import Evaluator

CarryOut = Callable[[RunRequest, Problem, RunContext], tuple[RunStatus, str | None]]
"""Runs the method of a request on a problem; returns the run's status and the reason of a failure."""


def run(
    request: RunRequest,
    observer: Observer | None = None,
    clock: Callable[[], float] = time.monotonic,
    carry_out: CarryOut | None = None,
) -> RunRecord:
    """Carry out a request, or resume its run if that was interrupted.

    Args:
        observer: receives the events of the run.
        clock: gives seconds from any origin, for the budget. Tests pass a fake clock.
        carry_out: runs the method; None for :func:`run_method`, in this process.

    Returns:
        The record, with status ``complete`` or ``failed``. A failed run keeps its evaluations.

    Raises:
        UserError: if the run is complete, is running in another process, or cannot start. Nothing is overwritten.
    """
    observer = observer or Observer()
    folder = RunFolder(request.folder)
    _check_limits(request)
    check_measurable(request.objectives, torch.device(request.device))
    with locked(folder.path), machine.threads(request.threads), machine.current(request.device):
        check_complete(request)
        earlier = earlier_attempt(folder)
        folder.remove_leftovers()
        return _Run(request, folder, observer, clock, earlier, carry_out).carry_out()


def _check_limits(request: RunRequest) -> None:
    if request.effective_budget_s is None and request.max_evaluations is None:
        raise UserError(
            f"task {request.task.name!r} has no budget for {request.model.name!r} on a {request.device_class}; "
            "give --budget SECONDS (the record is then unofficial) or choose another --model"
        )


def check_complete(request: RunRequest) -> None:
    """Check that a complete run is the run that is asked for: its folder does not depend on the precision.

    Raises:
        UserError: if the complete run computed in another precision.
    """
    folder = RunFolder(request.folder)
    if request.precision is not None and folder.exists():
        check_precision(folder.read_run(), request.precision, folder.path)


def record_failure(request: RunRequest, reason: str) -> None:
    """Write the record of a run that failed before anything was loaded. An existing record is kept.

    Raises:
        UserError: for a run that nothing would end.
    """
    _check_limits(request)
    folder = RunFolder(request.folder)
    with locked(folder.path):
        if folder.exists():
            return
        folder.write_run(
            RunRecord(
                identity=request.identity,
                suite_version=nasbench.__version__,
                track=request.task.track_of(request.model),
                metric=request.task.metric,
                n_params_full=0,
                dimensions={},
                unofficial=["nothing was run"],
                changed_options=changed_options(request),
                declaration=None if request.declaration is None else dict(request.declaration),
                status="failed",
                reason=reason,
                started_at=now(),
            )
        )


class _Run:
    """The state that the steps of a run share.

    Args:
        earlier: the record of an earlier attempt, None for a fresh start.
    """

    def __init__(
        self,
        request: RunRequest,
        folder: RunFolder,
        observer: Observer,
        clock: Callable[[], float],
        earlier: RunRecord | None,
        carry_out: CarryOut | None,
    ) -> None:
        self._carry_out = carry_out
        self.request, self.folder, self.observer, self.earlier = request, folder, observer, earlier
        self.checkpoints = Checkpoints(folder.path)
        self.predictions = Predictions(folder.path, request.task)
        self.recorded: list[Evaluation] = []
        if earlier is not None:
            self.recorded = folder.read_evaluations(earlier)
            self.checkpoints.check_weights({each.weights for each in self.recorded if each.weights is not None})
            folder.drop_cut_line()
        self.repeats_to: str | None = None
        self.trained: list[str] = []
        self.budget = self._remaining_budget(clock)
        self._watch: machine.Watch  # while the method runs

    def carry_out(self) -> RunRecord:
        self.observer.phase("loading", self.budget.elapsed_s)
        if self.request.notice is not None:
            self.observer.notice(self.request.notice)
        self._choose_threads()  # before loading, so that the provenance names the threads that are used
        with devices.loading(torch.device(self.request.device)):
            loaded = load(self.request)
            self.observer.data_loaded(loaded.data.summary)
            record = new_record(self.request, loaded)
            costs = find_costs(self.request, loaded, self.earlier, self.budget)
            record.costs = None if is_usual(self.request.objectives) else costs.describe(loaded.dims)
            problem, context = self._problem(loaded, record, costs)
        if self.earlier is not None:
            check_same(self.earlier, record, self.folder.path)
            self.folder.begin_progress()
            carry_over(self.earlier, record, repeats_all=not self.recorded and not self.trained)
        self.folder.write_run(record)
        self.checkpoints.save_architecture(loaded.network.model, loaded.tokenizer)
        if self.earlier is None and (text := other_declaration(self.request)) is not None:
            self.observer.notice(text)
        self.observer.run_started(record, self.folder.path, len(self.recorded), self.budget.seconds)
        with self._watched(record):
            status, reason = self._run_method(problem, context)
        measure_front(record, self.request, loaded, self.folder, self.budget, self.observer)
        evaluations = self.folder.read_evaluations()
        self.predictions.finish(each.index for each in front_of(evaluations))
        record.status, record.reason = status, reason
        record.charged_s, record.uncharged_s = self.budget.charged_s, self.budget.uncharged_s
        record.overshoot_s = self.budget.overshoot_s or None
        self.folder.finish(record)
        if record.status == "complete":
            self.checkpoints.finish(needed_weights(record, evaluations))
        self.observer.run_finished(record, evaluations)
        return record

    @property
    def _is_timed(self) -> bool:
        """Whether seconds limit the run; a run of a number of evaluations takes the time that it takes."""
        return self.request.max_evaluations is None

    def _choose_threads(self) -> None:
        if self.request.device_class != "cpu" or self.request.threads is not None or not self._is_timed:
            return
        n_threads = torch.get_num_threads()
        if (better := machine.better_threads()) < n_threads:
            torch.set_num_threads(better)
            self.observer.notice(
                f"computing with one thread: with the other work on this machine, {n_threads} threads are slower "
                "(--threads N overrides this)"
            )

    @contextmanager
    def _watched(self, record: RunRecord) -> Iterator[None]:
        """Record what else the machine does inside. A run that was disturbed is unofficial."""
        before = machine.work_s()
        self._watch = machine.Watch()
        record.conditions.append({**self._watch.conditions(), "work_s": [before]})
        try:
            yield
        except (KeyboardInterrupt, Interrupted):
            self._keep_conditions(record)
            raise
        record.conditions[-1] |= {**self._watch.conditions(), "work_s": [before, machine.work_s()]}
        share = machine.disturbance(record.conditions)
        if self._is_timed and share is not None and share > machine.DISTURBED:
            reason = f"{OTHER_WORK} took {100 * share:.0f} % of its time"
            record.unofficial.append(reason)
            self.observer.notice(f"this run was disturbed: {reason}, so it is unofficial; run it on a quiet machine")
        elif (slow := machine.slowness(record.conditions)) is not None and slow > machine.SLOW:
            self.observer.notice(f"on average, the machine was {100 * slow:.0f} % slower than at its best in this run")
        self.folder.write_run(record)  # what follows can be interrupted, and a resumed run takes no time

    def _sample_speed(self, record: RunRecord) -> None:
        if self._is_timed and self._watch.sample_speed():
            self._keep_conditions(record)

    def _keep_conditions(self, record: RunRecord) -> None:
        """Write this attempt's conditions so far: a kill must not make a disturbed run an official one."""
        record.conditions[-1] |= self._watch.conditions()
        record.uncharged_s = self.budget.uncharged_s
        self.folder.write_run(record)

    def _remaining_budget(self, clock: Callable[[], float]) -> Budget:
        """The budget, with the time that an earlier attempt has spent: up to its last evaluation or checkpoint."""
        charged = dict(self.recorded[-1].charged_s) if self.recorded else {}
        state = self.checkpoints.load_training() if self.earlier is not None else None
        if state is not None and sum(state["charged_s"].values()) > sum(charged.values()):
            charged = state["charged_s"]
            self.repeats_to, self.trained = state["name"], list(state.get("trained", []))
        uncharged = self.earlier.uncharged_s if self.earlier is not None else {}
        seconds = self.request.effective_budget_s
        wait = torch.cuda.synchronize if self.request.device_class == "gpu" else (lambda: None)
        return Budget(float("inf") if seconds is None else seconds, charged, uncharged, clock, wait)

    def _problem(self, loaded: Loaded, record: RunRecord, costs: Costs) -> tuple[Problem, RunContext]:
        request, data, pad_id = self.request, loaded.data, loaded.pad_id

        def note(text: str) -> None:
            with self.budget.uncharged("recording"):
                if text not in record.notes:  # a resumed training repeats its notes
                    record.notes.append(text)
                self.folder.write_run(record)

        context = RunContext(
            folder=self.folder,
            checkpoints=self.checkpoints,
            budget=self.budget,
            observer=Guarded(self.observer),
            test=Evaluator(data.test, request.task, pad_id, torch.device(request.device), loaded.network.dtype),
            limit=request.max_evaluations,
            recorded=self.recorded,
            note=note,
            shortened=record.shortened_trainings,
            shared=self._shared_super_networks(loaded.origin),
            predictions=self.predictions,
            costs=costs,
            sample_speed=lambda: self._sample_speed(record),
            repeats_to=self.repeats_to,
            trained=self.trained,
        )
        problem = Problem(
            task=request.task,
            model=request.model,
            space=make_space(request.space, loaded.dims),
            train=data.train,
            validation=data.validation,
            seed=request.seed,
            pad_id=pad_id,
            pretrained=loaded.network.copy,
            context=context,
        )
        return problem, context

    def _shared_super_networks(self, origin: dict[str, Any]) -> SharedSuperNetworks | None:
        request = self.request
        if not request.shares_super_networks:
            return None
        folder = request.results_dir / request.task.name / request.model.name / "super-networks"
        # The digest of the engine replaces the revision: it covers changes that are not committed, and it ignores
        # changes outside the engine.
        same = {name: value for name, value in origin.items() if name != "git_revision"}
        return SharedSuperNetworks(folder, {**same, "engine_sha256": provenance.engine_sha256()})

    def _run_method(self, problem: Problem, context: RunContext) -> tuple[RunStatus, str | None]:
        if self._carry_out is not None:
            return self._carry_out(self.request, problem, context)
        return run_method(self.request, problem, context, len(self.recorded))


def run_method(
    request: RunRequest, problem: Problem, context: RunContext, n_recorded: int = 0
) -> tuple[RunStatus, str | None]:
    """Run the method of a request on a problem.

    Args:
        context: the record to which the problem writes, its clock and its costs.
        n_recorded: evaluations of an earlier attempt, which the method repeats.

    Returns:
        The run's status and the reason of a failure.

    Raises:
        CannotResume: if the method does not repeat the recorded evaluations.
        NasbenchError: if the suite fails through no fault of the method, for example on a full disk.
    """
    process, budget = os.getpid(), context.budget
    try:
        if request.searcher is not None:
            rng = np.random.default_rng((request.seed, 2))
            problem.searcher = request.searcher(problem.space, rng, request.searcher_options)
            problem.searcher.costs = context.costs
        method = request.method(request.method_options)
        with budget.running(), watchdog.watched(budget):
            run_to_end(method, problem)
    except BudgetExhausted:
        pass
    except CannotResume:
        raise
    except (MethodError, UserError, WillNotEnd) as error:
        return "failed", printable(str(error)) or "the method went on although its budget is exceeded"
    except (NasbenchError, KeyboardInterrupt, Interruption):
        raise
    except BaseException as error:  # noqa: BLE001 - a method can raise anything; its record is kept
        return "failed", in_one_line(error, _plugin_files(request))
    finally:
        watchdog.end_forked_copy(process)
    if budget.violation is not None:
        return "failed", budget.violation
    return verdict(problem, context.folder, n_recorded)


def verdict(problem: Problem, folder: RunFolder, n_recorded: int = 0) -> tuple[RunStatus, str | None]:
    """The status of a run whose method has ended, and the reason of a failure.

    Raises:
        CannotResume: if the method has not repeated the recorded evaluations.
    """
    if problem.is_repeating:
        raise CannotResume(
            f"cannot resume {folder.path}: the method ended before it had reported all {n_recorded} "
            "recorded evaluations; it or its version differs. Remove the folder to start again"
        )
    evaluations = folder.read_evaluations()
    if not evaluations:
        return "failed", "the method ended, or its budget did, before anything was evaluated; is --budget too small?"
    if all(evaluation.status == "failed" for evaluation in evaluations):
        return "failed", f"all {len(evaluations)} evaluations failed; the first: {evaluations[0].reason}"
    return "complete", None


def _plugin_files(request: RunRequest) -> list[str]:
    """The files of the method and the searcher, if they are not part of the suite."""
    files = []
    for cls in (request.method, request.searcher):
        if cls is not None and not registry.ships(cls):
            with suppress(TypeError, OSError):  # a class defined in a notebook has no file
                files.append(inspect.getfile(cls))
    return files
