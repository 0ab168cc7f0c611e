"""Find the validation Pareto front and the full network among a run's evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasbench.records.record import Evaluation, RunRecord
from nasbench.records.schema import ROUNDING
from nasbench.search.pareto import pareto_mask


def front_of(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The validation Pareto front of the run's objectives, the smallest network first (by the first cost).

    Of several networks with equal values only the first one is returned.
    """
    # A failed evaluation has no error, and a NaN is never on the front.
    values = np.array([(evaluation.error, *evaluation.cost_values) for evaluation in evaluations], dtype=np.float64)
    pairs = zip(evaluations, pareto_mask(values), strict=True)
    by_cost = {evaluation.cost_values: evaluation for evaluation, keep in reversed([*pairs]) if keep}
    return [by_cost[costs] for costs in sorted(by_cost)]


def full_network(record: RunRecord, evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The first successful evaluation of the full network, or None if there is none."""
    return next((e for e in evaluations if e.n_params == record.n_params_full and e.error is not None), None)


def needed_weights(record: RunRecord, evaluations: Sequence[Evaluation]) -> set[str]:
    """Names of the weights of the front, and of the full network, beside which others are measured."""
    needed = [*front_of(evaluations), full_network(record, evaluations)]
    return {each.weights for each in needed if each is not None and each.weights is not None}


def spread(front: Sequence[Evaluation], most: int) -> list[Evaluation]:
    """At most ``most`` members of a front, evenly, with both ends."""
    n = min(len(front), most)
    return [front[i] for i in np.unique(np.linspace(0, len(front) - 1, n).round().astype(np.int64))] if n else []


def is_no_better_than_constant(record: RunRecord, evaluation: Evaluation) -> bool:
    """Whether a network that gives every example the same answer has no larger validation error than this one."""
    limit = record.constant_error
    return limit is not None and evaluation.error is not None and evaluation.error >= limit - ROUNDING
