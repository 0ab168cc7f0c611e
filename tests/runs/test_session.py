"""Trainings inside a run, and super-networks that the runs of an experiment share."""

import dataclasses

import pytest
from support.runs import QUICK, FineTunes, PushedClock, folder_of

from nasbench.errors import UserError
from nasbench.methods.local_search import LocalSearch
from nasbench.methods.random_search import RandomSearch
from nasbench.methods.s_nas import StandardNAS
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.runs import session
from nasbench.runs.observer import Observer
from nasbench.testing.subject import Killed, KillingObserver, MethodSubject, SteppingClock
from nasbench.training.evaluation import Evaluator
from nasbench.training.strategies import FINE_TUNING_STEP, TrainingStrategy
from nasbench.training.trainer import Trainer

SHARED = {"shares_super_networks": True}


def test_checkpoint_interval_is_a_minute():
    assert session.CHECKPOINT_INTERVAL_S == 60.0


@pytest.fixture
def steps(monkeypatch):
    """A list that grows by one element at every optimizer step."""
    made, step = [], Trainer._make_step

    def noting(self):
        made.append(self.step)
        step(self)

    monkeypatch.setattr(Trainer, "_make_step", noting)
    return made


def test_training_until_epoch_0_is_refused(tmp_path, steps):
    class CountsFromZero(FineTunes):
        def run(self, problem):
            problem.training(problem.pretrained("fine-tuned")).run(until_epoch=0)

    outcome = MethodSubject(CountsFromZero, tmp_path).run(tmp_path / "results")
    assert outcome.record.status == "failed"
    assert "until_epoch = 0; epochs are counted from 1" in outcome.record.reason
    assert steps == []


def _subject(tmp_path, searcher=RandomSearch, options=QUICK):
    return MethodSubject(WeightSharingNAS, tmp_path, options, searcher, n_evaluations=5)


def _super_networks(results):
    return sorted(results.rglob("super-networks/*.safetensors"))


def test_shared_super_network_is_trained_once_and_charged_to_each_run(tmp_path, steps):
    shared = tmp_path / "shared"
    first = _subject(tmp_path).run(shared, clock=SteppingClock(), **SHARED)
    n_steps = len(steps)
    assert n_steps > 0
    second = _subject(tmp_path, LocalSearch).run(shared, clock=SteppingClock(), **SHARED)
    assert len(steps) == n_steps
    assert len(_super_networks(shared)) == 1
    assert second.record.charged_s["training"] == first.record.charged_s["training"] > n_steps
    assert [e.charged_s["training"] for e in second.evaluations] == [first.record.charged_s["training"]] * 5
    (note,) = second.record.notes
    assert "trained by another run of this experiment" in note
    assert first.record.notes == []

    # The evaluations equal those of a run that trains its own super-network.
    alone = _subject(tmp_path, LocalSearch).run(tmp_path / "alone")
    assert len(steps) == 2 * n_steps
    assert second.comparable() == alone.comparable()
    assert _super_networks(tmp_path / "alone") == []


def test_space_can_be_searched_on_a_super_network_trained_in_another_space(tmp_path, steps):
    shared = tmp_path / "shared"
    _subject(tmp_path).run(shared, **SHARED)
    n_steps = len(steps)
    elsewhere = dataclasses.replace(QUICK, training_space="small")
    second = _subject(tmp_path, options=elsewhere).run(shared, space="layer", **SHARED)
    assert len(steps) == n_steps
    assert second.comparable() == _subject(tmp_path, options=elsewhere).run(space="layer").comparable()


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (dataclasses.replace(QUICK, strategy="full"), {}),
        (dataclasses.replace(QUICK, learning_rate=2e-3), {}),
        (dataclasses.replace(QUICK, training_space="layer"), {}),
        (QUICK, {"space": "layer"}),
        (QUICK, {"seed": 5}),
        (QUICK, {"precision": "bf16"}),
    ],
)
def test_different_training_is_not_shared(tmp_path, steps, options, changes):
    shared = tmp_path / "shared"
    _subject(tmp_path).run(shared, **SHARED)
    n_steps = len(steps)
    _subject(tmp_path, LocalSearch, options).run(shared, **SHARED, **changes)
    assert len(steps) == 2 * n_steps
    assert len(_super_networks(shared)) == 2


