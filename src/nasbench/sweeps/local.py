"""Runs on this machine: a process for each, pinned to a GPU or to cores of its own, so that budgets stay fair."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from nasbench.errors import UserError
from nasbench.sweeps.jobs import Job
from nasbench.sweeps.worker import INTERRUPTED

STOP_S = 20.0
"""How long an interrupted run has to write a checkpoint before it is killed, which its record survives, too."""


@dataclass(frozen=True)
class Slot:
    """A place for one run.

    Attributes:
        cores: numbers of the CPU cores that no other run uses.
        gpus: as in ``CUDA_VISIBLE_DEVICES``; empty for a run on the CPU.
    """

    cores: tuple[int, ...]
    gpus: tuple[str, ...] = ()


def slots(device: str, jobs: int | None = None, gpus_per_run: int = 1, cpus_per_run: int | None = None) -> list[Slot]:
    """Divide this machine.

    On GPUs there is a slot for each GPU. On a CPU there is one slot with all cores, unless ``jobs`` or ``cpus_per_run``
    asks for several.

    Args:
        device: ``cpu``, ``cuda`` for all visible GPUs, ``cuda:1`` for the second of them.
        jobs: number of runs at once; None for as many as there are places.
        gpus_per_run: GPUs of each slot.
        cpus_per_run: cores of each slot; None for an equal share.

    Raises:
        UserError: for more runs at once than the machine has places: their budgets would not be fair.
    """
    cores = sorted(os.sched_getaffinity(0))
    gpus = _gpus(device)
    if gpus:
        places = len(gpus) // gpus_per_run
        if places == 0:
            raise UserError(f"--gpus-per-run {gpus_per_run}: this machine has {len(gpus)} GPUs to use")
        n = jobs or min(places, len(cores) // (cpus_per_run or 1))
        if n > places:
            raise UserError(f"--jobs {n}: {len(gpus)} GPUs have room for {places} runs at once")
    else:
        n = jobs or (len(cores) // cpus_per_run if cpus_per_run else 1)
    n_cores = cpus_per_run or len(cores) // max(n, 1)
    if n == 0 or n_cores == 0 or n * n_cores > len(cores):
        wish = f"--jobs {jobs}" if jobs else f"--cpus-per-run {cpus_per_run}"
        raise UserError(f"{wish}: this process may use {len(cores)} cores, and each run needs cores of its own")
    return [
        Slot(tuple(cores[i * n_cores : (i + 1) * n_cores]), tuple(gpus[i * gpus_per_run : (i + 1) * gpus_per_run]))
        for i in range(n)
    ]


def _gpus(device: str) -> list[str]:
    """The GPUs to use, as ``CUDA_VISIBLE_DEVICES`` names them in a process with the same environment."""
    if device == "cpu":
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    n_gpus = torch.cuda.device_count()
    found = [name.strip() for name in visible.split(",")][:n_gpus] if visible else [str(i) for i in range(n_gpus)]
    _, colon, index = device.partition(":")
    return [found[int(index)]] if colon else found


class LocalBackend:
    """Processes on this machine, one for each run.

    Args:
        results: the results folder.
        places: see :func:`slots`.
        log_folder: gets a file for each run that ended without a report, with what it printed.
    """

    def __init__(self, results: str, places: list[Slot], log_folder: Path) -> None:
        self.n_at_once = len(places)
        self._results, self._logs = results, log_folder
        self._free = list(places)
        self._processes: dict[int, tuple[subprocess.Popen[str], Slot]] = {}
        self._reports: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()

    def has_room(self) -> bool:
        return bool(self._free)

    def start(self, index: int, job: Job) -> None:
        slot = self._free.pop(0)
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(slot.cores)), "OMP_WAIT_POLICY": "PASSIVE"}
        if slot.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(slot.gpus)
        log = self._log_file(job)
        with _opened(log) as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "nasbench.sweeps.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches only the sweep, which interrupts its runs itself
            )
        self._processes[index] = process, slot
        order = {
            "job": job.to_json(),
            "results": self._results,
            "device": job.device,
            "threads": len(slot.cores),
            "cores": slot.cores,
        }
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died already, and its reader will say so
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        threading.Thread(target=self._read, args=(index, process, log), daemon=True).start()

    def poll(self, timeout_s: float) -> list[tuple[int, Mapping[str, Any]]]:
        found: list[tuple[int, Mapping[str, Any]]] = []
        try:
            found.append(self._reports.get(timeout=timeout_s))
            while True:
                found.append(self._reports.get_nowait())
        except queue.Empty:
            pass
        for index, report in found:
            if "status" in report:
                process, slot = self._processes.pop(index)
                if process.stdin is not None:
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.close()
                self._free.append(slot)
        return found

    def stop(self) -> None:
        for process, _ in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        for process, _ in self._processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _read(self, index: int, process: subprocess.Popen[str], log: Path) -> None:
        """Pass on the reports of a process until it ends. Runs in a thread of its own."""
        assert process.stdout is not None
        last: dict[str, Any] | None = None
        for line in process.stdout:
            report = _report(line)
            if not report:
                continue
            if report.pop("is_last", False):
                last = report  # passed on once the process is gone, so that its cores and its GPU are free
            else:
                self._reports.put((index, report))
        code = process.wait()
        if last is None:
            # A process that was killed can go on. One that ends by itself would do so again.
            is_resumable = code < 0 or code == INTERRUPTED
            reason = f"{_ending(code)}; what it printed is in {log}"
            last = {"status": "lost", "reason": reason, "is_resumable": is_resumable}
        else:
            with contextlib.suppress(OSError):  # what is left of a log does no harm
                log.unlink(missing_ok=True)
                log.parent.rmdir()
        self._reports.put((index, last))

    def _log_file(self, job: Job) -> Path:
        return self._logs / (job.folder.replace("/", "_") + ".log")


def _opened(log: Path) -> TextIO:
    def attempt() -> TextIO:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("w", encoding="utf-8")

    try:
        try:
            return attempt()
        except FileNotFoundError:  # a run that has just ended has removed the folder in between
            return attempt()
    except OSError as error:
        raise UserError(f"cannot write {log}, in the results folder: {error.strerror}") from error


def _report(line: str) -> dict[str, Any]:
    """A report of a process, empty for a line that is none: a method may write to any file that is open."""
    try:
        report = json.loads(line)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def _ending(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        return f"its process was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"its process was ended by signal {-code}"
