from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.generated_results import DIMENSIONS, HOSTILE, Entry, Plan, write_results

from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.report.report import report
from nasbench.analysis.scoring.scores import Scores
from nasbench.records.record import Evaluation, Identity, RunFolder, RunRecord


@pytest.fixture
def make_scores():
    """Makes scores by hand: one dict per run, with its hypervolume at each step of the budget."""

    def make(*rows: dict) -> Scores:
        runs = []
        for row in rows:
            defaults = {
                "task": "rte",
                "model": "bert-base-cased",
                "track": "paper",
                "device_class": "gpu",
                "space": "small",
                "method": "ws-nas",
                "searcher": "random",
                "seed": 0,
                "options": {},
                "marks": "",
                "budget_s": 100.0,
                "max_evaluations": None,
                "status": "complete",
                "n_evaluations": 10,
            }
            run = {**defaults, **{name: value for name, value in row.items() if name not in ("hypervolume", "test")}}
            run["algorithm"] = run["method"] if run["searcher"] is None else f"{run['method']}/{run['searcher']}"
            run["entry"] = f"{run['algorithm']}@{run['space']}{run.pop('marks')}"
            run["scenario"] = f"{run['task']}/{run['model']}/{run['device_class']}"
            run["options"] = json.dumps(run["options"])
            run |= {"begin_s": 0.0, "end_s": run["budget_s"]}
            runs.append(run)
        frame = pd.DataFrame(runs)
        frame["max_evaluations"] = frame["max_evaluations"].astype("Int64")
        hypervolume = np.array([row["hypervolume"] for row in rows], dtype=np.float64)
        n_times = hypervolume.shape[1]
        test = np.array([row.get("test", row["hypervolume"][-1]) for row in rows], dtype=np.float64)
        return Scores(frame, np.arange(1, n_times + 1) / n_times, hypervolume, test)

    return make


@pytest.fixture
def write_run():
    """Writes a run folder from (params, error, test_error) triples."""

    def write(folder: Path, method: str, searcher: str | None, space: str, points: list, **changes) -> Path:
        identity_fields = {
            "task": "rte",
            "model": "bert-base-cased",
            "seed": 0,
            "device_class": "gpu",
            "budget_s": 100.0,
            "max_evaluations": None,
            "options": {},
        }
        identity_fields |= {name: changes.pop(name) for name in list(changes) if name in identity_fields}
        identity = Identity(space=space, method=method, searcher=searcher, **identity_fields)
        record = RunRecord(
            identity=identity,
            suite_version="1",
            track="paper",
            metric="accuracy",
            n_params_full=DIMENSIONS.n_params,
            dimensions=DIMENSIONS.to_json(),
            provenance={"data_sha256": f"{identity.task}/{identity.seed}", "weights_sha256": identity.model},
            status="complete",
        )
        path = folder / identity.folder(changed_options=False, official_budget=True)
        run = RunFolder(path)
        run.write_run(dataclasses.replace(record, **changes))
        for i, (params, error, test_error) in enumerate(points):
            run.append(
                Evaluation(
                    index=i,
                    config={"heads": i},
                    key=f"{i:016x}",
                    head_counts=[],
                    unit_counts=[],
                    error=error,
                    params=params,
                    n_params=round(params * DIMENSIONS.n_params),
                    elapsed_s=float(i + 1),
                    test_error=test_error,
                )
            )
        return path

    return write


@pytest.fixture
def five_methods(tmp_path, write_run) -> Results:
    """The five methods on one task with seeds 0 and 1; rfp with seed 0 only."""
    for method, searcher, space, shift in (
        ("head-pruning", None, "large", 0.04),
        ("layer-dropping", None, "layer", 0.02),
        ("rfp", None, "large", 0.03),
        ("s-nas", "random", "small", 0.01),
        ("ws-nas", "ehvi", "small", 0.0),
    ):
        for seed in (0, 1) if method != "rfp" else (0,):
            base = shift + 0.1 * seed
            points = [
                (1.0, 0.20 + base, 0.25 + base),
                (0.6, 0.30 + base, 0.33 + base),
                (0.7, 0.35 + base, None),  # dominated by the point before
                (0.3, 0.45 + base, 0.44 + base),
            ]
            write_run(tmp_path, method, searcher, space, points, seed=seed)
    return read_results(tmp_path)


@pytest.fixture(scope="session")
def report_folder(tmp_path_factory) -> Path:
    """A report in ``out`` on the runs in ``results``: six entries, one with a hostile name, two tasks, two seeds."""
    folder = tmp_path_factory.mktemp("report")
    entries = [
        Entry("head-pruning", None, "large", shift=0.04),
        Entry("rfp", None, "large", shift=0.03),
        Entry("s-nas", "random", "small", shift=0.01),
        Entry("ws-nas", "random", "small", shift=0.0),
        Entry("ws-nas", "ehvi", "small", shift=-0.02),
        Entry(HOSTILE, None, "small", shift=0.02),
    ]
    plan = Plan(entries, tasks=("rte", "mrpc"), seeds=(0, 1), n_evaluations=30)
    write_results(folder / "results", plan)
    report(folder / "results", folder / "out")
    return folder
