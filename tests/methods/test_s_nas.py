"""Standard NAS: each network is trained alone from the pre-trained weights, up to the rungs of the searcher."""

import numpy as np
import pytest
import torch

from nasbench.data.splits import load_task_data
from nasbench.methods.local_search import LocalSearch
from nasbench.methods.moasha import Moasha
from nasbench.methods.random_search import RandomSearch
from nasbench.methods.s_nas import StandardNAS
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.space import make_space
from nasbench.networks.supernet import SuperNetwork
from nasbench.records.record import RunFolder
from nasbench.runs.problem import Problem
from nasbench.runs.session import TrainingSession
from nasbench.search.searcher import Decision, MultiFidelitySearcher
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import SEED, MethodSubject
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.evaluation import Evaluator


def _run(tmp_path, searcher, n=6):
    subject = MethodSubject(StandardNAS, tmp_path, searcher=searcher, n_evaluations=n)
    return subject.run(tmp_path / "results"), RunFolder(subject.request(tmp_path / "results").folder)


def _test_error(path, evaluation, space):
    """Test error of saved weights, loaded into a newly extracted network."""
    from safetensors.torch import load_file

    stock, tokenizer, *_ = load_pretrained(TINY_BERT, TINY_PAIR, SEED)
    subnetwork = space.to_subnetwork(space.from_json(evaluation.config))
    network = SuperNetwork(stock).extract(subnetwork)
    network.model.load_state_dict(load_file(path / "weights" / f"{evaluation.weights}.safetensors"))
    test = load_task_data(TINY_PAIR, tokenizer, SEED).test
    evaluator = Evaluator(test, TINY_PAIR, tokenizer.pad_token_id, torch.device("cpu"))
    return 1 - evaluator.metrics(evaluator.logits(network))["accuracy"]


def test_each_network_is_extracted_trained_alone_and_has_the_recorded_size(tmp_path, monkeypatch):
    trained, evaluated = [], []
    run, evaluate = TrainingSession.run, Problem.evaluate

    def recording_run(self, until_epoch=None):
        trained.append({name: value.clone() for name, value in self._network.model.state_dict().items()})
        run(self, until_epoch)

    def recording_evaluate(self, network, config, epochs=None):
        evaluated.append((network, {name: value.clone() for name, value in network.model.state_dict().items()}))
        return evaluate(self, network, config, epochs)

    monkeypatch.setattr(TrainingSession, "run", recording_run)
    monkeypatch.setattr(Problem, "evaluate", recording_evaluate)
    outcome, _ = _run(tmp_path, RandomSearch, 5)
    assert [e.n_params for e in outcome.evaluations] == [network.count_params() for network, _ in evaluated]
    stock, *_ = load_pretrained(TINY_BERT, TINY_PAIR, SEED)
    space = make_space("small", SuperNetwork(stock).dims)
    for before, (_, after), evaluation in zip(trained, evaluated, outcome.evaluations, strict=True):
        subnetwork = space.to_subnetwork(space.from_json(evaluation.config))
        fresh = SuperNetwork(stock).extract(subnetwork).model.state_dict()
        assert before.keys() == fresh.keys()
        assert all(torch.equal(before[name], fresh[name]) for name in fresh)
        assert all(not torch.equal(before[name], after[name]) for name in fresh if name.startswith("classifier.w"))


def test_first_three_networks_are_fixed_and_have_the_same_values_for_every_searcher(tmp_path):
    first, _ = _run(tmp_path / "a", RandomSearch)
    second, _ = _run(tmp_path / "b", LocalSearch)
    space = make_space("small", SuperNetwork(load_pretrained(TINY_BERT, TINY_PAIR, SEED).network).dims)
    for outcome in (first, second):
        configs = [space.from_json(e.config) for e in outcome.evaluations[:3]]
        np.testing.assert_array_equal(configs, [space.largest, space.smallest, space.midpoint])
    assert [e.metrics for e in first.evaluations[:3]] == [e.metrics for e in second.evaluations[:3]]


def test_moasha_trains_a_network_that_it_does_not_stop_as_random_search_does(tmp_path):
    alone, _ = _run(tmp_path / "a", RandomSearch, n=1)
    halved, _ = _run(tmp_path / "b", Moasha, n=2)
    assert [evaluation.epochs for evaluation in halved.evaluations] == [1, 2]
    assert TINY_BERT.fine_tuning.epochs == 2
    assert halved.evaluations[-1].metrics == alone.evaluations[0].metrics


class Scripted(MultiFidelitySearcher):
    """Stops the third trial at its first rung; every second proposal is a known network."""

    name, summary = "scripted", "for tests"
    told, reported, asked = [], [], 0
    script = (1, 2)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        type(self).told, type(self).reported = [], []

    @property
    def rungs(self):
        return self.script

    def ask(self):
        self.asked += 1
        return self.space.sample(self.rng) if self.asked % 2 else self.space.midpoint

    def tell(self, config, values):
        self.told.append((tuple(config), tuple(values)))

    def report(self, trial, epoch, values):
        self.reported.append((trial, epoch, *values))
        if epoch == self.rungs[-1]:
            return Decision.FINISHED
        return Decision.STOP if trial == 2 else Decision.CONTINUE


class AtOnce(Scripted):
    name, script = "at-once", (2,)


def test_each_rung_is_evaluated_and_reported_and_each_trial_is_told_once(tmp_path):
    outcome, folder = _run(tmp_path, Scripted, n=7)
    evaluations = outcome.evaluations
    assert [e.epochs for e in evaluations] == [1, 2, 1, 2, 1, 1, 2]
    # The limit of evaluations ends the run before the last report.
    assert [(trial, epoch) for trial, epoch, *_ in Scripted.reported] == [
        (0, 1),
        (0, 2),
        (1, 1),
        (1, 2),
        (2, 1),
        (3, 1),
    ]
    assert [values[0] for _, _, *values in Scripted.reported] == [e.error for e in evaluations[:6]]
    assert [values[0] for _, values in Scripted.told] == [evaluations[i].error for i in (1, 3, 4)]
    space = make_space("small", SuperNetwork(load_pretrained(TINY_BERT, TINY_PAIR, SEED).network).dims)
    saved = [e for e in evaluations if e.weights and (folder.path / "weights" / f"{e.weights}.safetensors").exists()]
    assert saved
    for evaluation in saved:
        assert _test_error(folder.path, evaluation, space) == pytest.approx(evaluation.test_error)


def test_a_known_network_is_not_trained_again(tmp_path):
    outcome, _ = _run(tmp_path, Scripted, n=9)
    assert len({(e.key, e.epochs) for e in outcome.evaluations}) == 9
    assert outcome.evaluations[7].n_duplicates == 1
    assert Scripted.told[4] == Scripted.told[2]


def test_training_rung_by_rung_equals_training_at_once(tmp_path):
    in_parts, _ = _run(tmp_path / "a", Scripted, n=4)
    at_once, _ = _run(tmp_path / "b", AtOnce, n=2)
    assert [e.metrics for e in in_parts.evaluations[1::2]] == [e.metrics for e in at_once.evaluations]
