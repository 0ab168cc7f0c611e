"""One run from request to record: the same twice, resumed or refused in one line."""

import dataclasses
import fcntl
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nasbench.declarations.model import TrainingConfiguration
from nasbench.errors import UserError
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.plugins.method import Method
from nasbench.records.record import RunFolder
from nasbench.records.schema import RecordError
from nasbench.runs import loading
from nasbench.runs.observer import Observer
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA, save_tiny
from nasbench.testing.subject import Killed, KillingObserver, MethodSubject, SteppingClock
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.configuration import SuperNetworkOptions
from nasbench.training.strategies import TrainingStrategy
from nasbench.training.vocabulary import ActiveVocabulary

QUICK = SuperNetworkOptions(strategy="sandwich", n_random=1, learning_rate=1e-3, batch_size=8, epochs=1)
CONFIGS = ([4, 48, 3], [0, 0, 0], [2, 24, 1], [3, 10, 2], [1, 40, 3])


class Evaluates(Method):
    """Evaluates a few sub-networks of the untrained network."""

    name, summary = "evaluates", "for tests"

    def run(self, problem):
        network = problem.pretrained()
        for config in CONFIGS:
            problem.evaluate(network, config)


class FineTunes(Method):
    """Fine-tunes one network, which larger errors of its slices never dominate, and goes on slicing it."""

    name, summary = "fine-tunes", "for tests"

    def run(self, problem):
        network = problem.pretrained("fine-tuned")
        problem.training(network).run()
        problem.evaluate(network, CONFIGS[0])
        # A smaller network that is as good pushes the fine-tuned one off the front.
        better = network.copy("better")
        problem.evaluate(better, CONFIGS[3])
        for config in CONFIGS[1:3]:
            problem.evaluate(network, config)


class Steps(Observer):
    """Notes every step of training with the budget spent by then."""

    def __init__(self):
        self.seen = []

    def training(self, done, total, elapsed_s):  # noqa: ARG002
        self.seen.append((done, elapsed_s))


@pytest.fixture
def subject(tmp_path):
    return MethodSubject(Evaluates, tmp_path, n_evaluations=None)


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def _run(subject, results, **changes):
    changes = {"budget_s": 1e6, **changes}
    observer, clock = changes.pop("observer", None), changes.pop("clock", None)
    return subject.run(results, observer, clock, **changes)


def _folder(results):
    return next(results.rglob("run.json")).parent


def _snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _kill(subject, results, at, **changes):
    with pytest.raises(Killed):
        _run(subject, results, observer=KillingObserver(at), **changes)


def test_the_same_request_twice_gives_equal_records_but_for_times(tmp_path):
    subject = MethodSubject(WeightSharingNAS, tmp_path, QUICK, n_evaluations=6)
    outcomes = []
    for name, disturbance in (("a", 1), ("b", 2)):
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002
        outcomes.append(subject.run(tmp_path / name, clock=lambda: float(os.times().elapsed)))
    first, second = outcomes
    assert len(first.evaluations) == 6
    assert first.comparable() == second.comparable()
    varying = {"charged_s", "uncharged_s", "started_at"}
    records = [dataclasses.asdict(outcome.record) for outcome in outcomes]
    for record in records:
        del record["provenance"]["git_revision"]  # somebody may be committing
    assert {k: v for k, v in records[0].items() if k not in varying} == {
        k: v for k, v in records[1].items() if k not in varying
    }
    other = subject.run(tmp_path / "c", seed=8)
    assert other.comparable() != first.comparable()


def test_what_a_record_says(subject, results):
    outcome = _run(subject, results, max_evaluations=4, unofficial=("task 'x' is not part of the suite",))
    record = outcome.record
    assert RunFolder(_folder(results)).read_run() == record
    assert (record.status, record.reason) == ("complete", None)
    assert record.identity.budget_s == 1e6
    assert record.identity.max_evaluations == 4
    assert record.unofficial == [
        "task 'x' is not part of the suite",
        "a budget of 1e+06 s instead of 60 s",
        "limited to 4 evaluations",
    ]
    assert record.metric == "accuracy"
    assert len(record.provenance["data_sha256"]) == len(record.provenance["weights_sha256"]) == 64
    assert record.provenance["precision"] == "fp32"
    assert record.n_params_full == outcome.evaluations[0].n_params
    assert set(record.charged_s) == {"training", "validation", "search", "idle"}
    assert not (_folder(results) / "checkpoints").exists()