@pytest.mark.parametrize("changed", ["step", "sample"])
def test_training_with_a_strategy_of_a_methods_own_is_not_shared(tmp_path, steps, changed):
    """Its values say the same as those of the suite's strategy, but it trains other sub-networks."""

    class Own(TrainingStrategy):
        def sample(self, space, rng):
            return space.smallest if changed == "sample" else super().sample(space, rng)

        def step(self, step, n_steps, space, rng):
            return FINE_TUNING_STEP if changed == "step" else super().step(step, n_steps, space, rng)

    class OwnStrategy(WeightSharingNAS):
        def run(self, problem):
            network = problem.pretrained("super-network")
            problem.training(network, Own(), self.options.of(problem.model.super_network)).run()
            problem.evaluate(network, problem.space.largest)

    shared = tmp_path / "shared"
    _subject(tmp_path).run(shared, **SHARED)
    n_steps = len(steps)
    MethodSubject(OwnStrategy, tmp_path, QUICK, RandomSearch).run(shared, **SHARED)
    assert len(steps) == 2 * n_steps
    assert len(_super_networks(shared)) == 1


def test_changed_engine_trains_again(tmp_path, steps, monkeypatch):
    shared = tmp_path / "shared"
    _subject(tmp_path).run(shared, **SHARED)
    n_steps = len(steps)
    monkeypatch.setattr("nasbench.records.provenance.engine_sha256", lambda: "changed")
    _subject(tmp_path, LocalSearch).run(shared, **SHARED)
    assert len(steps) == 2 * n_steps


@pytest.fixture
def real_time(monkeypatch):
    """A clock on which a step takes 1 s, and an evaluation 1 s: nothing else takes time."""
    clock, step, logits = PushedClock(), Trainer._make_step, Evaluator._over_batches

    def slow_step(self):
        clock.seconds += 1.0
        step(self)

    def slow_evaluation(self, run):
        clock.seconds += 1.0
        return logits(self, run)

    monkeypatch.setattr(Trainer, "_make_step", slow_step)
    monkeypatch.setattr(Evaluator, "_over_batches", slow_evaluation)
    return clock


class Notices(Observer):
    def __init__(self):
        self.texts = []

    def notice(self, text):
        self.texts.append(text)


@pytest.mark.parametrize("budget_s", [6.0, 8.0, 12.0, 16.0])
@pytest.mark.parametrize("method", [FineTunes, WeightSharingNAS])
def test_training_leaves_time_for_an_evaluation(tmp_path, real_time, method, budget_s):
    options = dataclasses.replace(QUICK, epochs=10) if method is WeightSharingNAS else None
    subject, observer = MethodSubject(method, tmp_path, options, n_evaluations=None), Notices()
    outcome = subject.run(observer=observer, clock=real_time, budget_s=budget_s)
    assert outcome.record.status == "complete"
    assert outcome.evaluations[0].elapsed_s <= budget_s
    ((name, n_steps),) = outcome.record.shortened_trainings.items()
    n_declared = 90 if method is WeightSharingNAS else 18
    assert outcome.record.charged_s["training"] == n_steps < n_declared
    assert outcome.record.notes == [
        f"training of {name!r} was shortened from {n_declared} to {n_steps} steps, "
        f"because the budget of {budget_s:g} s held no more"
    ]
    assert len(observer.texts) == 1
    assert observer.texts[0].startswith(f"the training of {name!r} is shortened from {n_declared} to about ")
    assert observer.texts[0].endswith(", with time left to evaluate")


def test_notice_says_that_an_evaluation_may_not_fit(tmp_path, real_time, monkeypatch):
    monkeypatch.setattr("nasbench.training.pace.PASS_SHARE", 100.0)
    subject, observer = MethodSubject(FineTunes, tmp_path, None, n_evaluations=None), Notices()
    subject.run(observer=observer, clock=real_time, budget_s=8.0)
    assert observer.texts[0].endswith("what is left may be too short for an evaluation; give a larger --budget")


def test_training_that_fits_is_not_shortened(tmp_path, real_time):
    subject, observer = MethodSubject(FineTunes, tmp_path, n_evaluations=None), Notices()
    outcome = subject.run(observer=observer, clock=real_time, budget_s=50.0)
    assert (outcome.record.shortened_trainings, outcome.record.notes, observer.texts) == ({}, [], [])
    assert outcome.comparable() == subject.run(budget_s=1e6).comparable()


