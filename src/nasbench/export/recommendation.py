"""Choose a network of a run's Pareto front by what its user can afford: size, bytes, speed, or loss of accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from nasbench.errors import UserError
from nasbench.export.folder import longest_text, subnetwork_of
from nasbench.export.latency import Latency, measure, with_random_weights
from nasbench.export.loading import empty_network, shrink_checked
from nasbench.networks.architectures.compact import compact
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.records.checkpoints import Checkpoints
from nasbench.records.front import front_of, full_network
from nasbench.records.record import Evaluation, RunFolder, RunRecord

BYTES_PER_PARAMETER = 4
"""Exported weights are fp32."""


@dataclass(frozen=True)
class Limits:
    """What a network may cost and must reach; None sets no limit.

    Attributes:
        max_params: largest fraction of all parameters of the full network.
        max_bytes: largest size of the weights in fp32.
        min_metric: smallest validation metric.
        min_share: smallest share of the full network's validation metric.
        max_latency: largest time of a pass as a fraction of the full network's, in every measured shape.
    """

    max_params: float | None = None
    max_bytes: int | None = None
    min_metric: float | None = None
    min_share: float | None = None
    max_latency: float | None = None

    @property
    def wants_smallest(self) -> bool:
        """Whether accuracy is the limit, so that the smallest network wins; otherwise the most accurate one wins."""
        return self.min_metric is not None or self.min_share is not None


@dataclass(frozen=True)
class Recommendation:
    """The network to take.

    Attributes:
        full: the full network's evaluation; None if the run did not evaluate it.
        latency: its times beside the full network's; empty without a limit on them.
    """

    evaluation: Evaluation
    record: RunRecord
    full: Evaluation | None
    latency: tuple[Latency, ...] = ()


def recommend(run_folder: Path, limits: Limits) -> Recommendation:
    """The network of the validation Pareto front to take.

    With a limit on the metric, this is the smallest network that reaches it within the other limits. Otherwise it is
    the network with the lowest validation error within the limits.

    Raises:
        UserError: one line, if no network keeps the limits, there is no such run, or speed cannot be measured because
            the configuration of the network is gone.
    """
    run = RunFolder(run_folder)
    if not run.exists():
        raise UserError(f"no run in {run_folder}: it has no {RunFolder.RUN}")
    record = run.read_run()
    evaluations = run.read_evaluations(record)
    full = full_network(record, evaluations)
    front = sorted(front_of(evaluations), key=lambda e: e.params)  # the first cost may be another one
    if not front:
        raise UserError(f"{run_folder} has no evaluated network")
    due = _due_metric(limits, record, full)
    fitting = [e for e in front if _fits(e, limits, due)]
    if not limits.wants_smallest:
        fitting.sort(key=lambda e: (e.error, e.params))
    speed = None if limits.max_latency is None or not fitting else _Speed(run_folder, record)
    for evaluation in fitting:
        times = () if speed is None else speed.of(evaluation)
        if all(each.pruned_ms <= float(limits.max_latency or 0) * each.full_ms for each in times):
            return Recommendation(evaluation, record, full, times)
    smallest, largest = front[0], front[-1]
    slow = "" if limits.max_latency is None or not fitting else f"; {len(fitting)} keep the others and are too slow"
    raise UserError(
        f"no network on the front of {run_folder} keeps the limits{slow}; the front reaches from {smallest.params:.4f} "
        f"of the parameters with a validation {record.metric} of {_metric(smallest):.4f} to {largest.params:.4f} with "
        f"{_metric(largest):.4f}"
    )


def _metric(evaluation: Evaluation) -> float:
    assert evaluation.error is not None  # members of a front have been measured
    return 1.0 - evaluation.error


def _due_metric(limits: Limits, record: RunRecord, full: Evaluation | None) -> float:
    if limits.min_share is None:
        return float("-inf") if limits.min_metric is None else limits.min_metric
    if full is None:
        raise UserError(
            f"this run has not evaluated the full network, so a share of its {record.metric} means nothing; give "
            "--min-metric as a number"
        )
    return limits.min_share * _metric(full)


def _fits(evaluation: Evaluation, limits: Limits, due: float) -> bool:
    return (
        (limits.max_params is None or evaluation.params <= limits.max_params)
        and (limits.max_bytes is None or BYTES_PER_PARAMETER * evaluation.n_params <= limits.max_bytes)
        and _metric(evaluation) >= due - 1e-12
    )


class _Speed:
    """Measures networks of a run beside its full network, with random weights: speed does not depend on the weights."""

    def __init__(self, run_folder: Path, record: RunRecord) -> None:
        self._run_folder, self._record, self._checkpoints = run_folder, record, Checkpoints(run_folder)
        self._folder = self._checkpoints.architecture
        if not (self._folder / "config.json").exists():
            raise UserError(
                f"{self._folder} has no configuration of the network, so its speed cannot be measured: the run's "
                "weights were removed or stayed on another machine; leave out --max-latency"
            )
        self._dims = Dimensions.from_json(record.dimensions)
        self._full = self._network(SubNetwork.full(self._dims))
        self._length = longest_text(self._checkpoints, record)

    def of(self, evaluation: Evaluation) -> tuple[Latency, ...]:
        pruned = self._network(subnetwork_of(self._record, evaluation, self._run_folder))
        return tuple(measure(self._full, pruned, self._length))

    def _network(self, subnetwork: SubNetwork) -> nn.Module:
        """The extracted network: what a full network that was pruned before lacks is not in the configuration."""
        stock = with_random_weights(empty_network(self._folder))
        shrink_checked(stock, subnetwork, self._dims, self._folder)
        return compact(stock, subnetwork, ())
