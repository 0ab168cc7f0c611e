"""The validation Pareto front of a run's evaluations, and the full network among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasbench.records.record import Evaluation, RunRecord
from nasbench.search.pareto import pareto_mask


def front_of(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The validation Pareto front, smallest network first; one of several networks with equal values."""
    # A failed evaluation has no error; as a NaN it is never on the front.
    values = np.array([(evaluation.error, evaluation.params) for evaluation in evaluations], dtype=np.float64)
    pairs = zip(evaluations, pareto_mask(values), strict=True)
    by_size = {evaluation.params: evaluation for evaluation, keep in reversed([*pairs]) if keep}
    return [by_size[params] for params in sorted(by_size)]


def full_network(record: RunRecord, evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The unpruned network's evaluation, if the method made one."""
    return next((e for e in evaluations if e.n_params == record.n_params_full and e.error is not None), None)
