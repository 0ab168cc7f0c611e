"""An interrupted run is resumed with equal results, or refused with one line and left unchanged."""

import dataclasses
import re
import shutil

import pytest
from support.runs import CONFIGS, FineTunes, folder_of, kill, run, snapshot

from nasbench.declarations.model import TrainingConfiguration
from nasbench.errors import CannotResume, UserError
from nasbench.plugins.method import Method
from nasbench.records import provenance
from nasbench.records.record import RunFolder
from nasbench.records.resume import locked
from nasbench.records.schema import RecordError
from nasbench.runs.observer import Observer
from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.subject import MethodSubject, SteppingClock
from nasbench.testing.tasks import TINY_PAIR


def test_complete_run_is_refused_and_unchanged(subject, results):
    run(subject, results)
    before = snapshot(folder_of(results))
    with pytest.raises(UserError, match=r"this run is complete: .*choose another --seed"):
        run(subject, results)
    assert snapshot(folder_of(results)) == before


def test_run_in_progress_elsewhere_is_refused_and_unchanged(subject, results):
    kill(subject, results, 2)
    before = snapshot(folder_of(results))
    with locked(folder_of(results)), pytest.raises(UserError, match="this run is in progress in another process"):
        run(subject, results)
    assert snapshot(folder_of(results)) == before
    run(subject, results)


def test_cut_last_line_is_dropped_and_measured_again(subject, results):
    expected = run(subject, results / "usual")
    kill(subject, results / "cut", 3)
    path = folder_of(results / "cut") / "evaluations.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 3
    (path.parent / ".progress").unlink()  # a kill within the third line comes before the count of three
    for cut in (1, 40, len(lines[2]) - 1):
        path.write_text("".join(lines[:2]) + lines[2][:cut])
        assert len(RunFolder(path.parent).read_evaluations()) == 2
        copy = results / f"cut-{cut}"
        shutil.copytree(results / "cut", copy)
        assert run(subject, copy).comparable() == expected.comparable()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0][:50] + "\n", *lines[1:]], r"evaluations.jsonl, line 1: not JSON \(EOF while parsing"),
        (lambda lines: lines[1:], r"line 1: index 1 where 0 is due$"),
        (
            lambda _: [],
            r"evaluations.jsonl: 4 of 4 evaluations are lost since they were recorded; put the file back",
        ),
        (lambda lines: lines[:3], r"evaluations.jsonl: 1 of 4 evaluations are lost since they were recorded"),
        (lambda lines: [*lines[:3], lines[3][:-1]], r"evaluations.jsonl: 1 of 4 evaluations are lost"),
        (lambda lines: [lines[0].replace("1", "2", 1), *lines[1:]], r"the 4 evaluations have changed since they were"),
        (lambda lines: [lines[0], *lines], r"line 2: index 0 where 1 is due$"),
        (lambda lines: [re.sub('"error": [^,]+', '"error": NaN', lines[0]), *lines[1:]], "line 1: error = nan is not"),
    ],
)
def test_damaged_evaluations_are_refused_and_unchanged(subject, results, damage, message):
    kill(subject, results, 4)
    path = folder_of(results) / "evaluations.jsonl"
    path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
    before = snapshot(folder_of(results))
    with pytest.raises(RecordError, match=message):
        run(subject, results)
    assert snapshot(folder_of(results)) == before


@pytest.mark.parametrize("status", ["running", "failed"])
def test_removed_evaluations_are_refused(subject, results, status):
    kill(subject, results, 4)
    folder = RunFolder(folder_of(results))
    record = folder.read_run()
    if status == "failed":
        record.status = "failed"
        folder.finish(record)
        assert not (folder.path / ".progress").exists()
    (folder.path / "evaluations.jsonl").unlink()
    before = snapshot(folder.path)
    with pytest.raises(RecordError, match=r"evaluations.jsonl: 4 of 4 evaluations are lost since they were recorded"):
        run(subject, results)
    assert snapshot(folder.path) == before


