"""Carries out runs that kill themselves at a given moment, each in a forked process, and reports how they ended.

It is a program of its own because a process that has trained cannot fork another one that trains. Starting Python for
each run would take longer than the runs. It reads one JSON object per line and answers each with one line.
"""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import torch

from nasbench.cli import main as command_line
from nasbench.networks.pretrained import load_pretrained
from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.runs import runner, session
from nasbench.runs.observer import Observer
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.configuration import SuperNetworkOptions, TrainingOptions

OPTIONS = {
    "ws-nas": SuperNetworkOptions(strategy="sandwich", n_random=1, learning_rate=1e-3, batch_size=8, epochs=1),
    "s-nas": TrainingOptions(epochs=1),
}
"""Options of methods that would train for long."""


class Moments(Observer):
    """Counts the moments of a run and kills the process at one of them.

    Moments are: a training step; a flush to disk; before and after a file is replaced; half a line and a whole line.
    """

    def __init__(self, kill_at):
        self.names, self._kill_at = [], kill_at
        self._replace = Path.replace

    def install(self):
        # After a kill, unlike a power failure, written data survive without a flush to disk.
        os.fsync = lambda _: self.count("fsync")

        def replace(path, target):
            self.count("before replace")
            self._replace(path, target)
            self.count("after replace")

        Path.replace = replace
        append = RunFolder.append

        def append_in_halves(folder, evaluation):
            path = folder.path / RunFolder.EVALUATIONS
            before = path.read_bytes() if path.exists() else b""
            path.write_bytes(before + b'{"index": 1, "con')
            self.count("half a line")
            path.write_bytes(before)
            append(folder, evaluation)
            self.count("line")

        RunFolder.append = append_in_halves

    def count(self, name):
        self.names.append(name)
        if len(self.names) == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def training(self, done, total, elapsed_s):  # noqa: ARG002
        self.count(f"step {done}")


class Acknowledges(Observer):
    """Tells the parent about each evaluation once the harness has recorded it."""

    def __init__(self, pipe):
        self._pipe = pipe

    def evaluated(self, evaluation):
        self._pipe.write(f"{evaluation.index} {evaluation.key}\n")
        self._pipe.flush()


def _carry_out(order, pipe):
    torch.set_num_threads(1)
    session.CHECKPOINT_INTERVAL_S = order["checkpoint_interval_s"]
    name, folder = order["method"], Path(order["results"])
    if "signal" in order:
        observer = Acknowledges(pipe)
        signal.signal(signal.SIGTERM, command_line.interrupt)
    else:
        observer = Moments(order.get("kill_at"))
        observer.install()
    subject = MethodSubject(registry.methods()[name], folder, OPTIONS.get(name), n_evaluations=5)
    runner.run(subject.request(folder), observer)
    return getattr(observer, "names", [])


def _forked(order):
    receive, send = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(receive)
        with os.fdopen(send, "w") as pipe:
            try:
                answer = {"moments": _carry_out(order, pipe)}
            except KeyboardInterrupt:
                answer = {"interrupted": True}
            except BaseException as error:  # noqa: BLE001 - the test reports any error
                answer = {"error": f"{type(error).__name__}: {error}"}
            pipe.write(json.dumps(answer) + "\n")
        os._exit(0)
    os.close(send)
    timer = threading.Timer(order.get("after_s", 0.0), lambda: _send(process, order["signal"]))
    if "signal" in order:
        timer.start()
    started = time.monotonic()
    with os.fdopen(receive) as pipe:
        lines = pipe.read().split("\n")[:-1]
    seconds = time.monotonic() - started
    timer.cancel()  # before another process can get this one's number
    status = os.waitpid(process, 0)[1]
    answer = json.loads(lines.pop()) if lines and lines[-1].startswith("{") else {}
    return {"killed": os.WIFSIGNALED(status), "acknowledged": lines, "seconds": seconds, **answer}


def _send(process, number):
    with suppress(ProcessLookupError):  # it has ended before
        os.kill(process, number)


def _warm_up():
    """Import once what every run imports late. No gradient is computed here, so that this process can fork."""
    load_pretrained(TINY_BERT, TINY_PAIR, 0)
    for name in registry.methods():
        registry.methods()[name]
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.zeros(1)
    torch.optim.AdamW([parameter]).step()


if __name__ == "__main__":
    _warm_up()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line))) + "\n")
        sys.stdout.flush()
