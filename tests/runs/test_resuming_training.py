"""A resumed run continues its training from the checkpoint, or skips a training that has ended."""

import dataclasses
import re
import shutil

import pytest
import torch
from support.runs import CONFIGS, QUICK, FineTunes, InterruptsAt, Steps, Trains, folder_of, kill, run, snapshot

from nasbench.errors import UserError
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.plugins.method import Method
from nasbench.records.record import RunFolder
from nasbench.runs import session
from nasbench.testing.subject import MethodSubject, SteppingClock
from nasbench.training.strategies import TrainingStrategy
from nasbench.training.vocabulary import ActiveVocabulary


@pytest.fixture
def interrupted_training(results, tmp_path, monkeypatch):
    """A run killed in its training, behind a checkpoint."""
    monkeypatch.setattr("nasbench.runs.session.CHECKPOINT_INTERVAL_S", 0.0)
    subject = MethodSubject(Trains, tmp_path, n_evaluations=None)
    kill(subject, results, 7)
    return subject, folder_of(results) / "checkpoints" / "training.pt"


def test_training_resumes_from_its_checkpoint(interrupted_training, results, tmp_path):
    subject, checkpoint = interrupted_training
    state = torch.load(checkpoint, weights_only=True)
    assert state["trainer"]["step"] == 6
    steps = Steps()
    resumed = run(subject, results, observer=steps)
    assert steps.seen[0][0] == 7
    assert steps.seen[0][1] > sum(state["charged_s"].values())
    assert resumed.comparable() == run(subject, tmp_path / "whole").comparable()


def _of_roberta(state):
    return {**state, "trainer": {**state["trainer"], "model": {"roberta": torch.zeros(1)}}}


def _other_shape(state):
    model = {name: torch.zeros(1, *value.shape) for name, value in state["trainer"]["model"].items()}
    return {**state, "trainer": {**state["trainer"], "model": model}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_of_roberta, "the checkpoint in .* is of another model or version"),
        (_other_shape, "the checkpoint in .* is of another model or version"),
        (lambda state: {**state, "trainer": {}}, "the checkpoint in .* is of another model or version"),
        (lambda state: {"weights": state["trainer"]}, r"training\.pt is not a checkpoint of a training; delete it"),
        (lambda _: [1, 2], r"training\.pt is not a checkpoint of a training; delete it"),
    ],
)
def test_resume_rejects_checkpoint_of_something_else(interrupted_training, results, change, message):
    subject, checkpoint = interrupted_training
    torch.save(change(torch.load(checkpoint, weights_only=True)), checkpoint)
    before = snapshot(checkpoint.parent)
    with pytest.raises(UserError, match=message) as caught:
        run(subject, results)
    assert "\n" not in str(caught.value)
    assert snapshot(checkpoint.parent) == before


@pytest.mark.parametrize("n_bytes", [0, 10, 5000])
def test_resume_rejects_damaged_checkpoint(interrupted_training, results, n_bytes):
    subject, checkpoint = interrupted_training
    checkpoint.write_bytes(checkpoint.read_bytes()[:n_bytes])
    with pytest.raises(UserError, match=r"cannot read the checkpoint .*training\.pt \(\w+\); delete it"):
        run(subject, results)
    checkpoint.unlink()
    assert run(subject, results).record.status == "complete"


def test_temporary_files_of_a_killed_run_are_removed(interrupted_training, results):
    subject, checkpoint = interrupted_training
    folder = checkpoint.parents[1]
    (folder / "weights").mkdir(exist_ok=True)
    for name in ("checkpoints/.ab12cd34.unfinished", ".x_y.unfinished", "weights/.q.unfinished"):
        (folder / name).write_text("half")
    run(subject, results)
    names = {path.name for path in folder.rglob(".*")}
    assert names == {".lock"}
    assert not checkpoint.parent.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100]), r"cannot read the weights .*fine-tuned\.safetensors"),
        (lambda path: shutil.copyfile(path.with_name("other.safetensors"), path), "holds weights of another model"),
    ],
)
def test_resume_rejects_damaged_or_other_shared_weights(results, tmp_path, change, message):
    from safetensors.torch import save_file

    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    kill(subject, results, 20)
    path = folder_of(results) / "weights" / "fine-tuned.safetensors"
    save_file({"roberta": torch.zeros(1)}, path.with_name("other.safetensors"))
    change(path)
    with pytest.raises(UserError, match=message):
        run(subject, results)


def test_fine_tuned_weights_off_the_front_are_kept_for_resuming(results, tmp_path):
    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    expected = run(subject, tmp_path / "usual")
    n_events = len([*range(18), *expected.evaluations])
    for at in range(19, n_events + 1):
        kill(subject, results / str(at), at)
        folder = folder_of(results / str(at))
        assert (folder / "weights" / "fine-tuned.safetensors").exists()
        steps = Steps()
        assert run(subject, results / str(at), observer=steps).comparable() == expected.comparable()
        assert steps.seen == []


def test_lost_shared_weights_are_trained_again_uncharged(results, tmp_path):
    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    expected = run(subject, tmp_path / "usual")
    kill(subject, results, 20)
    before = RunFolder(folder_of(results)).read_evaluations()[-1].charged_s
    (folder_of(results) / "weights" / "fine-tuned.safetensors").unlink()
    resumed = run(subject, results)
    assert resumed.comparable() == expected.comparable()
    assert resumed.evaluations[-1].charged_s["training"] == before["training"]


SHORTENED = r"training of 'super-network' was shortened from 108 to (\d+) steps, because the budget of 200 s .*"


