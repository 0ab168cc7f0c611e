"""Distillation: which layers, heads and units students keep, and the contract."""

import numpy as np
import pytest
from transformers import BertForSequenceClassification

from nasbench.baselines.distillation import (
    DistillationOptions,
    DistilledStudents,
    kept_layers,
    mapped_depths,
    students,
    thinned,
)
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.runs.problem import Problem
from nasbench.testing import MethodContract
from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_SINGLE

TINY = Dimensions(n_layers=3, n_heads=4, n_units=6, hidden_size=8, head_size=2, n_fixed_params=100)


class TestDistillation(MethodContract):
    method = DistilledStudents


def test_layers_of_published_students():
    # distilbert-base-uncased starts with these layers of BERT-base.
    assert kept_layers(12, 6).tolist() == [0, 2, 4, 7, 9, 11]
    assert kept_layers(6, 3).tolist() == [0, 2, 5]
    assert kept_layers(6, 1).tolist() == [0]
    assert kept_layers(3, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("n_layers", [1, 2, 3, 6, 12, 30])
def test_students_differ_and_are_smaller_than_the_network(n_layers):
    found = [(tuple(layers.tolist()), width) for layers, width in students(n_layers)]
    assert len(set(found)) == len(found) >= 1
    for layers, width in found:
        assert len(set(layers)) == len(layers) <= n_layers
        assert (len(layers), width) != (n_layers, 1.0)


def test_depths_cover_the_teacher_in_order():
    assert mapped_depths(np.array([0, 2, 4, 7, 9, 11]), 12) == ((1, 2), (3, 4), (5, 7), (8, 9), (10, 11), (12, 12))
    assert mapped_depths(np.array([0]), 6) == ((1, 6),)
    assert mapped_depths(np.arange(3), 3) == ((1, 1), (2, 2), (3, 3))


def test_narrow_student_keeps_the_most_important_heads_and_units():
    heads = np.array([[1.0, 4.0, 2.0, 3.0]] * 3)
    units = np.array([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [1, 2, 3, 4, 5, 6], [0, 0, 0, 2, 1, 3]])
    found = thinned(SubNetwork.full(TINY), np.array([0, 2]), 0.5, heads, units)
    assert found.heads.astype(int).tolist() == [[0, 1, 0, 1], [0] * 4, [0, 1, 0, 1]]
    assert found.units.astype(int).tolist() == [[1, 1, 1, 0, 0, 0], [0] * 6, [0, 0, 0, 1, 1, 1]]
    whole = thinned(SubNetwork.full(TINY), np.array([1]), 1.0, heads, units)
    assert (whole.head_counts.tolist(), whole.unit_counts.tolist()) == ([0, 4, 0], [0, 6, 0])
    least = thinned(SubNetwork.full(TINY), np.array([1]), 0.01, heads, units)
    assert (least.head_counts.tolist(), least.unit_counts.tolist()) == ([0, 1, 0], [0, 1, 0])


def test_heads_that_the_network_lacks_are_not_kept():
    dims = Dimensions(**{**TINY.to_json(), "heads_by_layer": [1, 4, 0], "units_by_layer": [2, 6, 0]})
    heads, units = np.ones((3, 4)), np.ones((3, 6))
    found = thinned(SubNetwork.full(dims), np.arange(3), 0.5, heads, units)
    found.check(dims)
    assert (found.head_counts.tolist(), found.unit_counts.tolist()) == ([1, 2, 0], [1, 3, 0])


def test_students_start_with_the_layers_of_their_teacher_and_learn_from_it(tmp_path, monkeypatch):
    seen, train = [], Problem.training

    def training(self, network, strategy=None, fine_tuning=None, distillation=None):
        if distillation is not None:
            full = distillation.teacher.model
            assert isinstance(full, BertForSequenceClassification)
            for layer in np.flatnonzero(network.subnetwork.head_counts):
                ours, theirs = network.model.bert.encoder.layer[layer], full.bert.encoder.layer[layer]
                kept = np.flatnonzero(np.repeat(network.subnetwork.heads[layer], 8))
                np.testing.assert_array_equal(
                    ours.attention.self.query.weight.detach(), theirs.attention.self.query.weight.detach()[kept]
                )
            seen.append((network.name, distillation.depths, distillation.temperature, distillation.hidden_weight))
        return train(self, network, strategy, fine_tuning, distillation)

    monkeypatch.setattr(Problem, "training", training)
    options = DistillationOptions(epochs=1, temperature=4.0, hidden_weight=0.5)
    outcome = MethodSubject(DistilledStudents, tmp_path, options, n_evaluations=None).run(budget_s=1e6)
    assert outcome.record.reason is None
    assert seen == [
        ("layers-2-width-1", ((1, 2), (3, 3)), 4.0, 0.5),
        ("layers-1-width-1", ((1, 3),), 4.0, 0.5),
        ("layers-2-width-0.5", ((1, 2), (3, 3)), 4.0, 0.5),
        ("layers-1-width-0.5", ((1, 3),), 4.0, 0.5),
    ]
    assert [sum(e.head_counts) for e in outcome.evaluations] == [12, 8, 4, 4, 2]
    assert [sum(e.unit_counts) for e in outcome.evaluations] == [144, 96, 48, 48, 24]
    space = Large(Dimensions.from_json(outcome.record.dimensions))
    networks = [space.to_subnetwork(space.from_json(e.config)) for e in outcome.evaluations]
    assert [network.n_active_layers for network in networks] == [3, 2, 1, 2, 1]


@pytest.mark.parametrize(("change", "message"), [({"temperature": 0.0}, "positive"), ({"hidden_weight": -1.0}, "0 or")])
def test_options_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        DistillationOptions(**change)


def test_no_epochs_are_refused(tmp_path):
    model = save_tiny(TINY_BERT, TINY_SINGLE, tmp_path / "model")  # a trained classifier
    options = DistillationOptions(epochs=0)
    outcome = MethodSubject(DistilledStudents, tmp_path, options, task=TINY_SINGLE, model=model).run()
    assert outcome.record.reason == "epochs = 0 trains no student, so that none would learn; set epochs to 1 or more"
    assert len(outcome.evaluations) == 0


def test_strategy_and_distillation_exclude_each_other(tmp_path):
    from nasbench.training.distillation import Distillation
    from nasbench.training.strategies import TrainingStrategy

    class Both(DistilledStudents):
        def run(self, problem):
            network = problem.pretrained()
            problem.training(network, TrainingStrategy(), distillation=Distillation(network, (), 1.0, 0.0))

    record = MethodSubject(Both, tmp_path).run().record
    assert "a training has a strategy, a distillation or gates, not several" in record.reason
