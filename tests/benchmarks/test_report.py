"""The whole report at full size: 10 methods x 16 task-models x 10 seeds, 1,000 evaluations a run.

Beside them the runs of figures 5 and 7, nine ways to draw 100 random sub-networks in each task-model and seed.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.experiments.definitions import N_INITIAL, N_RANDOM
from nasbench.records.record import RunFolder, find_runs
from nasbench.training.strategies import STRATEGIES

ENTRIES = [
    Entry("head-pruning", None, "large", shift=0.04),
    Entry("rfp", None, "large", shift=0.03),
    Entry("layer-dropping", None, "layer", shift=0.02),
    *(Entry("s-nas", name, shift=0.01) for name in ("random", "local", "moasha")),
    *(Entry("ws-nas", name) for name in ("random", "local", "morea", "ehvi")),
]
SAMPLED = [
    Entry("ws-nas", "random", space, options={"strategy": strategy, **elsewhere}, changed_options=True)
    for space, strategy, elsewhere in (
        *((space, "full", {"training_space": "small"}) for space in ("medium", "layer", "large")),
        *(("small", strategy, {}) for strategy in STRATEGIES),
    )
]
TASKS = ("rte", "mrpc", "stsb", "cola", "imdb", "sst2", "swag", "qnli")
MODELS = ("bert-base-cased", "roberta-base")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scenario's runs are simulated; the other scenarios have run records of their own and link its evaluations."""
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, Plan(ENTRIES, tasks=TASKS[:1], models=MODELS[:1], n_evaluations=1000))
    n_sampled = N_INITIAL + N_RANDOM
    sampled = write_results(folder, Plan(SAMPLED, tasks=TASKS[:1], models=MODELS[:1], n_evaluations=n_sampled))
    for path in find_runs(folder):
        record = json.loads((path / RunFolder.RUN).read_text())
        if path in sampled:
            record["identity"] |= {"budget_s": None, "max_evaluations": n_sampled}
            record["unofficial"] = ["--max-evaluations ended it"]
            (path / RunFolder.RUN).write_text(json.dumps(record))
        for task in TASKS:
            for model in MODELS:
                copy = folder / task / model / path.name
                if copy == path:
                    continue
                record["identity"] |= {"task": task, "model": model}
                copy.mkdir(parents=True)
                (copy / RunFolder.RUN).write_text(json.dumps(record))
                os.link(path / RunFolder.EVALUATIONS, copy / RunFolder.EVALUATIONS)
    return folder


@pytest.mark.benchmark(group="report")
def test_whole_report(benchmark: Any, results: Path, tmp_path: Path) -> None:
    """As typed: a process of its own, whose memory is not that of the tests."""
    command = [sys.executable, "-c", "from nasbench.cli.main import main; main()", "report"]
    command += ["--results", str(results), "--out", str(tmp_path / "report")]
    spoken = benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True, text=True), rounds=1)
    n_runs = len(find_runs(results))
    assert n_runs == 16 * 10 * (10 + 9)
    drawn = {path.stem for path in (tmp_path / "report" / "figures").iterdir()}
    assert drawn == {f"figure_{number}" for number in range(2, 13)} | {"front", "ranks"}
    page = Path(spoken.stdout.strip())
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    benchmark.extra_info.update(
        n=n_runs, unit="runs", note=f"{page.stat().st_size / 1e6:.0f} MB; peak memory {memory:.0f} MB"
    )
