"""Predictions beside the record: what they hold, and that they give the recorded metrics exactly."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import same_examples
from support.runs import Evaluates

from nasbench.data.splits import load_task_data
from nasbench.networks.pretrained import load_pretrained
from nasbench.records.front import front_of
from nasbench.records.predictions import FILE, Predictions, PredictionsError, decode, encode, pack, unpack
from nasbench.records.record import RunFolder
from nasbench.testing.subject import Killed, KillingObserver, MethodSubject
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_SINGLE, TINY_TASKS
from nasbench.training import metrics

WITH_AUC = dataclasses.replace(TINY_PAIR, other_metrics=("auc",))
SEVEN = dataclasses.replace(TINY_PAIR, n_labels=7, other_metrics=("macro_f1", "matthews"))


@pytest.mark.parametrize("task", [TINY_SINGLE, TINY_PAIR, TINY_REGRESSION, TINY_CHOICE, WITH_AUC, SEVEN])
@given(seed=st.integers(0, 10**6), n=st.integers(1, 70))
@settings(same_examples, max_examples=20)
def test_decoded_predictions_have_the_metrics_of_the_logits(task, seed, n):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, task.n_labels)).astype(np.float32)
    labels = rng.normal(size=n) if task.kind == "regression" else rng.integers(task.n_labels, size=n)
    names = (task.metric, *task.other_metrics)
    again = decode(task, encode(task, logits), n)
    assert metrics.compute(names, task.kind, again, labels) == metrics.compute(names, task.kind, logits, labels)


def test_classes_take_as_few_bits_as_they_need():
    assert encode(TINY_PAIR, np.zeros((800, 2))).nbytes == 100
    assert encode(SEVEN, np.zeros((800, 7))).nbytes == 300
    assert encode(TINY_REGRESSION, np.zeros((800, 1))).nbytes == 3200


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (np.zeros(2, np.uint8), r"uint8 \(1,\)"),
        (np.zeros(1, np.float32), "not float32"),
        (np.array([1], np.uint8), "bits after the last example"),
    ],
)
def test_an_array_of_another_form_is_refused(packed, message):
    with pytest.raises(PredictionsError, match=message):
        decode(TINY_PAIR, packed, 7)


def test_a_class_that_the_task_does_not_have_is_refused():
    with pytest.raises(PredictionsError, match="class is 7, and the task has 7"):
        decode(SEVEN, np.array([0b11100000], np.uint8), 1)


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 40, pack({3: {"validation": np.zeros(1)}})[:-1], b"PK\x03\x04", b"\x80\x04."]
)
def test_a_damaged_file_is_refused(data):
    with pytest.raises(PredictionsError, match="cannot be read"):
        unpack(data)


@pytest.mark.parametrize("name", ["a.validation", "3.train", "03.test", "3", "\N{ARABIC-INDIC DIGIT THREE}.test", ""])
def test_other_names_are_refused(name):
    from safetensors.numpy import save

    with pytest.raises(PredictionsError, match="has an array"):
        unpack(save({name: np.zeros(1)}))


def test_too_many_predictions_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("nasbench.records.predictions.MAX_BYTES", 10)
    kept = Predictions(tmp_path, TINY_REGRESSION)
    kept.keep(0, {"validation": np.zeros((2, 1))})
    assert (tmp_path / FILE).exists()
    kept.keep(1, {"validation": np.zeros((2, 1))})
    assert not (tmp_path / FILE).exists()
    kept.keep(2, {"validation": np.zeros((1, 1))})
    kept.finish([2])
    assert not (tmp_path / FILE).exists()


def recomputed(subject, results):
    """The metrics from the stored predictions, and those of the record, by index and split."""
    request = subject.request(results)
    data = load_task_data(request.task, load_pretrained(request.model, request.task, 0).tokenizer, request.seed)
    labels = {"validation": data.validation.labels, "test": data.test.labels}
    names = (request.task.metric, *request.task.other_metrics)
    stored = unpack((request.folder / FILE).read_bytes())
    again = {
        (index, split): metrics.compute(
            names, request.task.kind, decode(request.task, array, len(labels[split])), labels[split]
        )
        for index, arrays in stored.items()
        for split, array in arrays.items()
    }
    front = front_of(RunFolder(request.folder).read_evaluations())
    recorded = {(e.index, "validation"): e.metrics for e in front} | {(e.index, "test"): e.test_metrics for e in front}
    return again, recorded


@pytest.mark.parametrize("task", TINY_TASKS, ids=lambda task: task.name)
def test_a_run_keeps_the_predictions_of_its_final_front(tmp_path, task):
    subject = MethodSubject(Evaluates, tmp_path, task=task)
    subject.run(tmp_path / "a")
    again, recorded = recomputed(subject, tmp_path / "a")
    assert again == recorded
    assert len(recorded) >= 2


def test_a_run_killed_at_every_event_keeps_the_same_predictions(tmp_path):
    subject = MethodSubject(Evaluates, tmp_path, n_evaluations=None)
    _, n_events, _ = subject.usual
    subject.run(tmp_path / "whole")
    whole = (subject.request(tmp_path / "whole").folder / FILE).read_bytes()
    for at in range(1, n_events + 1):
        results = tmp_path / f"killed-{at}"
        with pytest.raises(Killed):
            subject.run(results, KillingObserver(at))
        subject.run(results)
        assert (subject.request(results).folder / FILE).read_bytes() == whole, at


def test_predictions_are_on_disk_before_the_line_of_their_network(tmp_path, monkeypatch):
    subject = MethodSubject(Evaluates, tmp_path, n_evaluations=4)
    append = RunFolder.append
    seen = []

    def look(self, evaluation):
        if evaluation.test_error is not None:
            seen.append(evaluation.index in unpack((self.path / FILE).read_bytes()))
        append(self, evaluation)

    monkeypatch.setattr(RunFolder, "append", look)
    subject.run(tmp_path / "a")
    assert seen
    assert all(seen)


def test_a_damaged_file_of_an_earlier_attempt_is_replaced(tmp_path):
    subject = MethodSubject(Evaluates, tmp_path, n_evaluations=4)
    with pytest.raises(Killed):
        subject.run(tmp_path / "a", KillingObserver(1))
    path = subject.request(tmp_path / "a").folder / FILE
    assert unpack(path.read_bytes()).keys() == {0}
    path.write_bytes(b"damaged")
    outcome = subject.run(tmp_path / "a")
    assert outcome.record.status == "complete"
    again, recorded = recomputed(subject, tmp_path / "a")
    assert again == {(index, split): found for (index, split), found in recorded.items() if index > 0}  # 0 is lost
    assert again
