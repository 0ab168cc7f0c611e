"""Repeat a run by its number of evaluations, and compare the two fronts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.errors import UserError
from nasbench.records.front import front_of
from nasbench.records.record import Evaluation, RunFolder, RunRecord
from nasbench.runs import runner
from nasbench.runs.observer import Observer
from nasbench.runs.request import RunRequest
from nasbench.trust.checks import Check
from nasbench.trust.expected import request_of

TOLERANCE = 0.05
"""Allowed difference of errors and sizes. The same machine repeats a run bit by bit. Another CPU rounds otherwise, and
training magnifies that: a run of the demo made on an AMD EPYC and repeated on an Intel Xeon differed by 0.029."""
ON_AVERAGE = 0.5
"""Share of the tolerance by which test errors may be lower on average. Another training has some errors lower and
others higher, so the average differs less than single errors do. It does differ: sub-networks of one super-network have
its noise in common. Between records of another seed, which differ more than those of another machine, this bound is
exceeded only where one of the others is (150 pairs on four tasks)."""


@dataclass(frozen=True)
class Comparison:
    """Two runs of the same command.

    Attributes:
        n_same: evaluations of the same network at the same place.
        n_evaluations: evaluations of the recorded run.
        n_common: networks on the recorded front that the repeated run evaluated too.
        largest_difference: largest difference of the validation or test errors of these.
        indicator: additive epsilon indicator (Zitzler et al. 2003): how much smaller error and size of every network of
            the recorded front would be than those of some network of the repeated front. 0 or less if nothing is worse.
        test_indicator: the same of the test errors and sizes of these networks. None if a front has no test errors.
        mean_test_excess: how much higher the test errors of the repeated run are on average over the recorded front: of
            the same network, or of the network that comes closest to it in test error and size. None as above.
    """

    n_same: int
    n_evaluations: int
    n_common: int
    largest_difference: float
    indicator: float
    test_indicator: float | None
    mean_test_excess: float | None

    def is_within(self, tolerance: float) -> bool:
        """Whether all checks are passed."""
        return all(each.outcome == "ok" for each in self.checks(tolerance))

    def checks(self, tolerance: float) -> list[Check]:
        """Three checks: errors of networks that both runs evaluated, the front, and its test errors."""
        errors_agree = self.n_common > 0 and self.largest_difference <= tolerance
        return [
            Check(
                "repeated errors",
                "ok" if errors_agree else "wrong",
                f"within {tolerance:g}, validation and test",
                f"{self.n_common} networks of the front evaluated by both runs differ by at most "
                f"{self.largest_difference:.4g}; {self.n_same} of {self.n_evaluations} evaluations are of the same "
                "network at the same place",
            ),
            Check(
                "repeated front",
                "ok" if self.indicator <= tolerance else "wrong",
                f"reached within {tolerance:g} in error and size",
                f"reached within {self.indicator:.4g}",
            ),
            self._test_check(tolerance),
        ]

    def _test_check(self, tolerance: float) -> Check:
        """Whether the repeated run has the test errors, which decide the order of the leaderboard."""
        name, on_average = "repeated test errors", ON_AVERAGE * tolerance
        expected = f"reached within {tolerance:g} in test error and size, and within {on_average:g} on average"
        if self.test_indicator is None or self.mean_test_excess is None:
            return Check(name, "missing", expected, "one of the fronts has no test errors")
        is_reached = self.test_indicator <= tolerance and self.mean_test_excess <= on_average
        seen = f"reached within {self.test_indicator:.4g}, and within {self.mean_test_excess:.4g} on average"
        return Check(name, "ok" if is_reached else "wrong", expected, seen)


def rerun(
    record: RunRecord,
    n_evaluations: int,
    results: Path,
    data_dir: Path | None = None,
    device: str | None = None,
    observer: Observer | None = None,
) -> list[Evaluation]:
    """Repeat a run until it has as many evaluations, however long they take.

    Args:
        results: a folder for the repeated run. An interrupted repetition in it is resumed.
        device: ``cpu`` or ``cuda``; None for the device of the record.

    Raises:
        UserError: if the run cannot be repeated, because a training was shortened to fit into its budget, or if the
            repetition fails.
    """
    if record.shortened_trainings:
        names = ", ".join(sorted(record.shortened_trainings))
        raise UserError(f"the training of {names} was shortened to fit into the budget, so time decided its result")
    request = _request(record, n_evaluations, results, data_dir, device)
    folder = RunFolder(request.folder)
    if not (folder.exists() and folder.read_run().status == "complete"):
        again = runner.run(request, observer)
        if again.status == "failed":
            raise UserError(f"the repeated run failed: {again.reason}")
    return folder.read_evaluations()


def _request(
    record: RunRecord, n_evaluations: int, results: Path, data_dir: Path | None, device: str | None
) -> RunRequest:
    threads = record.provenance.get("hardware", {}).get("n_threads")
    precision = record.provenance.get("precision")
    if precision not in ("fp32", "bf16"):
        raise UserError("the record does not name its precision")
    device = device or ("cuda" if record.identity.device_class == "gpu" else "cpu")
    return dataclasses.replace(
        request_of(record, data_dir, results),
        device=device,
        budget_s=None,
        max_evaluations=n_evaluations,
        precision=cast(Any, precision),
        threads=threads if device == "cpu" and isinstance(threads, int) and 0 < threads <= 1024 else None,
    )


def compare(recorded: Sequence[Evaluation], repeated: Sequence[Evaluation]) -> Comparison:
    """Compare the evaluations of two runs.

    Raises:
        UserError: if one of them has no network on its front.
    """
    front, again = front_of(recorded), front_of(repeated)
    for whose, found in (("record", front), ("repetition", again)):
        if not found:
            raise UserError(f"no evaluation of the {whose} has succeeded, so there is no front to compare")
    # A searcher with several fidelities measures a network after several numbers of epochs.
    counterparts = {(e.key, e.epochs): e for e in repeated if e.error is not None}
    differences = []
    for e in front:
        other = counterparts.get((e.key, e.epochs))
        if other is not None:
            differences.append(abs((e.error or 0.0) - (other.error or 0.0)))
            if e.test_error is not None and other.test_error is not None:
                differences.append(abs(e.test_error - other.test_error))
    test_indicator, mean_test_excess = _compare_tests(front, again, counterparts)
    return Comparison(
        n_same=sum(x.key == y.key for x, y in zip(recorded, repeated, strict=False)),
        n_evaluations=len(recorded),
        n_common=sum((e.key, e.epochs) in counterparts for e in front),
        largest_difference=max(differences, default=0.0),
        indicator=float(_excesses(_points(front, "error"), _points(again, "error")).max()),
        test_indicator=test_indicator,
        mean_test_excess=mean_test_excess,
    )


def _compare_tests(
    front: Sequence[Evaluation],
    again: Sequence[Evaluation],
    counterparts: Mapping[tuple[str, float | None], Evaluation],
) -> tuple[float | None, float | None]:
    """``test_indicator`` and ``mean_test_excess`` of :class:`Comparison`."""
    tested, tested_again = ([e for e in side if e.test_error is not None] for side in (front, again))
    if not tested or not tested_again:
        return None, None
    points = _points(tested, "test_error")
    excesses = _excesses(points, _points(tested_again, "test_error"))
    higher = excesses.copy()
    for i, e in enumerate(tested):
        other = counterparts.get((e.key, e.epochs))
        if other is not None and other.test_error is not None:
            higher[i] = other.test_error - points[i, 0]
    return float(excesses.max()), float(higher.mean())


def _points(networks: Sequence[Evaluation], error: Literal["error", "test_error"]) -> FloatArray:
    """Errors and costs, ``(n, d)``, all minimised."""
    return np.array([(getattr(e, error), *e.cost_values) for e in networks], dtype=np.float64)


def _excesses(recorded: FloatArray, repeated: FloatArray) -> FloatArray:
    """For each recorded network, the excess of the repeated network that comes closest to dominating it.

    Args:
        recorded: ``(n, d)``.
        repeated: ``(m, d)``.

    Returns:
        ``(n,)``.
    """
    return np.asarray((repeated[None] - recorded[:, None]).max(axis=2).min(axis=1))
