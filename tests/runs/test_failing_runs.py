"""Failures of methods and searchers: the record says the reason and keeps all evaluations."""

import os
import re

import pytest
import torch
from support.runs import CONFIGS, QUICK, folder_of

from nasbench.errors import NasbenchError, UserError
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.plugins.method import Method
from nasbench.records.record import RunFolder
from nasbench.search.searcher import Searcher
from nasbench.testing.subject import MethodSubject


class Fails(Method):
    """Raises after two evaluations unless it is repaired."""

    name, summary = "fails", "for tests"
    repaired = False

    def run(self, problem):
        network = problem.pretrained()
        for i, config in enumerate(CONFIGS):
            if i == 2 and not self.repaired:
                raise ZeroDivisionError("division by zero\nand more")
            problem.evaluate(network, config)


def test_method_that_raises_keeps_its_evaluations(results, tmp_path, monkeypatch):
    subject = MethodSubject(Fails, tmp_path, n_evaluations=9)
    outcome = subject.run(results)
    assert outcome.record.status == "failed"
    assert outcome.record.reason.startswith("ZeroDivisionError in test_failing_runs.py:")
    assert "division by zero" in outcome.record.reason
    assert [e.index for e in outcome.evaluations] == [0, 1]
    # With a repaired method, the same run resumes.
    monkeypatch.setattr(Fails, "repaired", True)
    again = subject.run(results)
    assert (again.record.status, again.record.reason) == ("complete", None)
    assert again.evaluations[:2] == outcome.evaluations
    assert len(again.evaluations) == len(CONFIGS)


class Nothing(Method):
    name, summary = "nothing", "for tests"

    def run(self, problem):
        """Reports nothing."""


def test_run_without_evaluations_fails(results, tmp_path):
    outcome = MethodSubject(Nothing, tmp_path).run(results)
    assert outcome.record.status == "failed"
    assert outcome.record.reason.startswith("the method ended, or its budget did, before anything was evaluated")


class Stubborn(Searcher):
    name, summary = "stubborn", "proposes configurations outside the space"

    def ask(self):
        return self.space.upper + 1

    def tell(self, config, values):
        pass


def test_searcher_that_proposes_outside_the_space_fails_the_run(results, tmp_path):
    outcome = MethodSubject(WeightSharingNAS, tmp_path, QUICK, Stubborn, n_evaluations=9).run(results)
    assert outcome.record.status == "failed"
    assert "searcher 'stubborn' proposed" in outcome.record.reason
    assert len(outcome.evaluations) == 3


class BreaksAtOnce(Searcher):
    name, summary = "breaks-at-once", "raises when it is made"

    def __init__(self, space, rng, options=None):
        super().__init__(space, rng, options)
        raise ZeroDivisionError("no searcher\ntoday")

    def ask(self):
        return self.space.largest

    def tell(self, config, values):
        pass


class NeverMade(Method):
    name, summary = "never-made", "for tests"

    def __init__(self, options=None):
        super().__init__(options)
        raise OSError("no method today")

    def run(self, problem):
        """Is never called."""


class Refuses(Method):
    name, summary = "refuses", "for tests"

    def run(self, problem):  # noqa: ARG002
        raise UserError("these options do not go together")


class Leaves(Method):
    name, summary = "leaves", "for tests"

    def run(self, problem):
        problem.evaluate(problem.pretrained(), CONFIGS[0])
        raise SystemExit(0)


class GoesOn(Method):
    name, summary = "goes-on", "for tests"

    def run(self, problem):
        network = problem.pretrained()
        while True:
            try:
                problem.evaluate(network, problem.space.sample(problem.rng))
            except Exception:  # noqa: BLE001
                continue


class BreaksItsNetwork(Method):
    name, summary = "breaks-its-network", "for tests"

    def run(self, problem):
        network = problem.pretrained()
        with torch.no_grad():
            network.model.classifier.weight.fill_(float("nan"))
        for config in CONFIGS[:2]:
            problem.evaluate(network, config)


@pytest.mark.parametrize(
    ("method", "searcher", "reason", "n_evaluations"),
    [
        (WeightSharingNAS, BreaksAtOnce, r"ZeroDivisionError in test_failing_runs\.py:\d+: no searcher today$", 0),
        (NeverMade, None, r"OSError in test_failing_runs\.py:\d+: no method today$", 0),
        (Refuses, None, "^these options do not go together$", 0),
        (Leaves, None, r"SystemExit in test_failing_runs\.py:\d+: 0$", 1),
        (GoesOn, None, "went on although the limit of 3 evaluations is reached; let BudgetExhausted pass", 3),
        (BreaksItsNetwork, None, "^all 2 evaluations failed; the first: ", 2),
    ],
)
def test_record_says_why_a_plugin_failed(results, tmp_path, method, searcher, reason, n_evaluations):
    outcome = MethodSubject(method, tmp_path, searcher=searcher, n_evaluations=3).run(results)
    assert outcome.record.status == RunFolder(folder_of(results)).read_run().status == "failed"
    assert re.search(reason, outcome.record.reason)
    assert len(outcome.evaluations) == n_evaluations


def test_full_disk_leaves_the_run_resumable(results, tmp_path, monkeypatch):
    monkeypatch.setattr(Fails, "repaired", True)
    subject = MethodSubject(Fails, tmp_path, n_evaluations=9)
    fsync, n_calls = os.fsync, 0

    def full_after_some(descriptor):
        nonlocal n_calls
        n_calls += 1
        if n_calls > 4:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_some)
    with pytest.raises(NasbenchError, match=r"^cannot write .*: No space left on device$"):
        subject.run(results)
    assert [path for path in folder_of(results).rglob(".*") if path.name != ".lock"] == []
    monkeypatch.setattr(os, "fsync", fsync)
    assert RunFolder(folder_of(results)).read_run().status == "running"
    assert subject.run(results).record.status == "complete"
