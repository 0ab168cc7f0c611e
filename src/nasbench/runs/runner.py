"""One run from request to record: load, resume if there is something to resume, run the method, say how it ended."""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nasbench
from nasbench.data.splits import load_task_data
from nasbench.declarations.model import Model
from nasbench.declarations.task import Task
from nasbench.errors import (
    BudgetExhausted,
    CannotResume,
    MethodError,
    NasbenchError,
    UserError,
    WillNotEnd,
    in_one_line,
)
from nasbench.networks.adapter import Adapter
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.space import make_space
from nasbench.networks.supernet import Precision, SuperNetwork
from nasbench.plugins import options, registry
from nasbench.records import provenance
from nasbench.records.checkpoints import Checkpoints, SharedSuperNetworks
from nasbench.records.record import Evaluation, Identity, RunFolder, RunRecord
from nasbench.records.resume import check_same, earlier_attempt, locked
from nasbench.runs.budget import Budget
from nasbench.runs.context import RunContext
from nasbench.runs.observer import Observer
from nasbench.runs.problem import Problem
from nasbench.runs.request import RunRequest
from nasbench.training.evaluation import Evaluator

OFFICIAL_SEEDS = range(10)
"""Of runs that are ranked: the paper's ten repetitions, so that nobody chooses among more."""


def run(
    request: RunRequest, observer: Observer | None = None, clock: Callable[[], float] = time.monotonic
) -> RunRecord:
    """Carry a request out, or go on with one that was interrupted.

    Args:
        clock: seconds from any origin, for the budget; tests give a fake one.

    Returns:
        The record, with status ``complete`` or ``failed``. A failure of the method keeps what it had reported.

    Raises:
        UserError: if the run is complete already, is running elsewhere, or cannot start; nothing is overwritten.
    """
    observer = observer or Observer()
    folder = RunFolder(request.folder)
    if request.effective_budget_s is None and request.max_evaluations is None:
        raise UserError(
            f"task {request.task.name!r} has no budget for {request.model.name!r} on a {request.device_class}; "
            "give --budget SECONDS (the record is then unofficial) or choose another --model"
        )
    with locked(folder.path):
        earlier = earlier_attempt(folder)
        folder.remove_leftovers()
        return _Run(request, folder, observer, clock, earlier).carry_out()


def record_failure(folder: Path, identity: Identity, task: Task, model: Model, reason: str) -> None:
    """Leave the record of a run that failed before it could be requested; not in place of one that is there."""
    run_folder = RunFolder(folder)
    with locked(folder):
        if run_folder.exists():
            return
        run_folder.write_run(
            RunRecord(
                identity=identity,
                suite_version=nasbench.__version__,
                track=task.track_of(model),
                metric=task.metric,
                n_params_full=0,
                dimensions={},
                unofficial=["nothing was run"],
                changed_options=identity.options,
                status="failed",
                reason=reason,
                started_at=_now(),
            )
        )