def test_an_official_run_has_no_remarks(subject, results):
    outcome = _run(subject, results, budget_s=None, clock=SteppingClock())
    assert outcome.record.unofficial == []
    assert _folder(results).name == "evaluates_small_cpu_seed3"


def test_folders_tell_runs_apart(subject, results):
    changes = (
        {}, {"budget_s": 5.0}, {"max_evaluations": 3}, {"seed": 4}, {"space": "medium"},
        {"method_options": dataclasses.replace(QUICK)},
    )  # fmt: skip
    requests = [subject.request(results, **{"max_evaluations": None, **change}) for change in changes[:-1]]
    ws_nas = MethodSubject(WeightSharingNAS, results)
    requests += [ws_nas.request(results), ws_nas.request(results, **changes[-1])]
    folders = {request.folder for request in requests}
    assert len(folders) == len(requests)
    assert all(folder.parent == results / "tiny-pair" / "tiny-bert" for folder in folders)


def test_a_complete_run_is_left_as_it_is(subject, results):
    _run(subject, results)
    before = _snapshot(_folder(results))
    with pytest.raises(UserError, match=r"this run is complete: .*choose another --seed"):
        _run(subject, results)
    assert _snapshot(_folder(results)) == before


def test_a_run_in_progress_elsewhere_is_left_alone(subject, results):
    _kill(subject, results, 2)
    before = _snapshot(_folder(results))
    with (_folder(results) / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="this run is in progress in another process"):
            _run(subject, results)
    assert _snapshot(_folder(results)) == before
    _run(subject, results)


def test_a_cut_line_is_dropped_and_measured_again(subject, results):
    expected = _run(subject, results / "usual")
    _kill(subject, results / "cut", 3)
    path = _folder(results / "cut") / "evaluations.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 3
    for cut in (1, 40, len(lines[2]) - 1):
        path.write_text("".join(lines[:2]) + lines[2][:cut])
        assert len(RunFolder(path.parent).read_evaluations()) == 2
        copy = results / f"cut-{cut}"
        shutil.copytree(results / "cut", copy)
        assert _run(subject, copy).comparable() == expected.comparable()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0][:50] + "\n", *lines[1:]], r"evaluations.jsonl, line 1: not JSON \(EOF while parsing"),
        (lambda lines: lines[1:], r"line 1: index 1 where 0 is due$"),
        (lambda lines: [lines[0], *lines], r"line 2: index 0 where 1 is due$"),
        (lambda lines: [re.sub('"error": [^,]+', '"error": NaN', lines[0]), *lines[1:]], "line 1: error = nan is not"),
    ],
)
def test_a_damaged_record_is_refused_and_kept(subject, results, damage, message):
    _kill(subject, results, 4)
    path = _folder(results) / "evaluations.jsonl"
    path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
    before = _snapshot(_folder(results))
    with pytest.raises(RecordError, match=message):
        _run(subject, results)
    assert _snapshot(_folder(results)) == before


