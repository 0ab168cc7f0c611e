"""Runs that SIGKILL ends at any moment: resumed, they lose and repeat no evaluation, and the clock never goes back."""

import json
import math
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from support.processes import LIMIT_S, next_line

from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.testing.subject import NOT_REPEATABLE

N_SIGNALS = 200
"""Signals of the soak over all methods."""


class Server:
    """Carries out runs in processes that can be killed, see ``kill_server.py``."""

    def __init__(self, cache):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("kill_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NASBENCH_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"},
        )

    def run(self, method, results, **order):
        """Carry out or resume a run, and return how it ended."""
        order = {"method": method, "results": str(results), "checkpoint_interval_s": 0.0, **order}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(next_line(self._process))

    def stop(self):
        self._process.stdin.close()
        self._process.wait(LIMIT_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("cache"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def usual(server, tmp_path_factory):
    """The folder and the moments of an undisturbed run of each method."""

    def carry_out(method):
        results = tmp_path_factory.mktemp(method)
        answer = server.run(method, results)
        assert "error" not in answer
        return _folder(results), answer["moments"]

    server.run("ws-nas", tmp_path_factory.mktemp("first"))  # fills the cache of tokens, which would be a moment, too
    return {method: carry_out(method) for method in ("ws-nas", "s-nas")}


def _folder(results):
    return next(results.rglob("run.json")).parent


def _records(folder):
    """The evaluations without their times."""
    lines = [json.loads(line) for line in (folder / RunFolder.EVALUATIONS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in NOT_REPEATABLE} for line in lines]


def _files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _assert_as_usual(folder, usual):
    assert _records(folder) == _records(usual)
    assert _files(folder) == _files(usual)
    run, expected = RunFolder(folder), RunFolder(usual)
    assert run.read_run().status == "complete"
    assert run.read_run().identity == expected.read_run().identity
    elapsed = [evaluation.elapsed_s for evaluation in run.read_evaluations()]
    assert elapsed == sorted(elapsed)
    assert elapsed[0] > 0
    assert sum(run.read_run().charged_s.values()) >= elapsed[-1]
    for evaluation in run.read_evaluations():
        assert sum(evaluation.charged_s.values()) == pytest.approx(evaluation.elapsed_s)


def _elapsed(folder):
    """The seconds that an interrupted run has recorded as spent."""
    evaluations = RunFolder(folder).read_evaluations()
    spent = [evaluations[-1].elapsed_s] if evaluations else [0.0]
    checkpoint = folder / "checkpoints" / "training.pt"
    if checkpoint.exists():
        spent.append(sum(torch.load(checkpoint, weights_only=True)["charged_s"].values()))
    return max(spent)


def _moments(names, n, seed):
    """Positions of n moments, counted from 1: one of each kind first, then random ones."""
    rng = np.random.default_rng(seed)
    names = names[: -names[::-1].index("before replace")]  # the run is complete after the last replacement
    kinds = ["step" if name.startswith("step") else name for name in names]
    order = rng.permutation(len(names))
    first = {kinds[i]: i for i in order}
    chosen = [*first.values(), *(i for i in order if i not in first.values())][:n]
    return [int(i) + 1 for i in chosen]


@pytest.mark.parametrize("method", ["ws-nas", "s-nas"])
def test_run_killed_anywhere_and_resumed_equals_the_undisturbed_run(server, usual, tmp_path, method):
    expected, names = usual[method]
    for kill_at in _moments(names, 5, seed=len(method)):
        results = tmp_path / str(kill_at)
        assert server.run(method, results, kill_at=kill_at)["killed"], names[kill_at - 1]
        before = 0.0
        if next(results.rglob("run.json"), None) is not None:
            folder = _folder(results)
            recorded = [e.index for e in RunFolder(folder).read_evaluations()]
            assert _records_prefix(folder, len(recorded)) == _records(expected)[: len(recorded)]
            before = _elapsed(folder)
        answer = server.run(method, results)
        assert "error" not in answer, (names[kill_at - 1], answer)
        folder = _folder(results)
        _assert_as_usual(folder, expected)
        new = RunFolder(folder).read_evaluations()[len(recorded) :] if before else []
        assert all(evaluation.elapsed_s > before for evaluation in new), names[kill_at - 1]


def _records_prefix(folder, n):
    lines = (folder / RunFolder.EVALUATIONS).read_text().split("\n")[:n] if n else []
    return [{key: value for key, value in json.loads(line).items() if key not in NOT_REPEATABLE} for line in lines]


@pytest.mark.soak
@pytest.mark.parametrize("method", sorted(registry.methods()))
def test_run_killed_at_random_loses_nothing(server, tmp_path, method, record_property):
    """Signals at random moments until the method has had its share of all; every run completes in the end."""
    rng = np.random.default_rng(zlib.crc32(method.encode()))
    server.run(method, tmp_path / "first")  # fills the caches
    undisturbed = server.run(method, tmp_path / "usual")
    assert "error" not in undisturbed, undisturbed
    expected = _folder(tmp_path / "usual")
    n_sent = n_runs = 0
    while n_sent < math.ceil(N_SIGNALS / len(registry.methods())):
        n_runs += 1
        n_sent += _kill_until_complete(server, method, tmp_path / str(n_runs), expected, undisturbed["seconds"], rng)
    record_property("signals", n_sent)
    print(f"{method}: {n_sent} signals, {n_runs} runs")  # noqa: T201 - the figures of the soak


def _kill_until_complete(server, method, results, expected, seconds, rng):
    """Kill and resume one run until it completes. Returns the number of signals that ended an attempt."""
    acknowledged, elapsed, n_sent = [], 0.0, 0
    while True:
        number = int(rng.choice([signal.SIGKILL, signal.SIGTERM]))
        # After a few kills the run is left alone, so that it ends.
        after_s = float(rng.uniform(0, 1.1 * seconds)) if n_sent < 4 else 600.0
        answer = server.run(method, results, signal=number, after_s=after_s, checkpoint_interval_s=0.05)
        # A signal can hit the process of a run that is complete already. The next attempt says so, and tidies up.
        is_complete = n_sent > 0 and "this run is complete" in answer.get("error", "")
        assert is_complete or "error" not in answer, (answer, n_sent)
        acknowledged += answer["acknowledged"]
        if next(results.rglob("run.json"), None) is not None:
            folder = _folder(results)
            recorded = [f"{e.index} {e.key}" for e in RunFolder(folder).read_evaluations(RunFolder(folder).read_run())]
            assert acknowledged == recorded[: len(acknowledged)]  # each is there once, in order
            assert len(recorded) <= len(acknowledged) + 1  # one may have been written and not acknowledged
            acknowledged = recorded
            assert _elapsed(folder) >= elapsed
            elapsed = _elapsed(folder)
        if is_complete or not (answer["killed"] or "interrupted" in answer):
            _assert_as_usual(_folder(results), expected)
            return n_sent
        n_sent += 1


def test_training_killed_between_checkpoints_is_repeated(server, usual, tmp_path):
    expected, _ = usual["ws-nas"]
    assert server.run("ws-nas", tmp_path, kill_at=9, checkpoint_interval_s=60.0)["killed"]
    assert not (_folder(tmp_path) / "checkpoints").exists()
    assert "error" not in server.run("ws-nas", tmp_path, checkpoint_interval_s=60.0)
    _assert_as_usual(_folder(tmp_path), expected)
