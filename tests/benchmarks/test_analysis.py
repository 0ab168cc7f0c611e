"""Analysis at full size: 10 entries x 16 scenarios x 10 seeds x 100 time steps, 1,000 evaluations per run.

Each benchmark is compared with a plain loop: one hypervolume call per run and time step, one rankdata call per block
and time step, one ``json.loads`` and one dataclass per line. The loops do a part of the work; its size is in
``extra_info``. The same test compares the numbers of that part.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pytest
from scipy.stats import rankdata, ttest_1samp
from support.generated_results import Entry, Plan, error_curve, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.scoring import hypervolume
from nasbench.analysis.scoring.ranks import average_ranks
from nasbench.records.record import RunFolder

N_ENTRIES, N_SCENARIOS, N_SEEDS, N_TIMES, N_EVALUATIONS = 10, 16, 10, 100, 1000
N_RUNS = N_ENTRIES * N_SCENARIOS * N_SEEDS
PLAIN = "plain version of"
"""Key in ``extra_info`` that tells tests/benchmarks/table.py which benchmark a plain loop is compared with."""
REFERENCE = (2.0, 2.0)
GRID = np.arange(1, N_TIMES + 1) / N_TIMES


@pytest.fixture(scope="module")
def evaluations() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values ``(n, 2)``, times ``(n,)`` and runs ``(n,)`` of all evaluations of a random search with noisy errors."""
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
    """The worst case: every evaluation of a run is on the run's front. Uses a tenth of the runs."""
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
    """Hypervolumes ``(n_entries, n_blocks, n_times)`` with ties, and the scenario of each block."""
    values = np.random.default_rng(0).random((N_ENTRIES, N_SCENARIOS * N_SEEDS, N_TIMES)).round(2)
    return values, np.repeat(np.arange(N_SCENARIOS), N_SEEDS)


def plain_ranks(values: np.ndarray, scenarios: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average ranks and their interval, each ``(n_entries, n_times)``, one block and one time step after the other."""
    shape = (len(values), values.shape[2])
    mean, low, high = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for step in range(values.shape[2]):
        by_scenario: dict[Any, list[np.ndarray]] = {}
        for block, scenario in enumerate(scenarios):
            by_scenario.setdefault(scenario, []).append(rankdata(-values[:, block, step]))
        means = np.array([np.mean(ranks, axis=0) for ranks in by_scenario.values()])
        for entry in range(len(values)):
            mean[entry, step] = means[:, entry].mean()
            interval = ttest_1samp(means[:, entry], 0.0).confidence_interval()
            low[entry, step], high[entry, step] = max(interval.low, 1.0), min(interval.high, len(values))
    return mean, low, high


@pytest.mark.benchmark(group="average ranks")
def test_ranks_at_100_time_steps(benchmark: Any, table: tuple[np.ndarray, np.ndarray]) -> None:
    found = benchmark(lambda: average_ranks(*table))
    n = 5
    for ours, plain in zip((found.mean, found.low, found.high), plain_ranks(table[0][:, :, :n], table[1]), strict=True):
        np.testing.assert_allclose(ours[:, :n], plain, rtol=0, atol=1e-12)
    assert found.mean.shape == (N_ENTRIES, N_TIMES)
    benchmark.extra_info.update(n=N_TIMES, unit="time steps")


@pytest.mark.benchmark(group="average ranks")
def test_ranks_plain_loop_over_5_time_steps(benchmark: Any, table: tuple[np.ndarray, np.ndarray]) -> None:
    n = 5
    benchmark(lambda: plain_ranks(table[0][:, :, :n], table[1]))
    benchmark.extra_info.update({"n": n, "unit": "time steps", PLAIN: "test_ranks_at_100_time_steps"})


@pytest.fixture(scope="module")
def long_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run with 10^5 evaluations."""
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