def test_changed_weights_are_refused(results, tmp_path):
    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    kill(subject, results, 20)
    folder = folder_of(results)
    path = folder / "weights" / "fine-tuned.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    before = snapshot(folder)
    with pytest.raises(CannotResume, match=r"has changed since it was written \(its checksum differs\); remove"):
        run(subject, results)
    assert snapshot(folder) == before


def test_changed_checkpoint_is_refused(results, tmp_path, monkeypatch):
    monkeypatch.setattr("nasbench.runs.session.CHECKPOINT_INTERVAL_S", 0)
    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    kill(subject, results, 5)
    path = folder_of(results) / "checkpoints" / "training.pt"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(byte ^ 1 for byte in data[middle : middle + 200])  # more than any padding
    path.write_bytes(data)
    before = snapshot(folder_of(results))
    with pytest.raises(CannotResume, match=r"cannot read the checkpoint .* \(BadZipFile\); delete it"):
        run(subject, results)
    assert snapshot(folder_of(results)) == before


def test_damaged_run_json_is_refused(subject, results):
    kill(subject, results, 2)
    path = folder_of(results) / "run.json"
    text = path.read_text()
    path.write_text(text[:100])
    with pytest.raises(RecordError, match=r"run\.json: not JSON \(EOF while parsing"):
        run(subject, results)
    path.write_text(text.replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(RecordError, match="schema version 99 is newer than 1; upgrade nasbench"):
        run(subject, results)


@pytest.mark.parametrize("kept", ["evaluations.jsonl", "weights", "checkpoints"])
def test_folder_without_run_json_is_refused(results, tmp_path, kept):
    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    kill(subject, results, 20)
    folder = folder_of(results)
    (folder / "checkpoints").mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in (kept, ".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=rf"has {kept} but no run\.json; remove the folder to start again"):
        run(subject, results)


def _other_weights(tmp_path):
    """The tiny network saved by a user, and the same name with other weights."""
    first = save_tiny(TINY_BERT, TINY_PAIR, tmp_path / "first")
    network_folder = tmp_path / "second"
    save_tiny(TINY_BERT, TINY_PAIR, network_folder, seed=1)
    return first, dataclasses.replace(first, local_folder=str(network_folder))


def test_resume_rejects_other_pretrained_weights(subject, results, tmp_path):
    first, second = _other_weights(tmp_path)
    kill(subject, results, 2, model=first)
    before = snapshot(folder_of(results))
    with pytest.raises(UserError, match="its pre-trained weights differ from the present ones"):
        run(subject, results, model=second)
    assert snapshot(folder_of(results)) == before
    assert run(subject, results, model=first).record.status == "complete"


def test_resume_rejects_other_data_precision_or_version(subject, results, monkeypatch):
    kill(subject, results, 2)
    other = dataclasses.replace(TINY_PAIR, max_length=6)
    with pytest.raises(UserError, match="its data differ from the present ones"):
        run(subject, results, task=other)
    with pytest.raises(UserError, match=r"its precision differ from the present ones \(fp32 against bf16\)"):
        run(subject, results, precision="bf16")
    monkeypatch.setattr("nasbench.__version__", "9.9")
    with pytest.raises(UserError, match=r"it was started with nasbench [\d.]+, this is 9\.9"):
        run(subject, results)
    monkeypatch.undo()
    assert run(subject, results).record.status == "complete"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda task, _: {"task": dataclasses.replace(task, metric="matthews")}, "with metric accuracy, now"),
        (
            lambda _, model: {"model": dataclasses.replace(model, fine_tuning=TrainingConfiguration(epochs=7))},
            "its fine-tuning differ",
        ),
        (
            lambda _, model: {"model": dataclasses.replace(model, super_network=TrainingConfiguration(epochs=7))},
            "its super-network's training differ",
        ),
        (
            lambda task, _: {"task": dataclasses.replace(task, budgets={("demo", "cpu"): 50.0})},
            "with budget_s 60.0, now it is 50.0",
        ),
    ],
)
def test_resume_rejects_changed_declaration(subject, results, change, message):
    kill(subject, results, 2, budget_s=None)
    before = snapshot(folder_of(results))
    with pytest.raises(UserError, match=f"cannot resume .*{message}"):
        run(subject, results, budget_s=None, **change(subject.task, subject.model))
    assert snapshot(folder_of(results)) == before


