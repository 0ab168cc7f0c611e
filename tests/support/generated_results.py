"""Results folders with known differences between entries, for tests of code that reads results.

Every simulated run evaluates sub-networks in the space SMALL of a network with the shape of BERT-base. The error of a
sub-network is the sum of a curve that falls with the number of parameters, noise that is never negative, and a shift of
the run. The shift of the run is the ``shift`` of its entry plus a draw with mean 0.

All points lie inside the unit square, and the smallest network is always among them. So lowering every error of a run
by ``d`` adds exactly ``d * (2 - p_min)`` to its hypervolume with reference (2, 2), where ``p_min`` is the fraction of
parameters in the smallest network. The difference in hypervolume of two entries with different ``shift`` is therefore
known in advance, as long as the errors are not normalised further.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.arrays import BoolArray, FloatArray
from nasbench.networks.space import Small
from nasbench.networks.subnetwork import Dimensions
from nasbench.records.record import Evaluation, Identity, RunFolder, RunRecord, RunStatus
from nasbench.search.pareto import dominates

DIMENSIONS = Dimensions(n_layers=12, n_heads=12, n_units=3072, hidden_size=768, head_size=64, n_fixed_params=23_257_346)
"""BERT-base with two labels."""

P_MIN = DIMENSIONS.n_fixed_params / DIMENSIONS.n_params
"""Fraction of parameters in the smallest network, which every simulated run evaluates."""

HOSTILE = "<script>alert(1)</script>"
"""The name of an entry that a page must not run."""


@dataclass(frozen=True)
class Entry:
    """One simulated entry.

    Attributes:
        shift: added to all validation and test errors; lower is better. Must be between -0.1 and 0.1, so that errors
            stay inside (0, 1).
        options: options as in a record.
        changed_options: whether the folder's name gets the digest of the options, as the runner does for changed ones.
    """

    method: str
    searcher: str | None = None
    space: str = "small"
    shift: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    changed_options: bool = False


@dataclass(frozen=True)
class Plan:
    """The runs to simulate: every entry on every task, model and seed.

    Attributes:
        noise: standard deviation of the random part of a run's shift.
        budget_s: time over which evaluations are spread uniformly; the last evaluation is at its end.
    """

    entries: Sequence[Entry]
    tasks: Sequence[str] = ("rte", "mrpc")
    models: Sequence[str] = ("bert-base-cased",)
    seeds: Sequence[int] = tuple(range(10))
    n_evaluations: int = 50
    noise: float = 0.01
    budget_s: float = 7200.0
    device_class: str = "gpu"
    track: str = "paper"
    suite_version: str = "1"
    unofficial: tuple[str, ...] = ()
    status: RunStatus = "complete"


def hypervolume_difference(a: Entry, b: Entry) -> float:
    """Expected hypervolume of ``a`` minus that of ``b``, without normalisation of errors and parameters."""
    return (b.shift - a.shift) * (2.0 - P_MIN)


def write_results(folder: Path, plan: Plan, seed: int = 0) -> list[Path]:
    """Write one run folder for every combination of the plan.

    Args:
        folder: the results folder; created if missing.
        seed: the same seed writes the same bytes.

    Returns:
        The run folders in the order of writing: by task, model, entry and seed.
    """
    rng = np.random.default_rng(seed)
    paths = []
    for task in plan.tasks:
        for model in plan.models:
            for entry in plan.entries:
                paths += [_write_run(folder, plan, entry, task, model, k, rng) for k in plan.seeds]
    return paths


def _write_run(
    folder: Path, plan: Plan, entry: Entry, task: str, model: str, seed: int, rng: np.random.Generator
) -> Path:
    identity = Identity(
        task=task,
        model=model,
        space=entry.space,
        method=entry.method,
        searcher=entry.searcher,
        options=dict(entry.options),
        seed=seed,
        device_class=plan.device_class,
        budget_s=plan.budget_s,
    )
    path = folder / identity.folder(entry.changed_options, official_budget=True)
    evaluations = simulate(plan.n_evaluations, entry.shift, plan.noise, plan.budget_s, rng)
    record = RunRecord(
        identity=identity,
        suite_version=plan.suite_version,
        track=plan.track,
        metric="accuracy",
        n_params_full=DIMENSIONS.n_params,
        dimensions=DIMENSIONS.to_json(),
        unofficial=list(plan.unofficial),
        provenance={"nasbench": "simulated", "data_sha256": f"{task}/{model}/{seed}", "weights_sha256": model},
        status=plan.status,
        reason="simulated failure" if plan.status == "failed" else None,
        charged_s={"training": 0.25 * plan.budget_s, "validation": 0.7 * plan.budget_s, "search": 0.05 * plan.budget_s},
        uncharged_s={"loading": 3.0, "test": 5.0},
        started_at="2024-09-01T00:00:00+00:00",
    )
    # RunFolder would wait for the disk at every write, which takes too long for thousands of simulated runs.
    path.mkdir(parents=True, exist_ok=True)
    (path / RunFolder.RUN).write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n", encoding="utf-8")
    lines = [json.dumps(dataclasses.asdict(evaluation)) + "\n" for evaluation in evaluations]
    (path / RunFolder.EVALUATIONS).write_text("".join(lines), encoding="utf-8")
    return path


def simulate(n: int, shift: float, noise: float, budget_s: float, rng: np.random.Generator) -> list[Evaluation]:
    """The evaluations of one run: the largest, the smallest and the middle network, then random networks.

    Args:
        n: number of evaluations, at least 3.
        shift: shift of the entry, see :class:`Entry`.
        noise: standard deviation of the random part of the run's shift.
    """
    space = Small(DIMENSIONS)
    configs = np.stack(
        [
            space.largest,
            space.smallest,
            space.midpoint,
            *rng.integers(0, space.upper + 1, size=(n - 3, space.n_dims)),
        ]
    )
    head_counts, unit_counts = space.counts(configs)
    n_params = space.n_params(configs)
    params = n_params / DIMENSIONS.n_params
    run_shift = shift + noise * float(np.clip(rng.standard_normal(), -3.0, 3.0))
    errors = error_curve(params) + rng.exponential(0.03, n).clip(max=0.2) + run_shift
    test_errors = errors + 0.005 * rng.standard_normal(n).clip(-3.0, 3.0)
    elapsed_s = np.sort(rng.uniform(0.05, 1.0, n)) * budget_s
    elapsed_s[-1] = budget_s
    on_front = _on_front_when_evaluated(np.column_stack([errors, params]))
    return [
        Evaluation(
            index=i,
            config=space.to_json(configs[i]),
            key=f"{i:016x}",
            head_counts=head_counts[i].tolist(),
            unit_counts=unit_counts[i].tolist(),
            error=float(errors[i]),
            params=float(params[i]),
            n_params=int(n_params[i]),
            elapsed_s=float(elapsed_s[i]),
            metrics={"accuracy": float(1.0 - errors[i])},
            test_error=float(test_errors[i]) if on_front[i] else None,
            test_metrics={"accuracy": float(1.0 - test_errors[i])} if on_front[i] else None,
            latency_ms=float(0.2 + params[i]),
        )
        for i in range(n)
    ]


def error_curve(params: FloatArray) -> FloatArray:
    """Lowest error at a fraction of parameters, before any shift: 0.55 without layers, 0.2 for the full network."""
    depth = (params - P_MIN) / (1.0 - P_MIN)
    return 0.2 + 0.35 * (1.0 - depth) ** 2


def _on_front_when_evaluated(values: FloatArray) -> BoolArray:
    """Mask of the points ``(n, 2)`` that no earlier point dominates; only these get test metrics."""
    by_earlier = np.triu(dominates(values[:, None], values))
    return np.asarray(~by_earlier.any(axis=0))
