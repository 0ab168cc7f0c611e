"""Pruning by learned gates: the contract, and the sizes that are reached."""

import pytest

from nasbench.baselines import learned_gates
from nasbench.baselines.learned_gates import LearnedGates
from nasbench.networks.subnetwork import Dimensions
from nasbench.testing import MethodContract
from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_SINGLE
from nasbench.training.configuration import TrainingOptions


class TestContract(MethodContract):
    method = LearnedGates
    options = TrainingOptions(epochs=1)


def test_networks_have_about_the_sizes_that_were_asked_for(tmp_path, monkeypatch):
    shares = (0.35, 0.05, 0.85)  # the smallest, the largest and one in between; each takes 20 epochs
    assert {min(learned_gates.SHARES), max(learned_gates.SHARES)} < {*shares} < {*learned_gates.SHARES}
    monkeypatch.setattr(learned_gates, "SHARES", shares)
    options = TrainingOptions(epochs=20)
    outcome = MethodSubject(LearnedGates, tmp_path, options, n_evaluations=30).usual[0]
    assert outcome.record.status == "complete", outcome.record.reason
    assert len(outcome.evaluations) == 1 + len(shares)
    dims = Dimensions.from_json(outcome.record.dimensions)
    largest = dims.n_layers * (dims.n_heads * dims.n_params_per_head + dims.n_units * dims.n_params_per_unit)
    for share, evaluation in zip(shares, outcome.evaluations[1:], strict=True):
        n_kept = sum(evaluation.head_counts) * dims.n_params_per_head
        n_kept += sum(evaluation.unit_counts) * dims.n_params_per_unit
        assert n_kept / largest == pytest.approx(share, abs=0.12)


def test_no_epochs_are_refused(tmp_path):
    model = save_tiny(TINY_BERT, TINY_SINGLE, tmp_path / "model")  # a trained classifier
    subject = MethodSubject(LearnedGates, tmp_path, TrainingOptions(epochs=0), task=TINY_SINGLE, model=model)
    reason = "epochs = 0 trains no gates, so that none would close; set epochs to 1 or more"
    assert subject.run().record.reason == reason