class Fickle(Method):
    """Reports other networks, or fewer, when it is run again."""

    name, summary = "fickle", "for tests"
    order: tuple[int, ...] = (0, 1, 2)

    def run(self, problem):
        network = problem.pretrained()
        for i in self.order:
            problem.evaluate(network, CONFIGS[i])


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ((0, 2), "cannot resume .*: evaluation 1 is of another sub-network than the method now reports"),
        ((0,), r"cannot resume .*: the method ended before it had reported all 2 recorded evaluations"),
    ],
)
def test_resume_rejects_method_that_reports_other_evaluations(results, tmp_path, monkeypatch, order, message):
    subject = MethodSubject(Fickle, tmp_path, n_evaluations=None)
    kill(subject, results, 2)
    before = (folder_of(results) / "evaluations.jsonl").read_bytes()
    monkeypatch.setattr(Fickle, "order", order)
    with pytest.raises(UserError, match=message):
        run(subject, results)
    assert (folder_of(results) / "evaluations.jsonl").read_bytes() == before


def test_resumed_run_has_its_remaining_budget(subject, results):
    whole = run(subject, results / "whole", clock=SteppingClock())
    kill(subject, results / "killed", 3, clock=SteppingClock())
    recorded = RunFolder(folder_of(results / "killed")).read_evaluations()
    resumed = run(subject, results / "killed", clock=SteppingClock())
    assert resumed.evaluations[:3] == recorded
    elapsed = [e.elapsed_s for e in resumed.evaluations]
    assert elapsed == sorted(set(elapsed))
    # What was repeated cost nothing: the same seconds as undisturbed, but for a few readings of the clock.
    assert elapsed[-1] == pytest.approx(whole.evaluations[-1].elapsed_s, abs=5)
    assert resumed.record.uncharged_s["repeating"] > 0
    assert resumed.record.started_at is not None


def test_record_names_the_places_of_all_its_attempts(subject, results, monkeypatch):
    revisions = iter(["a+changes", "a+changes", "b", "b", "c"])
    monkeypatch.setattr(provenance, "git_revision", lambda: next(revisions))
    for _ in range(4):
        kill(subject, results, 1)
    record = run(subject, results).record
    assert record.provenance["git_revision"] == "c"
    earlier = record.provenance["earlier_attempts"]
    assert [attempt["git_revision"] for attempt in earlier] == ["a+changes", "b"]
    assert all(attempt["hardware"] == record.provenance["hardware"] for attempt in earlier)


def test_record_of_one_place_names_no_others(subject, results):
    kill(subject, results, 2)
    assert "earlier_attempts" not in run(subject, results).record.provenance


@pytest.mark.parametrize("damaged", [5, "abc", {"a": 1}])
def test_damaged_list_of_attempts_does_not_stop_a_resumed_run(subject, results, damaged):
    kill(subject, results, 2)
    folder = RunFolder(folder_of(results))
    record = folder.read_run()
    record.provenance["earlier_attempts"] = damaged
    folder.write_run(record)
    assert "earlier_attempts" not in run(subject, results).record.provenance


def test_uncharged_seconds_of_an_interrupted_attempt_are_kept(subject, results):
    interrupted = Observer()

    def fails(*_):
        raise KeyboardInterrupt

    interrupted.evaluated = fails
    with pytest.raises(KeyboardInterrupt):
        run(subject, results, observer=interrupted)
    folder = RunFolder(folder_of(results))
    record = folder.read_run()
    assert record.uncharged_s["recording"] > 0
    record.uncharged_s = {name: seconds + 1e6 for name, seconds in record.uncharged_s.items()}
    folder.write_run(record)
    after = run(subject, results).record.uncharged_s
    assert all(0 <= after[name] - seconds < 1e5 for name, seconds in record.uncharged_s.items())
