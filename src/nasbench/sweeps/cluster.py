"""Runs on a Ray cluster: each run is a Ray task with its CPUs and GPUs.

Ray places the tasks, and starts a task again on another machine if its process or its machine is lost; the run then
resumes from its record. Nothing here schedules anything.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from nasbench.errors import UserError
from nasbench.sweeps.driver import MAX_LOSSES
from nasbench.sweeps.jobs import Job, from_json
from nasbench.sweeps.worker import carry_out

STOP_S = 20.0
"""How long cancelled runs have to write a checkpoint before they are killed, which their records survive, too."""
CONNECT_S = 10.0
OBJECT_STORE_BYTES = 100_000_000
"""Memory for values that tasks exchange. These are short reports; Ray would take a third of the machine."""


def connect(address: str | None, n_cpus: int | None = None) -> None:
    """Connect to a cluster, or start Ray on this machine.

    Args:
        address: as for ``ray.init``: ``auto``, ``HOST:6379`` or ``ray://HOST:10001``; None starts Ray here.
        n_cpus: of Ray on this machine; None for all.

    Raises:
        UserError: if Ray is not installed or no cluster answers.
    """
    # Ray sends statistics of its use to its makers unless it is told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError("--backend ray needs Ray: pip install 'nasbench-plm[cluster]'") from error
    if ray.is_initialized():
        return
    try:
        if address is not None:
            _check_port(address)
        if address is None:
            ray.init(
                address="local",
                num_cpus=n_cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        if address is None:
            raise UserError(f"--backend ray: Ray does not start on this machine ({error})") from error
        raise UserError(
            f"--ray-address {address}: no Ray cluster answers ({error}); 'ray start --head' starts one"
        ) from error


def _check_port(address: str) -> None:
    """Raise an OSError if nobody listens at ``HOST:PORT``. Ray would wait for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_S).close()


def has_gpus() -> bool:
    """Whether any machine of the cluster has a GPU."""
    import ray

    return float(ray.cluster_resources().get("GPU", 0)) > 0


class RayBackend:
    """Ray tasks, one for each run. :func:`connect` comes first.

    Args:
        results: a folder that all machines see, or a URL of fsspec.
        cpus_per_run: CPUs that a run reserves, which is also its number of threads.
        gpus_per_run: GPUs that a run reserves; 0 for runs on the CPU.
        jobs: hand over at most so many runs at once; None for as many as Ray has room for.

    Raises:
        UserError: if no machine of the cluster could ever hold a run.
    """

    _board: Any

    def __init__(self, results: str, cpus_per_run: int, gpus_per_run: int, jobs: int | None = None) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray = ray
        needs = {"CPU": cpus_per_run, "GPU": gpus_per_run}
        rooms = [
            min(int(node["Resources"].get(kind, 0) // n) for kind, n in needs.items() if n)
            for node in ray.nodes()
            if node["Alive"]
        ]
        if not any(rooms):
            raise UserError(
                f"no machine of the Ray cluster has {cpus_per_run} CPUs and {gpus_per_run} GPUs for a run; see 'ray "
                "status', --cpus-per-run and --gpus-per-run"
            )
        self.n_at_once = max(1, sum(rooms) if jobs is None else min(jobs, sum(rooms)))
        self._results, self._threads, self._limit = results, cpus_per_run, jobs
        self._tasks: dict[Any, int] = {}
        # Beside the sweep: on another machine, the board would be lost with it, and reports on their way, too.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self._board = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(_Board).remote()
        ray.get(self._board.take.remote())  # until it is there, reports wait on the machines of the runs
        # max_calls: a process for each run, so that no run finds what another has left in memory.
        self._run = ray.remote(num_cpus=cpus_per_run, num_gpus=gpus_per_run, max_retries=MAX_LOSSES, max_calls=1)(_run)

    def has_room(self) -> bool:
        return self._limit is None or len(self._tasks) < self._limit

    def start(self, index: int, job: Job) -> None:
        task = self._run.options(name=job.name).remote(job.to_json(), self._results, self._threads, index, self._board)
        self._tasks[task] = index

    def poll(self, timeout_s: float) -> list[tuple[int, Mapping[str, Any]]]:
        ray = self._ray
        done, _ = ray.wait(list(self._tasks), timeout=timeout_s) if self._tasks else ([], [])
        found: list[tuple[int, Mapping[str, Any]]] = []
        with suppress(ray.exceptions.RayError):  # reports only tell how far a run is; a lost board starts again
            found += ray.get(self._board.take.remote(), timeout=30)
        for task in done:
            index = self._tasks.pop(task)
            try:
                found.append((index, ray.get(task)))
            except ray.exceptions.RayError as error:
                reason = " ".join(str(error).split())[:300]
                found.append((index, {"status": "lost", "reason": reason, "is_resumable": False}))
        return found

    def stop(self) -> None:
        ray = self._ray
        if not self._tasks:
            return
        for task in self._tasks:
            ray.cancel(task, force=False)
        end_s = time.monotonic() + STOP_S
        left = list(self._tasks)
        while left and time.monotonic() < end_s:
            _, left = ray.wait(left, num_returns=len(left), timeout=1.0)
        for task in left:
            ray.cancel(task, force=True)
        self._tasks.clear()


class _Board:
    """Collects the reports of all runs, as a Ray actor."""

    def __init__(self) -> None:
        self._reports: list[tuple[int, dict[str, Any]]] = []

    def put(self, index: int, report: dict[str, Any]) -> None:
        self._reports.append((index, report))

    def take(self) -> list[tuple[int, dict[str, Any]]]:
        taken, self._reports = self._reports, []
        return taken


def _run(values: dict[str, Any], results: str, threads: int, index: int, board: Any) -> dict[str, Any]:
    """A Ray task: one run. Ray has set the GPUs that it may see."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    job = from_json(values)
    return carry_out(job, results, job.device, threads, lambda report: board.put.remote(index, report))
