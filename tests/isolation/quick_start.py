"""Starts the method's process from a server that has imported torch already: a start then takes no seconds.

What follows the start is the same code. ``test_real_start.py`` starts processes as users do.
"""

import multiprocessing
import os
import pkgutil
import subprocess
import sys

import nasbench.baselines
import nasbench.methods
from nasbench.isolation import child, process

_CONTEXT = multiprocessing.get_context("forkserver")
_LEAVES = [
    f"{package.__name__}.{info.name}"
    for package in (nasbench.methods, nasbench.baselines)
    for info in pkgutil.iter_modules(package.__path__)
]
_CONTEXT.set_forkserver_preload(
    ["nasbench.isolation.remote", "nasbench.isolation.stand_in", "transformers.models.bert.modeling_bert", *_LEAVES]
)


class QuickProcess:
    """The parts of a :class:`subprocess.Popen` that the harness uses.

    Attributes:
        last: the last one started.
    """

    last = None

    def __init__(self, descriptor, settings, scratch):
        reads, writes = os.pipe()
        duplicates = [multiprocessing.reduction.DupFd(fd) for fd in (descriptor, writes)]
        self._process = _CONTEXT.Process(target=_enter, args=(*duplicates, settings, process._environment(scratch)))
        self._process.start()
        os.close(writes)
        QuickProcess.last = self
        self.stdout, self.pid = os.fdopen(reads, "rb"), self._process.pid
        self.terminate = self._process.terminate

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the method", timeout)
        return self._process.exitcode


def _enter(connection, output, settings, environment):
    os.setsid()
    connection, output = connection.detach(), output.detach()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115 - the process's own
    child.main(connection, settings)
