"""The task of a run has a digest where its name does not tell it from others."""

from __future__ import annotations

import pytest

from nasbench.analysis.reading.scenarios import task_labels
from nasbench.records.record import Identity


def identity(task: str, model: str, declaration: str | None = None) -> Identity:
    return Identity(task, model, "large", "rfp", None, {"method": {}}, 0, "cpu", 60.0, declaration=declaration)


@pytest.mark.parametrize(
    ("runs", "labels"),
    [
        ([("rte", "minilm-l6"), ("films", "mine", "a1")], ["rte", "films"]),
        ([("films", "mine", "a1"), ("films", "mine", "b2")], ["films-a1", "films-b2"]),
        ([("films", "mine", "a1"), ("films", "other", "b2")], ["films-a1", "films-b2"]),
        ([("rte", "minilm-l6", "a1")], ["rte-a1"]),
        ([("rte", "minilm-l6"), ("rte", "mine", "a1")], ["rte", "rte"]),
        ([("rte", "mine", "a1"), ("rte", "mine", "b2")], ["rte-a1", "rte-b2"]),
    ],
    ids=str,
)
def test_names_that_stand_for_several_have_digests(runs: list[tuple[str, ...]], labels: list[str]) -> None:
    assert task_labels([identity(*run) for run in runs]) == labels
