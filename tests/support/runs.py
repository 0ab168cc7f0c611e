"""Small methods, and helpers that run, kill and inspect them."""

import dataclasses

import pytest

from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.plugins.method import Method
from nasbench.runs.observer import Observer
from nasbench.testing.subject import Killed, KillingObserver
from nasbench.training.configuration import SuperNetworkOptions
from nasbench.training.strategies import TrainingStrategy

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
    """Fine-tunes a network, drives it off the front, and evaluates more of its sub-networks."""

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


class Trains(Method):
    """Trains a super-network and evaluates it once."""

    name, summary = "trains", "for tests"

    def run(self, problem):
        network = problem.pretrained("trained")
        problem.training(network, TrainingStrategy("standard")).run()
        problem.evaluate(network, CONFIGS[0])


class Steps(Observer):
    """Notes every training step with the budget spent by then and the number of steps of the training."""

    def __init__(self):
        self.seen = []

    def training(self, done, total, elapsed_s):
        self.seen.append((done, elapsed_s, total))


class InterruptsAt(Observer):
    """Ctrl-C after a step of training, counted from the end of the first ``n_before`` steps of the run."""

    def __init__(self, step, n_before=0):
        self.step, self.n_before = step, n_before

    def training(self, done, total, elapsed_s):  # noqa: ARG002
        self.n_before -= 1
        if done == self.step and self.n_before < 0:
            raise KeyboardInterrupt


class PushedClock:
    """A clock that stands still unless a test pushes it."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def trained_briefly(model):
    """The model with few declared epochs, so that runs are short and every method keeps the defaults of its options."""
    # Two for a super-network: ws-nas-ordered takes the first of them to fine-tune.
    epochs = {"fine_tuning": 1, "super_network": 2}
    return dataclasses.replace(
        model, **{name: dataclasses.replace(getattr(model, name), epochs=n) for name, n in epochs.items()}
    )


def run(subject, results, **changes):
    """Run a subject with a budget that does not end it. ``observer`` and ``clock`` are taken from the changes."""
    changes = {"budget_s": 1e6, **changes}
    observer, clock = changes.pop("observer", None), changes.pop("clock", None)
    return subject.run(results, observer, clock, **changes)


def kill(subject, results, at, **changes):
    """Run a subject and kill it at event number ``at``."""
    with pytest.raises(Killed):
        run(subject, results, observer=KillingObserver(at), **changes)


def folder_of(results):
    """The folder of the only run below a results folder."""
    return next(results.rglob("run.json")).parent


def snapshot(folder):
    """The bytes of all files below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_valid_record(record, folder, task):
    """The record of a complete run of at most four evaluations is on disk, and its numbers fit each other.

    Args:
        folder: the run's ``RunFolder``.
    """
    assert (record.status, record.reason) == ("complete", None)
    assert folder.read_run() == record
    evaluations = folder.read_evaluations()
    assert 1 <= len(evaluations) <= 4
    space = make_space(record.identity.space, Dimensions.from_json(record.dimensions))
    for i, evaluation in enumerate(evaluations):
        subnetwork = space.to_subnetwork(space.from_json(evaluation.config))
        assert evaluation.index == i
        assert (evaluation.key, evaluation.status) == (subnetwork.key, "ok")
        assert evaluation.n_params == subnetwork.n_params(space.dims) == round(evaluation.params * record.n_params_full)
        assert evaluation.metrics[task.metric] == pytest.approx(1 - evaluation.error)
        assert set(evaluation.metrics) == {task.metric, *task.other_metrics}
        assert evaluation.elapsed_s == pytest.approx(sum(evaluation.charged_s.values()))
    assert evaluations[0].test_error is not None
    elapsed = [evaluation.elapsed_s for evaluation in evaluations]
    assert elapsed == sorted(elapsed)
