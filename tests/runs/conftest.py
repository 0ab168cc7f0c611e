from __future__ import annotations

import itertools

import pytest
from support.runs import Evaluates, PushedClock

from nasbench.plugins.method import Method
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.evaluation import Evaluator


@pytest.fixture
def subject(tmp_path):
    return MethodSubject(Evaluates, tmp_path, n_evaluations=None)


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def run_function(tmp_path):
    """Runs a function of the problem as a method; returns the outcome."""
    numbers = itertools.count()
    spaces = ("small", "medium", "layer", "large")

    def carry_out(function, results=None, clock=None, observer=None, task=TINY_PAIR, **changes):
        attributes = {"name": "toy", "summary": "toy", "spaces": spaces, "run": lambda _, problem: function(problem)}
        subject = MethodSubject(type("Toy", (Method,), attributes), tmp_path, task=task, n_evaluations=None)
        results = results or tmp_path / f"results-{next(numbers)}"
        return subject.run(results, observer, clock, **{"budget_s": 1e6, **changes})

    return carry_out


@pytest.fixture
def timed(monkeypatch):
    """A clock on which a validation takes 100 s and a test 1,000 s."""
    clock, logits = PushedClock(), Evaluator._over_batches

    def slow(self, run):
        clock.seconds += 1000.0 if len(self.labels) == 32 else 100.0
        return logits(self, run)

    monkeypatch.setattr(Evaluator, "_over_batches", slow)
    return clock
