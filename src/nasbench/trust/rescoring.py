"""Checks that need the data: hashes, what follows from the declarations, and errors from the stored predictions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from nasbench.records.front import front_of
from nasbench.records.predictions import FILE, SPLITS, PredictionsError, SplitName, decode, unpack
from nasbench.records.record import Evaluation, RunRecord
from nasbench.records.schema import OTHER_WORK
from nasbench.runs import machine
from nasbench.training import metrics
from nasbench.trust.checks import (
    CLOCK_ROUNDING_S,
    Check,
    Missing,
    Wrong,
    check,
    differs,
    is_untested,
    shown,
    untested_lines,
)
from nasbench.trust.expected import Expected
from nasbench.trust.files import Files

HASHES = {"data": "data_sha256", "weights": "weights_sha256"}
_SAME_FIELDS = ("track", "metric", "n_params_full", "dimensions", "interface", "data_summary", "constant_error")
_TRAINING = ("fine_tuning", "super_network")
_OPTIONAL = ("interface", "data_summary", "constant_error")
"""Fields that older records do not have."""


def hash_checks(record: RunRecord, expected: Expected | None) -> Iterator[Check]:
    """Whether the run used the declared data and weights.

    Args:
        expected: None where they are not available here.
    """
    for what, key in HASHES.items():
        seen = record.provenance.get(key)
        if not isinstance(seen, str) or not re.fullmatch(r"[0-9a-f]{64}", seen):
            yield Check(what, "missing", "a SHA-256", shown(seen))
        elif expected is not None:
            due = expected.record.provenance[key]
            yield Check(what, "ok" if seen == due else "wrong", due[:16], seen[:16])


def declaration_checks(record: RunRecord, expected: Expected) -> Iterator[Check]:
    """Whether the record says what a run with these names writes."""
    due = expected.record
    yield check("identity", "names and options as the suite declares them", lambda: _identity(record, due))
    yield check("declarations", "as computed again", lambda: _fields(record, due))
    if any(record.provenance.get(name) is None for name in _TRAINING):
        yield Check("training", "missing", "named in the provenance", "not recorded by this version")
    else:
        yield check("training", "as declared with the model", lambda: _training(record, due))
    reasons = due.unofficial + ([OTHER_WORK] if _is_disturbed(record) else [])
    yield check("official", _reasons(reasons), lambda: _official(record, due))


def _identity(record: RunRecord, due: RunRecord) -> str:
    own, wanted = _by_name(record), _by_name(due)
    for name, value in wanted.items():
        if own[name] != value:
            raise Wrong(f"{name} {shown(own[name])} instead of {shown(value)}")
    for owner, options in due.identity.options.items():
        recorded = record.identity.options.get(owner, {})
        changed = (due.changed_options or {}).get(owner, {})
        for name, value in options.items():
            # A record of an older version lacks newer options; it ran with their defaults.
            is_older = name not in recorded and name not in changed and record.suite_version != due.suite_version
            if not is_older and (name not in recorded or recorded[name] != value):
                raise Wrong(f"option {name} of the {owner}: {shown(recorded.get(name))} instead of {shown(value)}")
    if set(record.identity.options) != set(due.identity.options):
        raise Wrong(f"options of {shown(sorted(record.identity.options))}")
    if record.changed_options is not None and record.changed_options != due.changed_options:
        raise Wrong(f"changed_options {shown(record.changed_options)} instead of {shown(due.changed_options)}")
    return f"{record.identity.algorithm}, seed {record.identity.seed}"


def _by_name(record: RunRecord) -> dict[str, Any]:
    own = vars(record.identity) | {}
    return {name: value for name, value in own.items() if name != "options"}


def _fields(record: RunRecord, due: RunRecord) -> str:
    for name in _SAME_FIELDS:
        seen, wanted = getattr(record, name), getattr(due, name)
        if seen is None and name in _OPTIONAL and record.suite_version != due.suite_version:
            continue
        if differs(seen, wanted) if isinstance(wanted, float) else seen != wanted:
            raise Wrong(f"{name} {shown(seen)} instead of {shown(wanted)}")
    return f"track {record.track}, {record.metric}"


def _training(record: RunRecord, due: RunRecord) -> str:
    for name in _TRAINING:
        seen, wanted = record.provenance[name], due.provenance[name]
        if seen != wanted:
            raise Wrong(f"{name} {shown(seen)} instead of {shown(wanted)}")
    return "fine-tuning and super-network"


def _official(record: RunRecord, due: RunRecord) -> str:
    """A record may have more reasons against itself than are found here, never fewer."""
    lacks_reason = any(reason not in record.unofficial for reason in due.unofficial)
    # The percentage is not compared: another version may have computed it in another way.
    says_so = any(reason.startswith(OTHER_WORK) for reason in record.unofficial)
    if lacks_reason or (_is_disturbed(record) and not says_so):
        raise Wrong(_reasons(record.unofficial))
    return _reasons(record.unofficial)


def _is_disturbed(record: RunRecord) -> bool:
    """Whether the recorded conditions make the run unofficial, as the runner decides it."""
    share = machine.disturbance(record.conditions)
    return record.identity.max_evaluations is None and share is not None and share > machine.DISTURBED


def _reasons(reasons: Sequence[str]) -> str:
    return "; ".join(reasons) or "official"


def prediction_checks(
    record: RunRecord, evaluations: Sequence[Evaluation], files: Files, expected: Expected | None
) -> Iterator[Check]:
    """Whether the errors of the reported front follow from the stored predictions and the labels."""
    if FILE not in files:
        yield Check("predictions", "missing", "of every network on the front", f"no {FILE}")
        return
    if expected is None:
        yield Check("predictions", "missing", "compared with labels", "the data are not available here")
        return
    front = front_of(evaluations)
    yield check(
        "predictions",
        f"metrics of {len(front)} networks on the front, to {1e-9:g}",
        lambda: _predictions(record, front, files[FILE], expected),
    )
    yield check(
        "latency", "no longer than the validation", lambda: _latency(evaluations, len(expected.data.validation))
    )


def _predictions(record: RunRecord, front: Sequence[Evaluation], data: bytes, expected: Expected) -> str:
    task = expected.request.task
    names = (task.metric, *task.other_metrics)
    labels = {"validation": expected.data.validation.labels, "test": expected.data.test.labels}
    try:
        kept = unpack(data)
    except PredictionsError as error:
        raise Wrong(str(error)) from None
    untested = [e for e in front if is_untested(e)]
    tested = [e for e in front if not is_untested(e)]
    if set(kept) != {e.index for e in tested}:
        raise Wrong(f"predictions of lines {shown([i + 1 for i in sorted(kept)])}")
    for e in tested:
        recorded: dict[SplitName, Any] = {"validation": e.metrics, "test": e.test_metrics}
        if set(kept[e.index]) != set(SPLITS):
            raise Wrong(f"line {e.index + 1}: only of split {shown(sorted(kept[e.index]))}")
        for split, array in kept[e.index].items():
            try:
                again = metrics.compute(names, task.kind, decode(task, array, len(labels[split])), labels[split])
            except (PredictionsError, FloatingPointError) as error:
                raise Wrong(f"line {e.index + 1}, {split}: {error}") from None
            own = recorded[split] or {}
            if set(own) != set(names):
                raise Wrong(
                    f"line {e.index + 1}, {split}: metrics {shown(sorted(own))} instead of {shown(sorted(names))}"
                )
            for name, value in again.items():
                if differs(value, own[name]):
                    raise Wrong(
                        f"line {e.index + 1}, {split}: the record has {name} {own[name]}, the predictions give {value}"
                    )
    if untested:
        raise Missing(untested_lines(untested))
    return f"{2 * len(front)} sets of predictions give the recorded {record.metric}"


def _latency(evaluations: Sequence[Evaluation], n_examples: int) -> str:
    before = 0.0
    for e in evaluations:
        seconds = e.charged_s.get("validation", 0.0)
        if e.latency_ms is not None and e.latency_ms * n_examples / 1e3 > seconds - before + CLOCK_ROUNDING_S:
            raise Wrong(
                f"line {e.index + 1}: {e.latency_ms} ms for each of {n_examples} examples in {seconds - before} s"
            )
        before = seconds
    return f"{n_examples} examples"