def test_a_damaged_description_is_refused(subject, results):
    _kill(subject, results, 2)
    path = _folder(results) / "run.json"
    text = path.read_text()
    path.write_text(text[:100])
    with pytest.raises(RecordError, match=r"run\.json: not JSON \(EOF while parsing"):
        _run(subject, results)
    path.write_text(text.replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(RecordError, match="schema version 99 is newer than 1; upgrade nasbench"):
        _run(subject, results)


@pytest.mark.parametrize("kept", ["evaluations.jsonl", "weights", "checkpoints"])
def test_what_has_no_description_is_not_built_upon(results, tmp_path, kept):
    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    _kill(subject, results, 20)
    folder = _folder(results)
    (folder / "checkpoints").mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in (kept, ".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=rf"has {kept} but no run\.json; remove the folder to start again"):
        _run(subject, results)


def _other_weights(tmp_path):
    """The tiny network saved by a user, and the same name with other weights."""
    first = save_tiny(TINY_BERT, TINY_PAIR, tmp_path / "first")
    network_folder = tmp_path / "second"
    save_tiny(TINY_BERT, TINY_PAIR, network_folder, seed=1)
    return first, dataclasses.replace(first, local_folder=str(network_folder))


def test_other_weights_are_not_mixed_in(subject, results, tmp_path):
    first, second = _other_weights(tmp_path)
    _kill(subject, results, 2, model=first)
    before = _snapshot(_folder(results))
    with pytest.raises(UserError, match="its pre-trained weights differ from the present ones"):
        _run(subject, results, model=second)
    assert _snapshot(_folder(results)) == before
    assert _run(subject, results, model=first).record.status == "complete"


def test_other_data_precision_or_version_are_not_mixed_in(subject, results, monkeypatch):
    _kill(subject, results, 2)
    other = dataclasses.replace(TINY_PAIR, max_length=6)
    with pytest.raises(UserError, match="its data differ from the present ones"):
        _run(subject, results, task=other)
    with pytest.raises(UserError, match=r"its precision differ from the present ones \(fp32 against bf16\)"):
        _run(subject, results, precision="bf16")
    monkeypatch.setattr("nasbench.__version__", "9.9")
    with pytest.raises(UserError, match=r"it was started with nasbench 0\.1\.0, this is 9\.9"):
        _run(subject, results)
    monkeypatch.undo()
    assert _run(subject, results).record.status == "complete"


class Trains(Method):
    name, summary = "trains", "for tests"

    def run(self, problem):
        network = problem.pretrained("trained")
        problem.training(network, TrainingStrategy("standard")).run()
        problem.evaluate(network, CONFIGS[0])


@pytest.fixture
def interrupted_training(results, tmp_path, monkeypatch):
    """A run killed in its training, behind a checkpoint."""
    monkeypatch.setattr("nasbench.runs.session.CHECKPOINT_INTERVAL_S", 0.0)
    subject = MethodSubject(Trains, tmp_path, n_evaluations=None)
    _kill(subject, results, 7)
    return subject, _folder(results) / "checkpoints" / "training.pt"


def test_a_training_resumes_from_its_checkpoint(interrupted_training, results, tmp_path):
    subject, checkpoint = interrupted_training
    state = torch.load(checkpoint, weights_only=True)
    assert state["trainer"]["step"] == 6
    steps = Steps()
    resumed = _run(subject, results, observer=steps)
    assert steps.seen[0][0] == 7
    assert steps.seen[0][1] > sum(state["charged_s"].values())
    assert resumed.comparable() == _run(subject, tmp_path / "whole").comparable()


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
def test_a_checkpoint_of_something_else_is_one_line(interrupted_training, results, change, message):
    subject, checkpoint = interrupted_training
    torch.save(change(torch.load(checkpoint, weights_only=True)), checkpoint)
    before = _snapshot(checkpoint.parent)
    with pytest.raises(UserError, match=message) as caught:
        _run(subject, results)
    assert "\n" not in str(caught.value)
    assert _snapshot(checkpoint.parent) == before


@pytest.mark.parametrize("n_bytes", [0, 10, 5000])
def test_a_damaged_checkpoint_is_one_line(interrupted_training, results, n_bytes):
    subject, checkpoint = interrupted_training
    checkpoint.write_bytes(checkpoint.read_bytes()[:n_bytes])
    with pytest.raises(UserError, match=r"cannot read the checkpoint .*training\.pt \(\w+\); delete it"):
        _run(subject, results)
    checkpoint.unlink()
    assert _run(subject, results).record.status == "complete"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100]), r"cannot read the weights .*fine-tuned\.safetensors"),
        (lambda path: shutil.copyfile(path.with_name("other.safetensors"), path), "holds weights of another model"),
    ],
)
def test_shared_weights_that_do_not_fit_are_one_line(results, tmp_path, change, message):
    from safetensors.torch import save_file

    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    _kill(subject, results, 20)
    path = _folder(results) / "weights" / "fine-tuned.safetensors"
    save_file({"roberta": torch.zeros(1)}, path.with_name("other.safetensors"))
    change(path)
    with pytest.raises(UserError, match=message):
        _run(subject, results)