def test_training_shortened_by_the_budget_is_not_repeated(results, tmp_path):
    subject = MethodSubject(WeightSharingNAS, tmp_path, dataclasses.replace(QUICK, epochs=12), n_evaluations=None)
    limits = {"budget_s": 200.0}
    whole = run(subject, tmp_path / "whole", clock=SteppingClock(), **limits)
    (note,) = whole.record.notes
    n_steps = int(re.fullmatch(SHORTENED, note)[1])
    shortened = {"super-network": n_steps}
    assert whole.record.shortened_trainings == shortened
    assert len(whole.evaluations) > 1
    kill(subject, results, n_steps + 1, clock=SteppingClock(), **limits)
    shutil.copytree(results, tmp_path / "copy")
    steps = Steps()
    resumed = run(subject, results, clock=SteppingClock(), observer=steps, **limits)
    assert steps.seen == []
    assert resumed.record.notes == whole.record.notes
    assert resumed.record.shortened_trainings == shortened
    n = min(len(resumed.evaluations), len(whole.evaluations))
    assert n > 1
    assert resumed.comparable()[:n] == whole.comparable()[:n]
    # Without the weights, their state at the end of the training is unknown.
    (folder_of(tmp_path / "copy") / "weights" / "super-network.safetensors").unlink()
    with pytest.raises(UserError, match=r"the weights of 'super-network' are missing; remove the folder"):
        run(subject, tmp_path / "copy", clock=SteppingClock(), **limits)


@pytest.mark.parametrize("kill_at", [1, 12, 30])
def test_killed_training_keeps_its_shorter_schedule(results, tmp_path, kill_at, monkeypatch):
    monkeypatch.setattr(session, "CHECKPOINT_INTERVAL_S", 0.0)
    subject = MethodSubject(WeightSharingNAS, tmp_path, dataclasses.replace(QUICK, epochs=12), n_evaluations=None)
    kill(subject, results, kill_at, clock=SteppingClock(), budget_s=200.0)
    made = torch.load(folder_of(results) / "checkpoints" / "training.pt") if kill_at > 1 else None
    steps = Steps()
    resumed = run(subject, results, clock=SteppingClock(), observer=steps, budget_s=200.0)
    done, totals = [seen[0] for seen in steps.seen], {seen[2] for seen in steps.seen}
    assert done == list(range(made["trainer"]["step"] + 1 if made else 1, min(totals) + 1))
    assert resumed.record.status == "complete"
    (note,) = resumed.record.notes
    assert resumed.record.shortened_trainings == {"super-network": int(re.fullmatch(SHORTENED, note)[1])}
    assert min(totals) == resumed.record.shortened_trainings["super-network"]
    if kill_at >= 30:  # killed after its speed was known
        assert max(totals) == made["trainer"]["n_steps"] < 108


def test_interrupt_loses_no_training_step(results, tmp_path):
    subject = MethodSubject(Trains, tmp_path, n_evaluations=None)
    with pytest.raises(KeyboardInterrupt):
        run(subject, results, observer=InterruptsAt(5))
    steps = Steps()
    resumed = run(subject, results, observer=steps)
    assert steps.seen[0][0] == 6
    assert resumed.comparable() == run(subject, tmp_path / "whole").comparable()


def test_interrupt_within_a_step_saves_no_checkpoint(results, tmp_path, monkeypatch):
    subject = MethodSubject(Trains, tmp_path, n_evaluations=None)
    decay_others = ActiveVocabulary.decay_others

    def interrupted(self, factor):
        decay_others(self, factor)
        raise KeyboardInterrupt

    monkeypatch.setattr(ActiveVocabulary, "decay_others", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(subject, results)
    monkeypatch.setattr(ActiveVocabulary, "decay_others", decay_others)
    assert not (folder_of(results) / "checkpoints" / "training.pt").exists()
    assert run(subject, results).comparable() == run(subject, tmp_path / "whole").comparable()


class TrainsTwice(Method):
    """Trains a network, searches for a while, and trains it again under another name before anything is evaluated."""

    name, summary = "trains-twice", "for tests"

    def run(self, problem):
        network = problem.pretrained("first")
        problem.training(network).run(budget_share=0.4)
        with problem.phase("search"):
            for _ in range(20):
                problem.check_budget()
        network = network.copy("second")
        problem.training(network, TrainingStrategy("standard")).run(budget_share=0.8)
        problem.evaluate(network, CONFIGS[0])


@pytest.mark.parametrize("interrupts", [False, True])
@pytest.mark.parametrize("step", [1, 17])
def test_what_precedes_a_checkpoint_is_neither_repeated_nor_charged_twice(
    results, tmp_path, monkeypatch, step, interrupts
):
    monkeypatch.setattr(session, "CHECKPOINT_INTERVAL_S", 0.0)
    subject = MethodSubject(TrainsTwice, tmp_path, n_evaluations=None)
    steps = Steps()
    whole = run(subject, tmp_path / "whole", observer=steps, budget_s=300.0)
    n_first = len(steps.seen) // 2
    if interrupts:
        with pytest.raises(KeyboardInterrupt):
            run(subject, results, observer=InterruptsAt(step, n_first), budget_s=300.0)
    else:
        kill(subject, results, n_first + step + 1, budget_s=300.0)
    state = torch.load(folder_of(results) / "checkpoints" / "training.pt", weights_only=True)
    assert (state["name"], state["trainer"]["step"], state["trained"]) == ("second", step, ["first"])
    again = Steps()
    resumed = run(subject, results, observer=again, budget_s=300.0)
    assert [seen[0] for seen in again.seen] == list(range(step + 1, n_first + 1))
    assert resumed.comparable() == whole.comparable()
    assert resumed.record.notes == whole.record.notes
    assert resumed.record.charged_s["search"] == whole.record.charged_s["search"]
    assert resumed.record.charged_s["training"] <= whole.record.charged_s["training"] + 10
