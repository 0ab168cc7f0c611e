"""SIGKILL at any moment and the same run again: nothing lost, nothing doubled, and the clock never goes back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nasbench.records.record import RunFolder

TIMES = ("elapsed_s", "charged_s", "latency_ms")


class Server:
    """Runs in processes that can be killed, see ``kill_server.py``."""

    def __init__(self, cache):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("kill_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NASBENCH_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"},
        )

    def run(self, method, results, kill_at=None, checkpoints=True):
        order = {"method": method, "results": str(results), "kill_at": kill_at, "checkpoints": checkpoints}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self):
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("cache"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def usual(server, tmp_path_factory):
    """The undisturbed run of each method: its folder and its moments."""

    def carry_out(method):
        results = tmp_path_factory.mktemp(method)
        answer = server.run(method, results)
        assert "error" not in answer
        return _folder(results), answer["moments"]

    server.run("ws-nas", tmp_path_factory.mktemp("first"))  # fills the cache of tokens, which is a moment too
    return {method: carry_out(method) for method in ("ws-nas", "s-nas")}


def _folder(results):
    return next(results.rglob("run.json")).parent


def _records(folder):
    """Evaluations without their times."""
    lines = [json.loads(line) for line in (folder / RunFolder.EVALUATIONS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


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
    """As much of the budget as an interrupted run has written down."""
    evaluations = RunFolder(folder).read_evaluations()
    spent = [evaluations[-1].elapsed_s] if evaluations else [0.0]
    checkpoint = folder / "checkpoints" / "training.pt"
    if checkpoint.exists():
        spent.append(sum(torch.load(checkpoint, weights_only=True)["charged_s"].values()))
    return max(spent)


def _moments(names, n, seed):
    """Positions, counted from 1, of n moments: one of each kind first, then whatever comes."""
    rng = np.random.default_rng(seed)
    names = names[: -names[::-1].index("before replace")]  # behind it, the run is complete
    kinds = ["step" if name.startswith("step") else name for name in names]
    order = rng.permutation(len(names))
    first = {kinds[i]: i for i in order}
    chosen = [*first.values(), *(i for i in order if i not in first.values())][:n]
    return [int(i) + 1 for i in chosen]


@pytest.mark.parametrize("method", ["ws-nas", "s-nas"])
def test_killed_anywhere_and_resumed_it_is_the_undisturbed_run(server, usual, tmp_path, method):
    expected, names = usual[method]
    for kill_at in _moments(names, 6, seed=len(method)):
        results = tmp_path / str(kill_at)
        assert server.run(method, results, kill_at)["killed"], names[kill_at - 1]
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
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def test_killed_again_and_again_it_still_gets_there(server, usual, tmp_path):
    expected, names = usual["s-nas"]
    elapsed, n_kills, answer = 0.0, 0, {"killed": True}
    while answer["killed"]:
        # What is repeated has fewer moments than what is new, so every attempt gets further.
        answer = server.run("s-nas", tmp_path, len(names) // 3)
        assert "error" not in answer
        n_kills += answer["killed"]
        assert _elapsed(_folder(tmp_path)) >= elapsed
        elapsed = _elapsed(_folder(tmp_path))
    assert n_kills >= 2
    _assert_as_usual(_folder(tmp_path), expected)


def test_killed_between_checkpoints_the_training_is_repeated(server, usual, tmp_path):
    expected, _ = usual["ws-nas"]
    assert server.run("ws-nas", tmp_path, 9, checkpoints=False)["killed"]
    assert not (_folder(tmp_path) / "checkpoints").exists()
    assert "error" not in server.run("ws-nas", tmp_path, checkpoints=False)
    _assert_as_usual(_folder(tmp_path), expected)
