"""Simulated results folders with the runs of every figure of the paper."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

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
        *((space, "full", {}) for space in ("medium", "layer", "large")),
        *(("small", strategy, {}) for strategy in STRATEGIES),
        ("small", "full", {"temperature": 1.0}),
        ("small", "full", {"t_squared": True}),
    )
]
"""Runs of figures 5 and 7, which evaluate a fixed number of random sub-networks."""


def write_paper_results(
    folder: Path, tasks: Sequence[str], models: Sequence[str], seeds: Sequence[int], n_evaluations: int
) -> None:
    """Write runs of :data:`ENTRIES` and :data:`SAMPLED` for every task, model and seed.

    The runs of the first task and model are simulated. The other tasks and models have run records of their own and
    link the evaluations of the first, which saves time and space.

    Args:
        folder: the results folder; created if missing.
        n_evaluations: evaluations per run of :data:`ENTRIES`.
    """
    n_sampled = N_INITIAL + N_RANDOM
    write_results(folder, Plan(ENTRIES, tasks[:1], models[:1], seeds, n_evaluations=n_evaluations))
    sampled = write_results(folder, Plan(SAMPLED, tasks[:1], models[:1], seeds, n_evaluations=n_sampled))
    for path in find_runs(folder):
        record = json.loads((path / RunFolder.RUN).read_text(encoding="utf-8"))
        if path in sampled:
            record["identity"] |= {"budget_s": None, "max_evaluations": n_sampled}
            record["unofficial"] = ["--max-evaluations ended it"]
            (path / RunFolder.RUN).write_text(json.dumps(record), encoding="utf-8")
        for task in tasks:
            for model in models:
                copy = folder / task / model / path.name
                if copy == path:
                    continue
                record["identity"] |= {"task": task, "model": model}
                copy.mkdir(parents=True)
                (copy / RunFolder.RUN).write_text(json.dumps(record), encoding="utf-8")
                os.link(path / RunFolder.EVALUATIONS, copy / RunFolder.EVALUATIONS)
