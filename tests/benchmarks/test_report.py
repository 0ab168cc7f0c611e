"""The whole report at full size: 10 methods x 16 task-models x 10 seeds, 1,000 evaluations a run."""

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from nasbench.analysis.report import report
from nasbench.record import RunFolder, find_runs
from nasbench.testing.results import Contestant, Plan, write_results

CONTESTANTS = [
    Contestant("head-pruning", None, "large", shift=0.04),
    Contestant("rfp", None, "large", shift=0.03),
    Contestant("layer-dropping", None, "layer", shift=0.02),
    *(Contestant("s-nas", name, shift=0.01) for name in ("random", "local", "moasha")),
    *(Contestant("ws-nas", name) for name in ("random", "local", "morea", "ehvi")),
]
TASKS = ("rte", "mrpc", "stsb", "cola", "imdb", "sst2", "swag", "qnli")
MODELS = ("bert-base-cased", "roberta-base")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cell's runs are simulated; the other cells have run records of their own and link its evaluations."""
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, Plan(CONTESTANTS, tasks=TASKS[:1], models=MODELS[:1], n_evaluations=1000))
    for path in find_runs(folder):
        record = json.loads((path / RunFolder.RUN).read_text())
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
    outcome = benchmark.pedantic(lambda: report(results, tmp_path), rounds=1)
    assert len(find_runs(results)) == 1600
    assert outcome.exit_code == 0
    benchmark.extra_info["page_mb"] = outcome.files[-1].stat().st_size / 1e6
    benchmark.extra_info["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