def test_a_fine_tuned_network_off_the_front_is_still_there_to_resume_with(results, tmp_path):
    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    expected = _run(subject, tmp_path / "usual")
    n_events = len([*range(18), *expected.evaluations])
    for at in range(19, n_events + 1):
        _kill(subject, results / str(at), at)
        folder = _folder(results / str(at))
        assert (folder / "weights" / "fine-tuned.safetensors").exists()
        steps = Steps()
        assert _run(subject, results / str(at), observer=steps).comparable() == expected.comparable()
        assert steps.seen == []


def test_lost_shared_weights_are_trained_again_for_free(results, tmp_path):
    subject = MethodSubject(FineTunes, tmp_path, n_evaluations=None)
    expected = _run(subject, tmp_path / "usual")
    _kill(subject, results, 20)
    before = RunFolder(_folder(results)).read_evaluations()[-1].charged_s
    (_folder(results) / "weights" / "fine-tuned.safetensors").unlink()
    resumed = _run(subject, results)
    assert resumed.comparable() == expected.comparable()
    assert resumed.evaluations[-1].charged_s["training"] == before["training"]


def test_a_training_that_the_budget_cut_is_not_done_again(results, tmp_path):
    subject = MethodSubject(WeightSharingNAS, tmp_path, dataclasses.replace(QUICK, epochs=12), n_evaluations=None)
    limits = {"budget_s": 200.0}
    whole = _run(subject, tmp_path / "whole", clock=SteppingClock(), **limits)
    (note,) = whole.record.notes
    n_steps = int(re.fullmatch(r"training of 'super-network' ended at step (\d+) of 108, where 80% .* spent", note)[1])
    assert len(whole.evaluations) > 1
    _kill(subject, results, n_steps + 1, clock=SteppingClock(), **limits)
    shutil.copytree(results, tmp_path / "copy")
    steps = Steps()
    resumed = _run(subject, results, clock=SteppingClock(), observer=steps, **limits)
    assert steps.seen == []
    assert resumed.record.notes == whole.record.notes
    n = min(len(resumed.evaluations), len(whole.evaluations))
    assert n > 1
    assert resumed.comparable()[:n] == whole.comparable()[:n]
    # Without its weights nothing says what it had become.
    (_folder(tmp_path / "copy") / "weights" / "super-network.safetensors").unlink()
    with pytest.raises(UserError, match=r"the weights of 'super-network' are missing; remove the folder"):
        _run(subject, tmp_path / "copy", clock=SteppingClock(), **limits)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs a POSIX system")
def test_a_read_only_results_folder_is_one_line(subject):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(UserError, match=r"cannot write to the results folder .*: Permission denied"):
                _run(subject, Path(folder) / "results")
        finally:
            os.seteuid(user)


def test_results_in_a_file_are_one_line(subject, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match=r"cannot write to the results folder .*: Not a directory"):
        _run(subject, file)
    assert file.read_text() == "mine"


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
def test_a_method_that_changed_its_mind_cannot_be_resumed(results, tmp_path, monkeypatch, order, message):
    subject = MethodSubject(Fickle, tmp_path, n_evaluations=None)
    _kill(subject, results, 2)
    before = (_folder(results) / "evaluations.jsonl").read_bytes()
    monkeypatch.setattr(Fickle, "order", order)
    with pytest.raises(UserError, match=message):
        _run(subject, results)
    assert (_folder(results) / "evaluations.jsonl").read_bytes() == before


def test_the_end_of_the_budget_in_training_leaves_nothing_to_rank(results, tmp_path):
    outcome = _run(MethodSubject(Trains, tmp_path, n_evaluations=None), results, clock=SteppingClock(), budget_s=10)
    assert outcome.record.status == "failed"
    assert outcome.record.reason.startswith("the method ended, or its budget did, before anything was evaluated")
    assert sum(outcome.record.charged_s.values()) >= 10


def test_a_resumed_run_has_the_budget_it_had_left(subject, results):
    whole = _run(subject, results / "whole", clock=SteppingClock())
    _kill(subject, results / "killed", 3, clock=SteppingClock())
    recorded = RunFolder(_folder(results / "killed")).read_evaluations()
    resumed = _run(subject, results / "killed", clock=SteppingClock())
    assert resumed.evaluations[:3] == recorded
    elapsed = [e.elapsed_s for e in resumed.evaluations]
    assert elapsed == sorted(set(elapsed))
    # What was repeated cost nothing: the same seconds as undisturbed, but for a few readings of the clock.
    assert elapsed[-1] == pytest.approx(whole.evaluations[-1].elapsed_s, abs=5)
    assert resumed.record.uncharged_s["repeating"] > 0
    assert resumed.record.started_at is not None


