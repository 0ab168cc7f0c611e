"""Magnitude pruning: norms against single weights of the stock modules, what is removed, and the contract."""

import itertools

import numpy as np
import pytest
import torch

from nasbench.baselines import magnitude
from nasbench.baselines.magnitude import RATIOS, MagnitudeOptions, MagnitudePruning, norms
from nasbench.baselines.masks.calibration import ready_network
from nasbench.baselines.masks.shares import without_smallest
from nasbench.masks.sample import Sample
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import Dimensions
from nasbench.testing import MethodContract
from nasbench.testing.contract import stopped_anywhere
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA
from nasbench.testing.models import TINY_BERT
from nasbench.testing.networks import tiny_network
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR, TINY_TEXT


class TestMagnitude(MethodContract):
    method = MagnitudePruning


def test_pruned_networks_trained_again_can_be_stopped_anywhere(tmp_path):
    options = MagnitudeOptions(then="training", epochs=1)
    stopped_anywhere(MethodSubject(MagnitudePruning, tmp_path, options, n_evaluations=3))


def test_pruned_networks_are_not_trained_again_for_no_epochs():
    with pytest.raises(ValueError, match="epochs = 0 trains no pruned network either"):
        MagnitudeOptions(then="training", epochs=0)
    MagnitudeOptions(then="nothing", epochs=0)


def test_norms_are_those_of_the_stock_weights():
    network = tiny_network(TINY_BERT, TINY_PAIR).network
    heads, units = norms(network)
    for i, layer in enumerate(network.model.bert.encoder.layer):
        own = layer.attention.self
        for h in range(4):
            rows = slice(8 * h, 8 * h + 8)
            parts = [own.query.weight[rows], own.key.weight[rows], own.value.weight[rows]]
            parts.append(layer.attention.output.dense.weight[:, rows])
            assert heads[i, h] == pytest.approx(float(torch.cat([p.detach().flatten() for p in parts]).norm()))
        for u in range(48):
            parts = [layer.intermediate.dense.weight[u], layer.output.dense.weight[:, u]]
            assert units[i, u] == pytest.approx(float(torch.cat([p.detach() for p in parts]).norm()))


@pytest.mark.parametrize("model", [TINY_GPT2, TINY_LLAMA], ids=lambda model: model.name)
def test_squared_norms_add_up_to_those_of_all_projections(model):
    """Rows and columns of joint and gated projections are counted once each."""
    network = tiny_network(model, TINY_TEXT).network
    heads, units = norms(network)
    names = ("c_attn", "c_proj", "c_fc") if model is TINY_GPT2 else ("_proj",)
    total = sum(
        float(parameter.detach().double().square().sum())
        for name, parameter in network.model.named_parameters()
        if parameter.dim() == 2 and any(part in name for part in names)
    )
    assert float((heads**2).sum() + (units**2).sum()) == pytest.approx(total)


def test_smallest_of_each_layer_go_first():
    values = np.array([[3.0, 1.0, 2.0, 4.0], [4, 3, 2, 1]])
    present = np.array([[True] * 4, [True, True, True, False]])
    assert without_smallest(values, present, 0.5).astype(int).tolist() == [[1, 0, 0, 1], [1, 1, 0, 0]]
    assert without_smallest(values, present, 0.0).tolist() == present.tolist()
    assert without_smallest(values, present, 0.99).sum(axis=1).tolist() == [1, 1]


@pytest.mark.parametrize("then", ["masks", "nothing"])
def test_networks_keep_the_largest_norms_of_the_fine_tuned_network(tmp_path, monkeypatch, then):
    fine_tuned = []

    def ready(*arguments, **named):
        fine_tuned.append(ready_network(*arguments, **named))
        return fine_tuned[-1]

    monkeypatch.setattr(magnitude, "ready_network", ready)
    options = MagnitudeOptions(epochs=1, then=then)
    outcome = MethodSubject(MagnitudePruning, tmp_path, options, n_evaluations=None).run(budget_s=1e6)
    assert (outcome.record.status, len(outcome.evaluations)) == ("complete", 1 + len(RATIOS))
    space = Large(Dimensions.from_json(outcome.record.dimensions))
    networks = [space.to_subnetwork(space.from_json(e.config)) for e in outcome.evaluations]
    for larger, smaller in itertools.pairwise(sorted(networks, key=lambda network: -network.units.sum())):
        assert not (smaller.heads & ~larger.heads).any()
        assert not (smaller.units & ~larger.units).any()
    heads, units = norms(*fine_tuned)
    for network in networks:
        for values, kept in [*zip(heads, network.heads, strict=True), *zip(units, network.units, strict=True)]:
            assert values[kept].min() > values[~kept].max(initial=0)
    for ratio, evaluation in zip(RATIOS, outcome.evaluations[1:], strict=True):
        assert evaluation.head_counts == [4 - int(4 * ratio)] * 3
        assert evaluation.unit_counts == [48 - int(48 * ratio)] * 3
    assert outcome.record.charged_s["search"] > 0 or then == "nothing"


def test_tuned_masks_change_the_network_and_not_what_it_keeps(tmp_path):
    runs = {
        then: MethodSubject(MagnitudePruning, tmp_path / then, MagnitudeOptions(epochs=1, then=then)).run(budget_s=1e6)
        for then in ("masks", "nothing")
    }
    masks, nothing = (runs[then].evaluations for then in ("masks", "nothing"))
    assert [e.key for e in masks] == [e.key for e in nothing]
    assert masks[0].metrics == nothing[0].metrics
    assert [e.metrics for e in masks] != [e.metrics for e in nothing]


@pytest.mark.parametrize(
    ("task", "model", "n", "n_drawn"),
    [(TINY_PAIR, TINY_BERT, None, 2048), (TINY_TEXT, TINY_LLAMA, None, 128), (TINY_TEXT, TINY_LLAMA, 5, 5)],
)
def test_masks_are_tuned_on_the_examples_asked_for(tmp_path, monkeypatch, task, model, n, n_drawn):
    drawn, tuning_batches = [], Sample.tuning_batches

    def noted(sample, *arguments):
        drawn.append(sample.counts.sum())
        return tuning_batches(sample, *arguments)

    monkeypatch.setattr(Sample, "tuning_batches", noted)
    subject = MethodSubject(
        MagnitudePruning, tmp_path, MagnitudeOptions(n_calibration=n), task=task, model=model, n_evaluations=2
    )
    record = subject.run(budget_s=1e6).record
    assert record.reason is None
    assert drawn == [n_drawn]
    assert record.changed_options["method"] == ({} if n is None else {"n_calibration": n})


def test_calibration_that_would_do_nothing_is_refused():
    with pytest.raises(ValueError, match="n_calibration would do nothing with then=nothing"):
        MagnitudeOptions(then="nothing", n_calibration=5)
    with pytest.raises(ValueError, match="n_calibration must be 1 or more, not 0"):
        MagnitudeOptions(n_calibration=0)


def test_first_ratios_cover_the_front():
    assert sorted(RATIOS) == pytest.approx([0.1 * i for i in range(1, 10)])
    gaps = [0.0, *sorted(RATIOS[:4]), 1.0]
    assert max(b - a for a, b in itertools.pairwise(gaps)) < 0.35


def test_language_model_is_pruned_as_it_is(tmp_path):
    outcome = MethodSubject(MagnitudePruning, tmp_path, task=TINY_TEXT, model=TINY_LLAMA, n_evaluations=3).run()
    assert outcome.record.reason is None
    assert outcome.record.charged_s["training"] == 0
