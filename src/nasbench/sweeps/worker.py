"""What runs inside a process of a sweep: one run, with reports of how far it is.

``python -m nasbench.sweeps.worker`` is a process of a local sweep. It reads one line of JSON, makes the run, and writes
lines of JSON. It interrupts itself when its parent is gone, so that no run goes on unseen.
"""

from __future__ import annotations

import _thread
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.errors import NasbenchError, in_one_line
from nasbench.sweeps.jobs import Job, from_json
from nasbench.sweeps.mirror import Mirror, is_url

if TYPE_CHECKING:
    from nasbench.records.record import RunFolder, RunRecord
    from nasbench.runs.observer import Observer
    from nasbench.runs.request import RunRequest

Send = Callable[[dict[str, Any]], None]
"""Takes a report: JSON values, see :class:`nasbench.sweeps.driver.JobState`."""
LOCK_WAIT_S = 120.0
"""How long a run waits for the lock of a lost machine, which a network file system frees late."""
INTERRUPTED = 130
"""Exit code of a process that was interrupted."""


def carry_out(job: Job, results: str, device: str, threads: int | None, send: Send) -> dict[str, Any]:
    """Make a run or resume it. A complete run is not repeated.

    Args:
        results: a folder, or a URL of fsspec.
        device: as torch names it here.
        threads: of the CPU; None for torch's default.
        send: called with reports.

    Returns:
        The last report: ``status`` is ``complete`` or ``failed``, ``reason`` says why it failed.
    """
    try:
        if not is_url(results):
            return _carry_out(job, Path(results), device, threads, send, None)
        with tempfile.TemporaryDirectory(prefix="nasbench-") as folder:
            mirror = Mirror(results, job.folder)
            mirror.fetch(Path(folder) / job.folder)
            return _carry_out(job, Path(folder), device, threads, send, mirror)
    except NasbenchError as error:
        return {"status": "failed", "reason": str(error)}
    except Exception as error:  # noqa: BLE001 - a bug ends this run, not the sweep
        return {"status": "failed", "reason": f"{in_one_line(error)} (a bug in nasbench, please report it)"}


def _carry_out(
    job: Job, results: Path, device: str, threads: int | None, send: Send, mirror: Mirror | None
) -> dict[str, Any]:
    from nasbench.records.record import RunFolder

    with job.prepared(results, device, threads, shares=mirror is None) as (request, make):
        folder = RunFolder(request.folder)
        record = _made(request, make, folder, send, mirror)
    if mirror is not None:
        mirror.push_ended(folder.path)
    evaluations = folder.read_evaluations()
    return {
        "status": record.status,
        "reason": record.reason or "",
        "elapsed_s": sum(record.charged_s.values()),
        "n_evaluations": len(evaluations),
    }


def _made(
    request: RunRequest,
    make: Callable[[Observer | None], RunRecord],
    folder: RunFolder,
    send: Send,
    mirror: Mirror | None,
) -> RunRecord:
    """The record of a run that is complete already, or that ``make`` makes once no other process holds it."""
    from nasbench.records.resume import InProgress
    from nasbench.runs import runner
    from nasbench.sweeps.reporter import Reporter

    waited_s = 0.0
    while True:
        # An attempt may have been lost after its last write and before its last report.
        if folder.exists() and (record := folder.read_run()).status == "complete":
            runner.check_complete(request)
            return record
        try:
            return make(Reporter(send, mirror, folder.path))
        except InProgress:
            if waited_s >= LOCK_WAIT_S:
                raise
            send({"phase": "waiting for the lock of another process"})
            time.sleep(1.0)
            waited_s += 1.0
        except BaseException:
            if mirror is not None:
                mirror.push_archive_now(folder.path)
            raise


def main() -> int:
    """Make the run that the first line of stdin describes.

    Returns:
        The exit code: 0 if the last report has been written, 130 after an interrupt.
    """
    order: Mapping[str, Any] = json.loads(sys.stdin.readline())
    if order["cores"]:
        os.sched_setaffinity(0, order["cores"])
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the log

    def send(report: dict[str, Any]) -> None:
        print(json.dumps(report), file=reports, flush=True)

    def watch() -> None:
        sys.stdin.read()
        _thread.interrupt_main()

    threading.Thread(target=watch, daemon=True).start()
    try:
        job = from_json(order["job"])
        outcome = carry_out(job, order["results"], order["device"], order["threads"], send)
        send({**outcome, "is_last": True})
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