def test_leftovers_of_files_being_replaced_are_cleared_away(interrupted_training, results):
    subject, checkpoint = interrupted_training
    folder = checkpoint.parents[1]
    (folder / "weights").mkdir(exist_ok=True)
    for name in ("checkpoints/.training.pt.ab12", ".run.json.x_y", "weights/.a.safetensors.q"):
        (folder / name).write_text("half")
    _run(subject, results)
    names = {path.name for path in folder.rglob(".*")}
    assert names == {".lock"}
    assert not checkpoint.parent.exists()


def test_without_any_budget_there_is_nothing_to_run(subject, results):
    model = dataclasses.replace(TINY_BERT, track="paper")
    with pytest.raises(UserError, match="task 'tiny-pair' has no budget for 'tiny-bert' on a cpu; give --budget"):
        _run(subject, results, model=model, budget_s=None)
    assert not results.exists()
    outcome = _run(subject, results, model=model, budget_s=None, max_evaluations=2)
    assert len(outcome.evaluations) == 2
    assert json.loads((_folder(results) / "run.json").read_text())["identity"]["budget_s"] is None


def test_roberta_runs_too(subject, results):
    outcome = _run(subject, results, model=TINY_ROBERTA)
    assert outcome.record.status == "complete"
    assert len(outcome.evaluations) == len(CONFIGS)


def test_precision_follows_the_device():
    assert loading.default_precision(torch.device("cpu")) in ("fp32", "bf16")


def test_ten_seeds_count(subject, results):
    reasons = [_run(subject, results, seed=seed).record.unofficial for seed in (9, 10)]
    assert [any("seed" in reason for reason in of_one) for of_one in reasons] == [False, True]
    assert "seed 10 is not one of 0 to 9" in reasons[1]


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
def test_a_declaration_that_was_changed_is_not_resumed(subject, results, change, message):
    _kill(subject, results, 2, budget_s=None)
    before = _snapshot(_folder(results))
    with pytest.raises(UserError, match=f"cannot resume .*{message}"):
        _run(subject, results, budget_s=None, **change(subject.task, subject.model))
    assert _snapshot(_folder(results)) == before


def test_what_cannot_be_loaded_leaves_no_folder(subject, results, tmp_path):
    model = dataclasses.replace(TINY_BERT, generator=None, local_folder=str(tmp_path / "missing"))
    with pytest.raises(UserError):
        _run(subject, results, model=model)
    assert list(results.rglob(".lock")) == []


class InterruptsAt(Observer):
    """Ctrl-C after a step of training."""

    def __init__(self, step):
        self.step = step

    def training(self, done, total, elapsed_s):  # noqa: ARG002
        if done == self.step:
            raise KeyboardInterrupt


def test_an_interrupt_costs_no_step_of_training(results, tmp_path):
    subject = MethodSubject(Trains, tmp_path, n_evaluations=None)
    with pytest.raises(KeyboardInterrupt):
        _run(subject, results, observer=InterruptsAt(5))
    steps = Steps()
    resumed = _run(subject, results, observer=steps)
    assert steps.seen[0][0] == 6
    assert resumed.comparable() == _run(subject, tmp_path / "whole").comparable()


def test_half_a_step_is_not_kept(results, tmp_path, monkeypatch):
    subject = MethodSubject(Trains, tmp_path, n_evaluations=None)
    decay_others = ActiveVocabulary.decay_others

    def interrupted(self, factor):
        decay_others(self, factor)
        raise KeyboardInterrupt

    monkeypatch.setattr(ActiveVocabulary, "decay_others", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _run(subject, results)
    monkeypatch.setattr(ActiveVocabulary, "decay_others", decay_others)
    assert not (_folder(results) / "checkpoints" / "training.pt").exists()
    assert _run(subject, results).comparable() == _run(subject, tmp_path / "whole").comparable()
