"""What one check of a record found, and the checks that need the record and the network's dimensions only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np

from nasbench.arrays import IntArray
from nasbench.networks.space import SearchSpace
from nasbench.objectives.costs import restored_costs
from nasbench.records.record import Evaluation, RunRecord
from nasbench.runs.budget import CHARGED_PHASES
from nasbench.search.pareto import empty_front

Outcome = Literal["ok", "wrong", "missing"]
"""``missing``: the record lacks what the check needs. It stays self-reported, and nothing speaks against it."""

ROUNDING = 1e-9
"""Allowed difference of metrics, which another build of a library may compute in another order."""
CLOCK_ROUNDING_S = 1e-6
"""Allowed difference of sums of seconds."""


@dataclass(frozen=True)
class Check:
    """One line of a verification.

    Attributes:
        expected, seen: what should be and what is.
    """

    name: str
    outcome: Outcome
    expected: str
    seen: str


class Wrong(Exception):
    """Raised inside a check: what is seen instead of what is expected."""


class Missing(Exception):
    """Raised inside a check: what the record lacks."""


def check(name: str, expected: str, look: Callable[[], str]) -> Check:
    """Make a check.

    Args:
        look: returns what is seen if that is as expected, and raises :class:`Wrong` with what is seen if not, or
            :class:`Missing` if the record lacks it.
    """
    try:
        return Check(name, "ok", expected, look())
    except Wrong as wrong:
        return Check(name, "wrong", expected, str(wrong))
    except Missing as missing:
        return Check(name, "missing", expected, str(missing))


def shown(value: Any, longest: int = 60) -> str:
    """A value for a terminal: one line without control characters, cut if it is long."""
    text = json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def differs(a: float | None, b: float | None, tolerance: float = ROUNDING) -> bool:
    """Whether two numbers differ by more than rounding. None differs from every number."""
    if a is None or b is None:
        return a is not b
    return not abs(a - b) <= tolerance


def record_checks(record: RunRecord, evaluations: Sequence[Evaluation], space: SearchSpace) -> Iterator[Check]:
    """The checks of a record that need no data.

    Args:
        space: the space of the run, for the dimensions of its model.
    """
    yield check("status", "the run has ended", lambda: _ended(record, evaluations))
    yield check("budget", *_budget(record, evaluations))
    yield check("times", "charged seconds add up to elapsed_s and never go back", lambda: _times(record, evaluations))
    yield check(
        "configurations", f"inside space {space.name!r}, with their masks", lambda: _configs(evaluations, space)
    )
    yield check("parameters", "numbers of parameters as recomputed", lambda: _parameters(record, evaluations, space))
    yield check("errors", f"error = 1 - {record.metric}", lambda: _errors(record, evaluations))
    yield check("test results", "of the networks on the front when evaluated, of no others", lambda: _test(evaluations))


def _ended(record: RunRecord, evaluations: Sequence[Evaluation]) -> str:
    if record.status == "running":
        raise Wrong("it is still running")
    if not evaluations:
        raise Wrong("no evaluation")
    if (record.status == "failed") != (record.reason is not None):
        raise Wrong(f"status {record.status!r} with reason {shown(record.reason)}")
    try:
        datetime.fromisoformat(record.started_at or "")
    except ValueError:
        raise Wrong(f"started_at is no time: {shown(record.started_at)}") from None
    return f"{record.status}, {len(evaluations)} evaluations"


def _budget(record: RunRecord, evaluations: Sequence[Evaluation]) -> tuple[str, Callable[[], str]]:
    budget_s, most = record.identity.budget_s, record.identity.max_evaluations
    last = evaluations[-1].elapsed_s if evaluations else 0.0
    limits = []
    if budget_s is not None:
        limits.append(f"at most {budget_s:g} s")
    if most is not None:
        limits.append(f"at most {most} evaluations")

    def look() -> str:
        seen = f"{last:.1f} s, {len(evaluations)} evaluations"
        if (budget_s is not None and last > budget_s) or (most is not None and len(evaluations) > most):
            raise Wrong(seen)
        return seen

    return " and ".join(limits), look


def _times(record: RunRecord, evaluations: Sequence[Evaluation]) -> str:
    before: dict[str, float] = {}
    for e in evaluations:
        place = f"line {e.index + 1}"
        if not set(e.charged_s) <= set(CHARGED_PHASES):
            raise Wrong(f"{place}: phases {shown(sorted(e.charged_s))}")
        if differs(sum(e.charged_s.values()), e.elapsed_s, CLOCK_ROUNDING_S):
            raise Wrong(f"{place}: {sum(e.charged_s.values())} s charged, elapsed_s {e.elapsed_s}")
        for phase in CHARGED_PHASES:
            if e.charged_s.get(phase, 0.0) < before.get(phase, 0.0):
                raise Wrong(f"{place}: {phase} goes back to {e.charged_s.get(phase, 0.0)} s")
        if e.latency_ms is not None and e.latency_ms < 0:
            raise Wrong(f"{place}: latency_ms {e.latency_ms}")
        before = e.charged_s
    for phase, seconds in before.items():
        if record.charged_s.get(phase, 0.0) < seconds - CLOCK_ROUNDING_S:
            raise Wrong(
                f"run.json: {record.charged_s.get(phase, 0.0)} s of {phase}, fewer than the {seconds} of the last line"
            )
    return f"{evaluations[-1].elapsed_s:.1f} s at the last evaluation" if evaluations else "no evaluation"


def _configs(evaluations: Sequence[Evaluation], space: SearchSpace) -> str:
    for e in evaluations:
        place = f"line {e.index + 1}"
        try:
            config = space.from_json(e.config)
            space.check(config)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise Wrong(f"{place}: {type(error).__name__} {shown(str(error))}") from None
        if space.to_json(config) != e.config:
            raise Wrong(f"{place}: config {shown(e.config)}")
        network = space.to_subnetwork(config)
        if network.key != e.key:
            raise Wrong(f"{place}: key {shown(e.key)} of another network")
        if network.head_counts.tolist() != e.head_counts or network.unit_counts.tolist() != e.unit_counts:
            raise Wrong(f"{place}: head_counts or unit_counts of another network")
    return f"{len(evaluations)} networks, {len({e.key for e in evaluations})} different"


def _parameters(record: RunRecord, evaluations: Sequence[Evaluation], space: SearchSpace) -> str:
    full = space.dims.n_params
    if record.n_params_full != full:
        raise Wrong(f"n_params_full {record.n_params_full:,} where {full:,} are due")
    for e in evaluations:
        try:
            spared = space.n_spared(space.from_json(e.config)[None])
            n_params = int(space.dims.count_params(np.array(e.head_counts), np.array(e.unit_counts)) - spared.sum())
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise Wrong(f"line {e.index + 1}: {type(error).__name__} {shown(str(error))}") from None
        if e.n_params != n_params or differs(e.params, n_params / full, 1e-12):
            raise Wrong(
                f"line {e.index + 1}: {e.n_params:,} ({e.params}) where {n_params:,} ({n_params / full}) are due"
            )
        _costs(record, e, space, spared)
    return f"full network {full:,}"


def _costs(record: RunRecord, e: Evaluation, space: SearchSpace, spared: IntArray) -> None:
    """Check that an evaluation has the costs of the run's objectives, as they are counted or modelled."""
    due = None if record.identity.objectives is None else [n for n in record.identity.objectives if n != "error"]
    if (None if e.costs is None else [*e.costs]) != due:
        raise Wrong(f"line {e.index + 1}: costs {shown(e.costs)}, objectives {shown(record.identity.objectives)}")
    if e.costs is None:
        return
    try:
        costs = restored_costs(record.costs or {}, due or [])
    except (KeyError, TypeError, ValueError) as error:
        raise Wrong(f"run.json: costs {shown(record.costs)} ({type(error).__name__})") from None
    wanted = costs.of_counts(space.dims, np.array([e.head_counts]), np.array([e.unit_counts]), spared)[0].tolist()
    for name, value, right in zip(costs.names, e.costs.values(), wanted, strict=True):
        if differs(value, right, 1e-12):
            raise Wrong(f"line {e.index + 1}: {name} {value} where {right} is due")


