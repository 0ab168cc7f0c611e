from __future__ import annotations

import socket
from pathlib import Path

import pytest
from isolation.quick_start import QuickProcess

from nasbench.isolation import process, server
from nasbench.isolation.running import isolated
from nasbench.records.record import RunFolder
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import Outcome
from nasbench.testing.tasks import TINY_PAIR

HOSTILE = Path(__file__).parent / "hostile.py"


@pytest.fixture
def run_isolated(tmp_path, monkeypatch):
    """Runs a method in a process of its own; returns the outcome. The grace after the budget is short."""
    monkeypatch.setattr(process, "start", QuickProcess)
    monkeypatch.setattr(server, "GRACE_S", 0.2)
    monkeypatch.setattr(server, "FREE_S", 1.0)

    def carry_out(method, observer=None, results=None, **changes):
        usual = {"task": TINY_PAIR, "model": TINY_BERT, "plugins": (HOSTILE,), "precision": "fp32", "budget_s": 60.0}
        with isolated(method, results=results or tmp_path / "results", **{**usual, **changes}) as run:
            record = run.run(observer)
            return Outcome(record, RunFolder(run.request.folder).read_evaluations())

    return carry_out


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


class Listener:
    """Listens at a TCP port of this machine."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port = self._socket.getsockname()[1]

    def heard(self):
        try:
            self._socket.accept()[0].close()
        except TimeoutError:
            return False
        return True


@pytest.fixture
def listener(monkeypatch):
    found = Listener()
    monkeypatch.setenv("OMP_TEST_PORT", str(found.port))  # a variable that the method's process gets
    yield found
    found._socket.close()
