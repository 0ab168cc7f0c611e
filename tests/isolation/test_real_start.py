"""Methods in processes that start as users' do, without the server of ``quick_start.py``."""

import re

import pytest

from nasbench.baselines.layer_dropping import LayerDropping
from nasbench.isolation import process, server
from nasbench.testing.subject import SEED, MethodSubject

START = process.start


@pytest.fixture
def run_slowly_started(run_isolated, monkeypatch):
    monkeypatch.setattr(process, "start", START)
    monkeypatch.setattr(server, "FREE_S", 60.0)  # such a process imports while it loads the network
    return run_isolated


def test_an_honest_method_makes_the_evaluations_of_a_run_in_process(run_slowly_started, tmp_path):
    settings = {"epochs": 1, "batch_size": 8}
    subject = MethodSubject(LayerDropping, tmp_path, LayerDropping.Options(**settings), n_evaluations=3)
    changes = {"settings": [f"{name}={value}" for name, value in settings.items()], "budget_s": None, "seed": SEED}
    found = run_slowly_started("layer-dropping", max_evaluations=3, **changes)
    assert (found.record.status, found.record.reason) == ("complete", None)
    assert found.comparable() == subject.run().comparable()


def test_a_method_that_goes_on_is_ended(run_slowly_started):
    outcome = run_slowly_started("loops", budget_s=3.0)
    assert outcome.record.status == "failed"
    assert re.match(r"the method went on [0-9.]+ s after its budget of 3 s was spent", outcome.record.reason)
    assert len(outcome.evaluations) == 1