def _errors(record: RunRecord, evaluations: Sequence[Evaluation]) -> str:
    names: set[str] | None = None
    for e in evaluations:
        place = f"line {e.index + 1}"
        if e.status == "failed":
            if e.error is not None or e.metrics or e.test_error is not None or e.test_metrics or e.reason is None:
                raise Wrong(f"{place}: a failed evaluation with results, or without a reason")
            continue
        if e.reason is not None:
            raise Wrong(f"{place}: status 'ok' with a reason")
        for what, error, metrics in (("error", e.error, e.metrics), ("test_error", e.test_error, e.test_metrics)):
            if error is None and not metrics:
                continue
            found = (metrics or {}).get(record.metric)
            if found is None or differs(error, 1 - found):
                raise Wrong(f"{place}: {what} {error}, {record.metric} {found}")
            names = names or set(metrics or {})
            if set(metrics or {}) != names:
                raise Wrong(f"{place}: metrics {shown(sorted(metrics or {}))} instead of {shown(sorted(names))}")
    return f"{sum(e.error is not None for e in evaluations)} errors"


def is_untested(e: Evaluation) -> bool:
    """Whether an evaluation succeeded and has no trace of a test: the test split did not fit into memory, for example.

    Of a network on the front this is no contradiction. But it is not as it should be: test errors could be dropped.
    """
    return e.error is not None and e.test_error is None and e.test_metrics is None and e.weights is None


def untested_lines(evaluations: Sequence[Evaluation]) -> str:
    """What is seen of networks on the front that were not tested."""
    return f"no test results in line {', '.join(str(e.index + 1) for e in evaluations[:9])}"


def _test(evaluations: Sequence[Evaluation]) -> str:
    front, n = empty_front(1 + len(evaluations[0].cost_values) if evaluations else 2), 0
    untested = []
    for e in evaluations:
        is_due = e.error is not None and front.would_hold(e.error, *e.cost_values)
        if is_due and is_untested(e):
            untested.append(e)
            is_due = False
        if is_due != (e.test_error is not None):
            raise Wrong(f"line {e.index + 1}: {'no' if is_due else 'a'} test error")
        if is_due != (e.weights is not None) or (e.weights is not None and not re.fullmatch(r"[\w.-]+", e.weights)):
            raise Wrong(f"line {e.index + 1}: weights {shown(e.weights)}")
        if e.error is not None:
            front.add((e.error, *e.cost_values), e.index)
            n += is_due
    if untested:
        raise Missing(untested_lines(untested))
    return f"{n} networks"
