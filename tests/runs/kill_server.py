"""Carries out runs that kill themselves at a given moment, each in a forked process, and reports how they ended.

It is a program of its own because a process that has trained cannot fork another one that trains. Starting Python for
each run would take longer than the runs. It reads one JSON object per line and answers each with one line.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from nasbench.methods.s_nas import StandardNAS
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.networks.pretrained import load_pretrained
from nasbench.records.record import RunFolder
from nasbench.runs import runner, session
from nasbench.runs.observer import Observer
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.configuration import SuperNetworkOptions

OPTIONS = {
    WeightSharingNAS: SuperNetworkOptions(strategy="sandwich", n_random=1, learning_rate=1e-3, batch_size=8, epochs=1),
    StandardNAS: None,
}
METHODS = {method.name: method for method in OPTIONS}


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
            append(folder, evaluation)
            path = folder.path / RunFolder.EVALUATIONS
            whole = path.read_bytes()
            last = whole.rfind(b"\n", 0, -1) + 1
            path.write_bytes(whole[: (last + len(whole)) // 2])
            self.count("half a line")
            path.write_bytes(whole)
            self.count("line")

        RunFolder.append = append_in_halves

    def count(self, name):
        self.names.append(name)
        if len(self.names) == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def training(self, done, total, elapsed_s):  # noqa: ARG002
        self.count(f"step {done}")


def _carry_out(order):
    torch.set_num_threads(1)
    # With an interval of 0, a checkpoint follows every step.
    session.CHECKPOINT_INTERVAL_S = 0.0 if order["checkpoints"] else 60.0
    method, folder = METHODS[order["method"]], Path(order["results"])
    moments = Moments(order.get("kill_at"))
    moments.install()
    request = MethodSubject(method, folder, OPTIONS[method], n_evaluations=5).request(folder)
    runner.run(request, moments)
    return moments.names


def _forked(order):
    receive, send = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            answer = {"moments": _carry_out(order)}
        except Exception as error:  # noqa: BLE001 - the test reports any error
            answer = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(send, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        answer = pipe.read()
    status = os.waitpid(process, 0)[1]
    return {"killed": os.WIFSIGNALED(status), **(json.loads(answer) if answer else {})}


def _warm_up():
    """Import once what every run imports late. No gradient is computed here, so that this process can fork."""
    load_pretrained(TINY_BERT, TINY_PAIR, 0)
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.zeros(1)
    torch.optim.AdamW([parameter]).step()


if __name__ == "__main__":
    _warm_up()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line))) + "\n")
        sys.stdout.flush()
