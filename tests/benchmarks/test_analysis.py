"""Analysis at full size: 10 methods x 16 task-models x 10 seeds x 100 time steps, 1,000 evaluations a run.

Each row stands beside the plain loop: one hypervolume call a run and time step, one rankdata a bootstrap sample, one
``json.loads`` and one dataclass a line. The loops run on a part of the work, whose size is in their names and in
``extra_info``; the numbers of that part are compared in the same test.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pytest
from scipy.stats import rankdata
from support.generated_results import Entry, Plan, error_curve, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.scoring import hypervolume
from nasbench.analysis.scoring.bootstrap import resample_scenarios
from nasbench.analysis.scoring.ranks import bootstrap_ranks
from nasbench.records.record import RunFolder

N_METHODS, N_CELLS, N_SEEDS, N_TIMES, N_EVALUATIONS = 10, 16, 10, 100, 1000
N_RUNS = N_METHODS * N_CELLS * N_SEEDS
PLAIN = "plain version of"
"""Where tests/benchmarks/table.py learns which row to hold a plain loop against; ``n`` is the work each does."""
REFERENCE = (2.0, 2.0)
GRID = np.arange(1, N_TIMES + 1) / N_TIMES


@pytest.fixture(scope="module")
def evaluations() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values ``(n, 2)``, times ``(n,)`` and runs ``(n,)`` of every evaluation: random search on a noisy trade-off."""
    rng = np.random.default_rng(0)
    n = N_RUNS * N_EVALUATIONS
    params = rng.uniform(0.22, 1.0, n)
    values = np.column_stack([error_curve(params) + rng.exponential(0.03, n), params])
    times = np.sort(rng.uniform(0, 1, (N_RUNS, N_EVALUATIONS)), axis=1).ravel()
    return values, times, np.repeat(np.arange(N_RUNS), N_EVALUATIONS)


def plain_hypervolume(values: np.ndarray, times: np.ndarray, runs: np.ndarray, n_runs: int) -> np.ndarray:
    found = np.zeros((n_runs, N_TIMES))
    for run in range(n_runs):
        own = runs == run
        for step, time in enumerate(GRID):
            arrived = values[own][times[own] <= time]
            found[run, step] = moocore.hypervolume(arrived, ref=REFERENCE) if len(arrived) else 0.0
    return found


@pytest.mark.benchmark(group="hypervolume over time")
def test_hypervolume_of_all_runs(benchmark: Any, evaluations: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    found = benchmark(lambda: hypervolume.over_time(*evaluations, N_RUNS, GRID))
    n = 4
    part = [array[: n * N_EVALUATIONS] for array in evaluations]
    np.testing.assert_allclose(found[:n], plain_hypervolume(*part, n), rtol=0, atol=1e-12)
    benchmark.extra_info.update(n=N_RUNS, unit="runs")


@pytest.mark.benchmark(group="hypervolume over time")
def test_hypervolume_where_nothing_is_dominated(benchmark: Any) -> None:
    """The worst case: every evaluation of every run is on its front. A tenth of the runs."""
    rng, n_runs = np.random.default_rng(0), N_RUNS // 10
    x = rng.random(n_runs * N_EVALUATIONS)
    values, runs = np.column_stack([x, 1 - x]), np.repeat(np.arange(n_runs), N_EVALUATIONS)
    benchmark(lambda: hypervolume.over_time(values, rng.random(len(x)), runs, n_runs, GRID))
    benchmark.extra_info.update(n=n_runs, unit="runs")


@pytest.mark.benchmark(group="hypervolume over time")
def test_hypervolume_plain_loop_over_16_runs(
    benchmark: Any, evaluations: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    n = N_RUNS // 100
    part = [array[: n * N_EVALUATIONS] for array in evaluations]
    benchmark(lambda: plain_hypervolume(*part, n))
    benchmark.extra_info.update({"n": n, "unit": "runs", PLAIN: "test_hypervolume_of_all_runs"})


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray]:
    """Hypervolumes ``(n_methods, n_blocks, n_times)`` with ties, and the scenario of each block."""
    values = np.random.default_rng(0).random((N_METHODS, N_CELLS * N_SEEDS, N_TIMES)).round(2)
    return values, np.repeat(np.arange(N_CELLS), N_SEEDS)


def plain_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average ranks in each sample, ``(n_samples, n_methods, n_times)``: drawn blocks are ranked sample by sample."""
    found = []
    for weight in weights:
        drawn = np.flatnonzero(weight)
        ranks = rankdata(-values[:, drawn], axis=0)
        found.append((ranks * weight[drawn, None]).sum(axis=1))
    return np.array(found)


@pytest.mark.benchmark(group="bootstrap ranks")
def test_ranks_with_1000_samples(benchmark: Any, table: tuple[np.ndarray, np.ndarray]) -> None:
    found = benchmark(lambda: bootstrap_ranks(*table, np.random.default_rng(1), 1000))
    n = 20
    few = bootstrap_ranks(*table, np.random.default_rng(1), n)
    plain = plain_ranks(table[0], resample_scenarios(table[1], np.random.default_rng(1), n))
    np.testing.assert_allclose(few.low, np.percentile(plain, 2.5, axis=0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(few.high, np.percentile(plain, 97.5, axis=0), rtol=0, atol=1e-12)
    assert found.mean.shape == (N_METHODS, N_TIMES)
    benchmark.extra_info.update(n=1000, unit="samples")


@pytest.mark.benchmark(group="bootstrap ranks")
def test_ranks_plain_loop_over_20_samples(benchmark: Any, table: tuple[np.ndarray, np.ndarray]) -> None:
    weights = resample_scenarios(table[1], np.random.default_rng(1), 20)
    benchmark(lambda: plain_ranks(table[0], weights))
    benchmark.extra_info.update({"n": 20, "unit": "samples", PLAIN: "test_ranks_with_1000_samples"})


@pytest.fixture(scope="module")
def long_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of 10^5 evaluations."""
    folder = tmp_path_factory.mktemp("results")
    (path,) = write_results(folder, Plan([Entry("ws-nas", "random")], ["rte"], seeds=[0], n_evaluations=1000))
    lines = [json.loads(line) for line in (path / RunFolder.EVALUATIONS).read_text().splitlines()]
    with (path / RunFolder.EVALUATIONS).open("w") as file:
        for i in range(100_000):
            file.write(json.dumps({**lines[i % 1000], "index": i, "elapsed_s": 0.07 * i}) + "\n")
    return path


@pytest.mark.benchmark(group="records")
def test_reading_a_long_record(benchmark: Any, long_record: Path) -> None:
    results = benchmark(lambda: read_results(long_record.parents[2]))
    benchmark.extra_info.update(n=100_000, unit="evaluations")
    assert len(results.evaluations) == 100_000
    plain = [dataclasses.asdict(evaluation) for evaluation in RunFolder(long_record).read_evaluations()]
    assert results.evaluations["error"].tolist() == [row["error"] for row in plain]


@pytest.mark.benchmark(group="records")
def test_reading_plain_loop_over_lines(benchmark: Any, long_record: Path) -> None:
    benchmark(lambda: RunFolder(long_record).read_evaluations())
    benchmark.extra_info.update({"n": 100_000, "unit": "evaluations", PLAIN: "test_reading_a_long_record"})