def default_precision(device: torch.device) -> Precision:
    """bf16 where the device multiplies matrices in it, fp32 elsewhere."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    flags = torch.backends.cpu.get_cpu_capability()
    return "bf16" if flags.startswith("AVX512") and torch.cpu._is_avx512_bf16_supported() else "fp32"


class _Run:
    """The state that the steps of one run share."""

    def __init__(
        self,
        request: RunRequest,
        folder: RunFolder,
        observer: Observer,
        clock: Callable[[], float],
        earlier: RunRecord | None,
    ) -> None:
        self.request, self.folder, self.observer, self.clock, self.earlier = request, folder, observer, clock, earlier
        self.device = torch.device(request.device)
        self.checkpoints = Checkpoints(folder.path)
        self.recorded: list[Evaluation] = []
        if earlier is not None:
            folder.drop_cut_line()
            self.recorded = folder.read_evaluations()
        self.budget = self._budget()

    def carry_out(self) -> RunRecord:
        self.observer.phase("loading", self.budget.elapsed_s)
        problem, record = self._load()
        if self.earlier is not None:
            check_same(self.earlier, record, self.folder.path)
            record.started_at = self.earlier.started_at
            if self.recorded:  # else all that there is a note of is done again
                record.notes = self.earlier.notes
        self.folder.write_run(record)
        self.checkpoints.save_architecture(self.stock, self.tokenizer)
        budget_s = self.request.effective_budget_s
        self.observer.run_started(
            record, self.folder.path, len(self.recorded), float("inf") if budget_s is None else budget_s
        )
        record.status, record.reason = self._run_method(problem)
        record.charged_s, record.uncharged_s = self.budget.charged_s, self.budget.uncharged_s
        self.folder.write_run(record)
        if record.status == "complete":
            self.checkpoints.remove_training()
        self.observer.run_finished(record, self.folder.read_evaluations())
        return record

    def _note(self, record: RunRecord, note: str) -> None:
        with self.budget.uncharged("recording"):
            record.notes.append(note)
            self.folder.write_run(record)

    def _run_method(self, problem: Problem) -> tuple[Any, str | None]:
        request = self.request
        try:
            if request.searcher is not None:
                rng = np.random.default_rng((request.seed, 2))
                problem.searcher = request.searcher(problem.space, rng, request.searcher_options)
            method = request.method(request.method_options)
            with self.budget.running():
                method.run(problem)
        except BudgetExhausted:
            pass
        except CannotResume:
            raise
        except (MethodError, UserError, WillNotEnd) as error:
            return "failed", str(error)
        except NasbenchError:  # the suite's own: a disk that is full is no fault of the method's
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a method may raise anything; it must cost no record
            return "failed", in_one_line(error, self._plugin_files())
        if problem.is_repeating:
            raise CannotResume(
                f"cannot resume {self.folder.path}: the method ended before it had reported all {len(self.recorded)} "
                "recorded evaluations; it or its version differs. Remove the folder to start again"
            )
        evaluations = self.folder.read_evaluations()
        if not evaluations:
            return (
                "failed",
                "the method ended, or its budget did, before anything was evaluated; is --budget too small?",
            )
        if all(evaluation.status == "failed" for evaluation in evaluations):
            return "failed", f"all {len(evaluations)} evaluations failed; the first: {evaluations[0].reason}"
        return "complete", None

    def _plugin_files(self) -> list[str]:
        classes = [cls for cls in (self.request.method, self.request.searcher) if cls is not None]
        files = []
        for cls in classes:
            with suppress(TypeError, OSError):  # a class typed into a notebook has no file
                if not registry.ships(cls):
                    files.append(inspect.getfile(cls))
        return files

    def _load(self) -> tuple[Problem, RunRecord]:
        request, device = self.request, self.device
        loaded = load_pretrained(request.model, request.task, request.seed)
        self.stock, self.tokenizer = stock, tokenizer = loaded.network, loaded.tokenizer
        data = load_task_data(request.task, tokenizer, request.seed, request.data_dir)
        loaded.check_fits(data)
        precision = request.precision or default_precision(device)
        stock = stock.to(device).eval()
        if request.task.kind == "regression" and loaded.output_is_new:
            Adapter(stock).center_output(float(data.train.labels.mean()))
        dims = Adapter(stock).dimensions()
        space = make_space(request.space, dims)
        pad_id = int(tokenizer.pad_token_id)

        template = SuperNetwork(stock, precision)
        template.n_choices = data.train.n_choices
        test = Evaluator(data.test, request.task, pad_id, device)
        origin = {
            **provenance.describe(device),
            "precision": precision,
            "data_sha256": data.sha256,
            "weights_sha256": loaded.weights_sha256,
            "fine_tuning": dataclasses.asdict(request.model.fine_tuning),
            "super_network": dataclasses.asdict(request.model.super_network),
        }
        context = RunContext(
            self.folder, self.checkpoints, self.budget, self.observer, test, request.max_evaluations, self.recorded,
            lambda note: self._note(record, note), self._shared(origin),
        )  # fmt: skip
        problem = Problem(
            request.task, request.model, space, data.train, data.validation, request.seed, pad_id, template.copy,
            context,
        )  # fmt: skip
        record = RunRecord(
            identity=request.identity,
            suite_version=nasbench.__version__,
            track=request.task.track_of(request.model),
            metric=request.task.metric,
            n_params_full=dims.n_params,
            dimensions=dataclasses.asdict(dims),
            unofficial=[*request.unofficial, *self._own_reasons(), *data.unofficial],
            changed_options=self._changed_options(),
            provenance=origin,
            started_at=_now(),
        )
        return problem, record

    def _changed_options(self) -> dict[str, Any]:
        request = self.request
        owners = {"method": (request.method, request.method_options)}
        if request.searcher is not None:
            owners["searcher"] = (request.searcher, request.searcher_options)
        return {
            name: options.changes(options.to_json(chosen), options.to_json(owner.Options()))
            for name, (owner, chosen) in owners.items()
        }

    def _shared(self, origin: dict[str, Any]) -> SharedSuperNetworks | None:
        request = self.request
        if not request.shares_super_networks:
            return None
        folder = request.results_dir / request.task.name / request.model.name / "super-networks"
        # The code says more than the revision: that of the engine only, and changes that are not committed.
        alike = {name: value for name, value in origin.items() if name != "git_revision"}
        return SharedSuperNetworks(folder, {**alike, "engine_sha256": provenance.engine_sha256()})

    def _own_reasons(self) -> Iterator[str]:
        request = self.request
        if request.effective_budget_s != request.official_budget_s:
            budget = "no time limit" if request.budget_s is None else f"a budget of {request.budget_s:g} s"
            official = "" if request.official_budget_s is None else f" instead of {request.official_budget_s:g} s"
            yield budget + official
        if request.seed not in OFFICIAL_SEEDS:
            yield f"seed {request.seed} is not one of 0 to {OFFICIAL_SEEDS[-1]}"
        if request.max_evaluations is not None:
            yield f"limited to {request.max_evaluations} evaluations"

    def _budget(self) -> Budget:
        charged = dict(self.recorded[-1].charged_s) if self.recorded else {}
        state = self.checkpoints.load_training() if self.earlier is not None else None
        if state is not None and sum(state["charged_s"].values()) > sum(charged.values()):
            charged = state["charged_s"]
        uncharged = self.earlier.uncharged_s if self.earlier is not None else {}
        seconds = self.request.effective_budget_s
        wait = torch.cuda.synchronize if self.device.type == "cuda" else (lambda: None)
        return Budget(float("inf") if seconds is None else seconds, charged, uncharged, self.clock, wait)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
