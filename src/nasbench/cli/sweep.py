"""``nasbench sweep`` and ``nasbench.sweep``: from what a person asks for to a sweep on a backend."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from nasbench.analysis.experiments.definitions import MODELS, SEEDS, TASKS, find_experiment
from nasbench.cli.summary import duration
from nasbench.cli.sweep_view import view_of
from nasbench.devices import resolve_device
from nasbench.errors import Interrupted, UserError, in_one_line
from nasbench.sweeps import driver, jobs, local
from nasbench.sweeps.driver import Backend, JobState, Sweep
from nasbench.sweeps.jobs import Earlier, Job
from nasbench.sweeps.mirror import Mirror, is_url

LOGS = "sweep-logs"
"""Folder below the results for what lost processes have printed."""
BackendName = Literal["local", "ray"]


@dataclass(frozen=True)
class Place:
    """Where a sweep is made.

    Attributes:
        backend: ``local``, processes on this machine, or ``ray``.
        results: a folder, or a URL of fsspec.
        device: ``auto``, ``cpu``, ``cuda``, or ``cuda:1`` for one GPU of this machine.
        jobs: runs at once; None for as many as there is room for: one for each GPU or group of GPUs, and on the CPU of
            this machine one, or as many as ``cpus_per_run`` allows.
        gpus_per_run: GPUs that each run on a GPU has for itself.
        cpus_per_run: cores that each run has for itself; None for an equal share (``local``), or 1 (``ray``).
        ray_address: of a Ray cluster; None starts Ray on this machine.
    """

    backend: BackendName = "local"
    results: str = "runs"
    device: str = "auto"
    jobs: int | None = None
    gpus_per_run: int = 1
    cpus_per_run: int | None = None
    ray_address: str | None = None

    def connect(self) -> None:
        """Connect to Ray, if this place is one."""
        if self.backend == "local":
            if self.ray_address is not None:
                raise UserError("--ray-address goes with --backend ray")
            return
        from nasbench.sweeps import cluster

        n_cpus = None if self.jobs is None else self.jobs * (self.cpus_per_run or 1)
        cluster.connect(self.ray_address, n_cpus)

    def kind_of_device(self) -> str:
        """``cpu`` or ``cuda``.

        Raises:
            UserError: if there is no such device here. What a cluster has, its backend finds out.
        """
        if self.backend == "ray":
            if self.device == "auto":
                from nasbench.sweeps import cluster

                return "cuda" if cluster.has_gpus() else "cpu"
            if self.device not in ("cpu", "cuda"):
                raise UserError(f"--device is auto, cpu or cuda with --backend ray, not {self.device!r}")
            return self.device
        return resolve_device(self.device).partition(":")[0]

    def make_backend(self, kind: str) -> Backend:
        """The backend for runs on this kind of device."""
        if self.backend == "ray":
            from nasbench.sweeps import cluster

            results = self.results if is_url(self.results) else str(Path(self.results).absolute())
            n_gpus = self.gpus_per_run if kind == "cuda" else 0
            return cluster.RayBackend(results, self.cpus_per_run or 1, n_gpus, self.jobs)
        places = local.slots(resolve_device(self.device), self.jobs, self.gpus_per_run, self.cpus_per_run)
        logs = (Path() if is_url(self.results) else Path(self.results)) / LOGS
        return local.LocalBackend(self.results, places, logs)


def experiment_jobs(
    name: str,
    device: str,
    *,
    methods: Sequence[str] = (),
    tasks: Sequence[str] = (),
    models: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    spaces: Sequence[str] = (),
    searchers: Sequence[str] = (),
    data_dir: Path | None = None,
) -> list[Job]:
    """The runs of an experiment, as :mod:`nasbench.analysis.experiments` defines them.

    Args:
        name: of the experiment or of one of its figures, as :func:`find_experiment` takes it, such as ``fig5``,
            ``fig5-shared``, ``weight-sharing`` or ``front``.
        device: ``cpu`` or ``cuda``.
        methods: keep only runs of these; empty for all. ``spaces`` and ``searchers`` likewise.
        tasks: names; empty for the paper's. ``models`` likewise.
        seeds: None for the paper's ten.
        data_dir: the folder of local data; None for the hub.

    Raises:
        UserError: if there is no such experiment or run.
    """
    wanted = find_experiment(name).runs(
        tuple(tasks) or TASKS, tuple(models) or MODELS, tuple(SEEDS if seeds is None else seeds)
    )
    found = []
    for run in wanted:
        kept = ((methods, run.method), (spaces, run.space), (searchers, run.searcher))
        if any(names and value not in names for names, value in kept):
            continue
        arguments = {
            "method": run.method, "task": run.task, "model": run.model, "space": run.space, "searcher": run.searcher,
            "settings": [f"{key}={value}" for key, value in run.options.items()], "seed": run.seed,
            "max_evaluations": run.max_evaluations, "data_dir": data_dir,
        }  # fmt: skip
        key = None if run.super_network is None else repr(run.super_network)
        found.append(jobs.make_job(arguments, device, key))
    if not found:
        raise UserError(f"experiment {name!r} has no such runs; see: nasbench experiment {name} --dry-run")
    return found


def plan(the_jobs: Sequence[Job], results: str, retry_failed: bool) -> tuple[Sweep, list[Earlier]]:
    """The state of a sweep before it starts, with what is made of each of its runs."""
    if is_url(results):
        with tempfile.TemporaryDirectory(prefix="nasbench-") as folder:
            for job in the_jobs:
                Mirror(results, job.folder).fetch_record(Path(folder) / job.folder)
            made = [jobs.earlier(Path(folder), job, is_whole=False) for job in the_jobs]
    else:
        made = [jobs.earlier(Path(results), job) for job in the_jobs]
    return driver.make_sweep(the_jobs, made, retry_failed), made


def plan_lines(sweep: Sweep, made: Sequence[Earlier], results: str, n_at_once: int) -> Iterator[str]:
    """The command of each run with what is made of it, and last the total time. All but commands are comments."""
    for state, earlier in zip(sweep.states, made, strict=True):
        note = {
            "nothing": "",
            "complete": "  # complete",
            "failed": f"  # failed: {earlier.reason}",
            "started": f"  # goes on after {duration(earlier.elapsed_s)}",
        }[earlier.made]
        yield state.job.command(results) + note
    to_make = sum(state.status == "waiting" for state in sweep.states)
    total_s = sweep.total_s
    time = "" if to_make == 0 else ", in a time that no budget limits"
    if total_s is not None and to_make > 0:
        sweep.n_at_once = n_at_once
        time = f" in {duration(total_s)} of budget: {duration(sweep.left_s or 0.0)} with {n_at_once} at once"
        time += ", loading and tests apart"
    counts = ", ".join(f"{n} {status}" for status, n in sweep.counts().items() if status != "waiting")
    yield f"# {len(sweep.states)} runs: {f'{counts}, ' if counts else ''}{to_make} to make{time}"


def carry_out(sweep: Sweep, backend: Backend, quiet: bool) -> None:
    """Make all runs that are waiting, with a view on the terminal.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once all runs have stopped.
        Interrupted: likewise, if the terminal or the file that shows the progress is gone.
    """
    with _terminated_as_interrupted(), view_of(sweep, quiet) as view:

        def show(state: JobState | None) -> None:
            try:
                view.changed(state)
            except (OSError, SystemExit) as error:  # rich ends the process when a pipe is closed
                raise Interrupted(
                    f"the sweep cannot show its progress ({in_one_line(error)}); its records are kept, and the same "
                    "command goes on"
                ) from error

        driver.carry_out(sweep, backend, show)


def n_not_complete(sweep: Sweep) -> int:
    """Number of runs that have failed or were lost, in this sweep or before."""
    return sum(state.status in ("failed", "lost") for state in sweep.states)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Stop as after Ctrl-C when a batch system or a cluster ends the process with SIGTERM."""
    if threading.current_thread() is not threading.main_thread():  # only that thread may set a handler
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> Any:  # noqa: ARG001 - what signal handlers get
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
