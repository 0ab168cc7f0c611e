"""The whole report at full size: 10 entries x 16 scenarios x 10 seeds, 1,000 evaluations per run.

The runs of figures 5 and 7 come on top: 11 ways to draw 100 random sub-networks, for each scenario and seed. The same
report at a small size is tested in tests/analysis/report/test_whole_report.py.
"""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.paper_results import ENTRIES, SAMPLED, write_paper_results

from nasbench.records.record import find_runs

TASKS = ("rte", "mrpc", "stsb", "cola", "imdb", "sst2", "swag", "qnli")
MODELS = ("bert-base-cased", "roberta-base")
SEEDS = range(10)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_paper_results(folder, TASKS, MODELS, SEEDS, n_evaluations=1000)
    return folder


@pytest.mark.benchmark(group="report")
def test_whole_report(benchmark: Any, results: Path, tmp_path: Path) -> None:
    """Runs in a process of its own, so that the memory of the tests does not count."""
    command = [sys.executable, "-c", "from nasbench.cli.main import main; main()", "report"]
    command += ["--results", str(results), "--out", str(tmp_path / "report")]
    spoken = benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True, text=True), rounds=1)
    n_runs = len(find_runs(results))
    assert n_runs == len(TASKS) * len(MODELS) * len(SEEDS) * (len(ENTRIES) + len(SAMPLED)) == 3360
    drawn = {path.stem for path in (tmp_path / "report" / "figures").iterdir()}
    numbers = [*range(2, 13), "6-window", "11-window", "12-window", "10-roberta"]
    assert drawn == {f"figure_{number}" for number in numbers} | {"front", "ranks", "families", "contest"}
    page = Path(spoken.stdout.strip())
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    benchmark.extra_info.update(
        n=n_runs, unit="runs", note=f"{page.stat().st_size / 1e6:.0f} MB; peak memory {memory:.0f} MB"
    )