def test_lost_weights_of_a_shortened_fine_tuning_are_not_trained_again(tmp_path, real_time):
    subject, results = MethodSubject(FineTunes, tmp_path, n_evaluations=None), tmp_path / "killed"
    with pytest.raises(Killed):
        subject.run(results, KillingObserver(15), real_time, budget_s=16.0)
    weights = folder_of(results) / "weights" / "fine-tuned.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    with pytest.raises(UserError, match=r"the weights of 'fine-tuned' are missing; remove the folder"):
        subject.run(results, clock=real_time, budget_s=16.0)
    weights.write_bytes(kept)
    resumed = subject.run(results, clock=real_time, budget_s=16.0)
    assert resumed.record.shortened_trainings == {"fine-tuned": 13}
    assert len(resumed.record.notes) == 1


def test_training_ends_at_its_share_if_the_machine_stalls_near_its_end(tmp_path, real_time, monkeypatch):
    step = Trainer._make_step

    def stalling(self):
        real_time.seconds += 1000.0 if self.step == 86 else 0.0
        step(self)

    monkeypatch.setattr(Trainer, "_make_step", stalling)
    subject = _subject(tmp_path, options=dataclasses.replace(QUICK, epochs=10))
    outcome = subject.run(clock=real_time, budget_s=1300.0, **SHARED)
    assert outcome.record.notes == [
        "training of 'super-network' ended at step 87 of 90, where 80% of the budget was spent"
    ]
    assert outcome.record.status == "complete"
    assert outcome.record.shortened_trainings == {"super-network": 87}


def test_later_trainings_are_not_shortened(tmp_path, real_time):
    subject = MethodSubject(StandardNAS, tmp_path, searcher=RandomSearch, n_evaluations=None)
    outcome = subject.run(clock=real_time, budget_s=50.0)
    assert len(outcome.evaluations) in (2, 3)
    assert outcome.record.shortened_trainings == {}


def test_shortened_training_is_not_shared(tmp_path, real_time):
    subject = _subject(tmp_path, options=dataclasses.replace(QUICK, epochs=10))
    assert subject.run(tmp_path / "shared", clock=real_time, budget_s=30.0, **SHARED).record.shortened_trainings
    assert _super_networks(tmp_path / "shared") == []


def test_training_cut_by_the_budget_is_not_shared(tmp_path, steps):
    shared, short = tmp_path / "shared", {"budget_s": 20.0}
    cut = _subject(tmp_path).run(shared, clock=SteppingClock(), **SHARED, **short)
    assert "was shortened from" in cut.record.notes[0]
    assert _super_networks(shared) == []
    n_cut = len(steps)

    _subject(tmp_path, LocalSearch).run(shared, clock=SteppingClock(), **SHARED)
    assert len(_super_networks(shared)) == 1
    n_whole = len(steps) - n_cut
    assert n_whole > n_cut
    again = _subject(tmp_path, LocalSearch).run(shared, clock=SteppingClock(), **SHARED, **short)
    assert len(steps) == n_cut + n_whole + n_cut
    assert again.record.notes == cut.record.notes


@pytest.mark.parametrize("kill_at", [1, 2, 4])
def test_run_on_a_shared_super_network_resumes(tmp_path, steps, kill_at):
    shared, resumed = tmp_path / "shared", _subject(tmp_path, LocalSearch)
    first = _subject(tmp_path).run(shared, clock=SteppingClock(), **SHARED)
    n_steps = len(steps)
    with pytest.raises(Killed):
        resumed.run(shared, KillingObserver(kill_at), SteppingClock(), **SHARED)
    outcome = resumed.run(shared, clock=SteppingClock(), **SHARED)
    assert len(steps) == n_steps
    assert outcome.record.charged_s["training"] == first.record.charged_s["training"]
    assert outcome.comparable() == resumed.run(tmp_path / "whole").comparable()


def test_run_that_began_its_own_training_continues_it(tmp_path, steps, monkeypatch):
    monkeypatch.setattr(session, "CHECKPOINT_INTERVAL_S", 0.0)
    shared, resumed = tmp_path / "shared", _subject(tmp_path, LocalSearch)
    with pytest.raises(Killed):
        resumed.run(shared, KillingObserver(4), **SHARED)
    n_begun = len(steps)
    _subject(tmp_path).run(shared, **SHARED)
    n_other = len(steps) - n_begun
    outcome = resumed.run(shared, **SHARED)
    assert len(steps) > n_begun + n_other
    assert outcome.record.notes == []


def test_damaged_shared_super_network_is_rejected_with_one_line(tmp_path):
    shared = tmp_path / "shared"
    _subject(tmp_path).run(shared, **SHARED)
    (file,) = _super_networks(shared)
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(UserError, match=r"cannot read the shared super-network .*; delete it"):
        _subject(tmp_path, LocalSearch).run(shared, **SHARED)
