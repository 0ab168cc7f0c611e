"""Results folders with a known truth, for tests of everything that reads results.

Every simulated run evaluates sub-networks of the SMALL space of a BERT-base-shaped network. A run's errors are a curve
that falls with the number of parameters, plus noise that is never negative, plus one shift for the whole run: the
entry's ``shift`` and a draw of mean 0. All points lie inside the unit square and the smallest network is always
among them, so lowering every error of a run by ``d`` adds exactly ``d * (2 - p_min)`` to its hypervolume with reference
(2, 2), ``p_min`` the fraction of the smallest network. Two entries that differ in ``shift`` only therefore differ
by a hypervolume known in advance, as long as the errors are not normalised any further.
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

DIMENSIONS = Dimensions(n_layers=12, n_heads=12, n_units=3072, hidden_size=768, head_size=64, n_fixed_params=23_257_346)
"""BERT-base with two labels."""

P_MIN = DIMENSIONS.n_fixed_params / DIMENSIONS.n_params
"""Fraction of parameters of the smallest network, which every simulated run evaluates."""


@dataclass(frozen=True)
class Entry:
    """One simulated method.

    Attributes:
        shift: added to all its validation and test errors; the lower the better. Between -0.1 and 0.1, so that errors
            stay inside (0, 1).
        options: as in a record; ``changed_options`` puts the digest into the folder's name, as the runner does.
    """

    method: str
    searcher: str | None = None
    space: str = "small"
    shift: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    changed_options: bool = False


@dataclass(frozen=True)
class Plan:
    """What is simulated: every entry on every task, model and seed.

    Attributes:
        noise: standard deviation of a run's own shift, see the module's text.
        budget_s: evaluations are spread uniformly over it, the last one at its end.
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
    """The expected hypervolume of ``a`` minus that of ``b``, errors and parameters taken as they are."""
    return (b.shift - a.shift) * (2.0 - P_MIN)


def write_results(folder: Path, plan: Plan, seed: int = 0) -> list[Path]:
    """Write one run folder for every combination of the plan.

    Args:
        folder: the results folder, made if missing.
        seed: the same seed writes the same bytes.

    Returns:
        The run folders in the order of writing: task, model, entry, seed.
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
        dimensions=dataclasses.asdict(DIMENSIONS),
        unofficial=list(plan.unofficial),
        provenance={"nasbench": "simulated"},
        status=plan.status,
        reason="simulated failure" if plan.status == "failed" else None,
        charged_s={"training": 0.25 * plan.budget_s, "validation": 0.7 * plan.budget_s, "search": 0.05 * plan.budget_s},
        uncharged_s={"loading": 3.0, "test": 5.0},
        started_at="2024-09-01T00:00:00+00:00",
    )
    # Written plainly: RunFolder waits for the disk at every write, which thousands of simulated runs need not do.
    path.mkdir(parents=True, exist_ok=True)
    (path / RunFolder.RUN).write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n", encoding="utf-8")
    lines = [json.dumps(dataclasses.asdict(evaluation)) + "\n" for evaluation in evaluations]
    (path / RunFolder.EVALUATIONS).write_text("".join(lines), encoding="utf-8")
    return path


def simulate(n: int, shift: float, noise: float, budget_s: float, rng: np.random.Generator) -> list[Evaluation]:
    """The evaluations of one run: the largest, the smallest and the middle network, then random ones.

    Args:
        n: number of evaluations, at least 3.
        shift: the entry's, see :class:`Entry`.
        noise: standard deviation of the run's own shift, added to ``shift``.
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
    """The least error at a fraction of parameters, before any shift: 0.55 with no layers, 0.2 for all of them."""
    depth = (params - P_MIN) / (1.0 - P_MIN)
    return 0.2 + 0.35 * (1.0 - depth) ** 2


def _on_front_when_evaluated(values: FloatArray) -> BoolArray:
    """Whether each point ``(n, 2)`` is on the front of itself and the points before it, as the harness decides."""
    before, after = values[:, None], values[None]
    dominates = (before <= after).all(axis=2) & (before < after).any(axis=2)
    return np.asarray(~np.triu(dominates).any(axis=0))
