"""One run from request to record: load, resume if there is something to resume, run the method, say how it ended."""

from __future__ import annotations

import dataclasses
import fcntl
import inspect
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nasbench
from nasbench import options, provenance, registry
from nasbench.adapter import Adapter
from nasbench.budget import Budget
from nasbench.checkpoints import Checkpoints, SharedSuperNetworks
from nasbench.data import load_task_data
from nasbench.errors import (
    BudgetExhausted,
    CannotResume,
    MethodError,
    NasbenchError,
    UserError,
    WillNotEnd,
    in_one_line,
)
from nasbench.evaluation import Evaluator
from nasbench.method import Method
from nasbench.models import load_pretrained
from nasbench.observer import Observer
from nasbench.problem import Problem
from nasbench.record import Evaluation, Identity, RunFolder, RunRecord
from nasbench.recorder import Recorder
from nasbench.searcher import Searcher
from nasbench.space import make_space
from nasbench.supernet import Precision, SuperNetwork
from nasbench.task import DeviceClass, Model, Task

OFFICIAL_SEEDS = range(10)
"""Of runs that are ranked: the paper's ten repetitions, so that nobody chooses among more."""


@dataclass(frozen=True)
class RunRequest:
    """What is to be run, and where. All names are resolved.

    Attributes:
        budget_s: None for the official one.
        max_evaluations: end after so many, however long they take; without a budget of its own the run is then
            independent of speed.
        precision: None for bf16 where the device computes in it, else fp32.
        unofficial: reasons known beforehand why the run does not count.
        shares_super_networks: take a super-network that another run has trained alike, and leave one for others.
    """

    task: Task
    model: Model
    space: str
    method: type[Method]
    method_options: Any
    searcher: type[Searcher] | None
    searcher_options: Any
    seed: int
    device: str
    results_dir: Path
    data_dir: Path | None = None
    budget_s: float | None = None
    max_evaluations: int | None = None
    precision: Precision | None = None
    unofficial: tuple[str, ...] = ()
    shares_super_networks: bool = False

    @property
    def device_class(self) -> DeviceClass:
        return "gpu" if self.device == "cuda" else "cpu"

    @property
    def official_budget_s(self) -> float | None:
        """What the task grants on this device; None if nothing is declared."""
        return self.task.budget_s(self.model, self.device_class)

    @property
    def effective_budget_s(self) -> float | None:
        """Seconds the run gets; None if only the number of evaluations ends it."""
        if self.budget_s is not None or self.max_evaluations is not None:
            return self.budget_s
        return self.official_budget_s

    @property
    def identity(self) -> Identity:
        """Of the record this run makes."""
        chosen = {"method": options.to_json(self.method_options)}
        if self.searcher is not None:
            chosen["searcher"] = options.to_json(self.searcher_options)
        return Identity(
            task=self.task.name,
            model=self.model.name,
            space=self.space,
            method=self.method.name,
            searcher=self.searcher.name if self.searcher else None,
            options=chosen,
            seed=self.seed,
            device_class=self.device_class,
            budget_s=self.effective_budget_s,
            max_evaluations=self.max_evaluations,
        )

    @property
    def folder(self) -> Path:
        """Where the record lies."""
        changed = self.method_options != self.method.Options()
        if self.searcher is not None:
            changed = changed or self.searcher_options != self.searcher.Options()
        is_official = self.effective_budget_s == self.official_budget_s
        return self.results_dir / self.identity.folder(changed, is_official)


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
    with _locked(folder.path):
        earlier = _earlier_attempt(folder)
        folder.remove_leftovers()
        return _Run(request, folder, observer, clock, earlier).carry_out()


def record_failure(folder: Path, identity: Identity, task: Task, model: Model, reason: str) -> None:
    """Leave the record of a run that failed before it could be requested; not in place of one that is there."""
    run_folder = RunFolder(folder)
    with _locked(folder):
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
            _check_same(self.earlier, record, self.folder.path)
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
        return [inspect.getfile(cls) for cls in classes if not registry.ships(cls)]

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
        recorder = Recorder(
            self.folder, self.checkpoints, self.budget, self.observer, test, request.max_evaluations, self.recorded,
            lambda note: self._note(record, note), self._shared(origin),
        )  # fmt: skip
        problem = Problem(
            request.task, request.model, space, data.train, data.validation, request.seed, pad_id, template.copy,
            recorder,
        )  # fmt: skip
        record = RunRecord(
            identity=request.identity,
            suite_version=nasbench.__version__,
            track=request.task.track_of(request.model),
            metric=request.task.metric,
            n_params_full=dims.n_params,
            dimensions=dataclasses.asdict(dims),
            unofficial=[*request.unofficial, *self._own_reasons(), *data.unofficial],
            provenance=origin,
            started_at=_now(),
        )
        return problem, record

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


def _earlier_attempt(folder: RunFolder) -> RunRecord | None:
    """The record to resume, None for a fresh start; what failed before it had anything to keep starts afresh."""
    if not folder.exists():
        remains = [name for name in (RunFolder.EVALUATIONS, "weights", "checkpoints") if (folder.path / name).exists()]
        if remains:
            raise UserError(f"{folder.path} has {remains[0]} but no {RunFolder.RUN}; remove the folder to start again")
        return None
    record = folder.read_run()
    if record.status == "complete":
        raise UserError(
            f"this run is complete: {folder.path} (remove the folder to run it again, or choose another --seed)"
        )
    if record.status == "failed" and not (folder.path / RunFolder.EVALUATIONS).exists():
        shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)
        return None
    return record


def _check_same(earlier: RunRecord, now: RunRecord, folder: Path) -> None:
    """A run is resumed with what it was started with, or not at all."""
    what = {
        "data": "data_sha256",
        "pre-trained weights": "weights_sha256",
        "precision": "precision",
        "fine-tuning": "fine_tuning",
        "super-network's training": "super_network",
    }
    before, after = dataclasses.asdict(earlier.identity), dataclasses.asdict(now.identity)
    changed = [(name, before[name], after[name]) for name in before if before[name] != after[name]]
    if earlier.metric != now.metric:
        changed.append(("metric", earlier.metric, now.metric))
    if changed:
        name, was, now_is = changed[0]
        raise CannotResume(
            f"cannot resume {folder}: it was started with {name} {was}, now it is {now_is}; remove the folder to start "
            "again"
        )
    for name, key in what.items():
        if earlier.provenance.get(key) != now.provenance[key]:
            raise CannotResume(
                f"cannot resume {folder}: its {name} differ from the present ones "
                f"({earlier.provenance.get(key)} against {now.provenance[key]}); remove the folder to start again"
            )
    if earlier.suite_version != now.suite_version:
        raise UserError(
            f"cannot resume {folder}: it was started with nasbench {earlier.suite_version}, this is "
            f"{now.suite_version}; remove the folder to start again"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two processes must not write one record."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write to the results folder {folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"this run is in progress in another process: {folder}") from error
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [".lock"]:  # it came to nothing: leave nothing
                shutil.rmtree(folder, ignore_errors=True)
