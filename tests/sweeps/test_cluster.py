"""Runs as Ray tasks: a killed worker and a lost machine change no record.

The small test is part of `make test` where Ray is installed. `make soak` runs the sweep of 40 runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.sweeping import Scene, in_the_middle, is_alive, one_after_the_other, records

from nasbench.errors import UserError
from nasbench.sweeps import cluster, driver
from nasbench.sweeps.jobs import Earlier, Job

ray = pytest.importorskip("ray", reason="no Ray: pip install -e '.[cluster]'")


@pytest.fixture
def two_workers() -> Iterator[None]:
    cluster.connect(None, n_cpus=2)
    yield
    ray.shutdown()


def sweep_on_ray(jobs: list[Job], results: Path | str) -> driver.Sweep:
    sweep = driver.make_sweep(jobs, [Earlier("nothing")] * len(jobs), retry_failed=False)
    driver.carry_out(sweep, cluster.RayBackend(str(results), 1, 0), lambda _: None)
    return sweep


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def assert_same(sweep: driver.Sweep, swept: Path, expected: Path) -> None:
    assert [(state.status, state.reason) for state in sweep.states] == [("complete", "")] * len(sweep.states)
    assert records(swept) == records(expected)


@pytest.mark.usefixtures("two_workers")
def test_a_killed_worker_changes_no_record(scene: Scene, tmp_path: Path) -> None:
    jobs = scene.jobs(["patient", "ws-nas"], 1, [0])
    one_after_the_other(jobs, tmp_path / "expected")
    with in_the_middle(scene, "first", 0, kill) as pids:
        sweep = sweep_on_ray(jobs, tmp_path / "swept")
    assert not is_alive(pids[0])
    assert_same(sweep, tmp_path / "swept", tmp_path / "expected")
    assert [state.n_starts for state in sweep.states] == [2, 1]
    with pytest.raises(UserError, match="no machine of the Ray cluster has 99 CPUs"):
        cluster.RayBackend("runs", 99, 0)


@pytest.mark.soak
@pytest.mark.usefixtures("two_workers")
def test_forty_runs_with_a_killed_worker(scene: Scene, tmp_path: Path) -> None:
    """Five methods on two tasks with four seeds: the records are those of the same runs one after the other."""
    jobs = scene.jobs(["patient", "ws-nas", "s-nas", "rfp", "layer-dropping"], 2, range(4))
    assert len(jobs) == 40
    with in_the_middle(scene, "second", 1, kill) as pids:
        sweep = sweep_on_ray(jobs, tmp_path / "swept")
    assert not is_alive(pids[0])
    one_after_the_other(jobs, tmp_path / "expected")
    assert_same(sweep, tmp_path / "swept", tmp_path / "expected")
    assert sorted(state.n_starts for state in sweep.states) == [1] * 39 + [2]
    again = driver.make_sweep(jobs, [Earlier("complete")] * 40, retry_failed=True)
    driver.carry_out(again, cluster.RayBackend(str(tmp_path / "swept"), 1, 0), lambda _: None)
    assert_same(again, tmp_path / "swept", tmp_path / "expected")


@pytest.mark.soak
@pytest.mark.parametrize("is_at_a_url", [False, True], ids=["shared folder", "URL"])
def test_a_lost_machine_changes_no_record(scene: Scene, tmp_path: Path, is_at_a_url: bool) -> None:
    """Two machines of one CPU beside the head; that with the run is lost in the middle of it, and the other goes on."""
    from ray.cluster_utils import Cluster

    jobs = scene.jobs(["patient", "ws-nas"], 1, [0, 1])
    one_after_the_other(jobs, tmp_path / "expected")
    machines: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [machines.add_node(num_cpus=1) for _ in range(2)]
        cluster.connect(machines.address)

        def lose(pid: int) -> None:
            raylet = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            (node,) = [node for node in nodes if raylet in _pids(node)]
            machines.remove_node(node, allow_graceful=False)

        with in_the_middle(scene, "first", 0, lose) as pids:
            results = tmp_path / "swept"
            sweep = sweep_on_ray(jobs, f"file://{results}" if is_at_a_url else results)
        assert not is_alive(pids[0])
        assert_same(sweep, tmp_path / "swept", tmp_path / "expected")
        assert sweep.states[0].n_starts == 2
    finally:
        ray.shutdown()
        machines.shutdown()


def _pids(node: Any) -> set[int]:
    return {process.process.pid for processes in node.all_processes.values() for process in processes}


def test_no_cluster_is_one_line() -> None:
    with pytest.raises(UserError, match="no Ray cluster answers"):
        cluster.connect("127.0.0.1:1")
