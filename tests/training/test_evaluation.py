"""Predictions on a whole split: their order, depths, equal outputs without attention, and metrics."""

from functools import cache

import numpy as np
import pytest
import torch

from nasbench.data.batching import collate
from nasbench.networks.subnetwork import SubNetwork
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA, TINY_QWEN2
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION
from nasbench.training import evaluation
from nasbench.training.evaluation import Evaluator
from nasbench.training.metrics import compute

CASES = {
    "bert-pair": (TINY_BERT, TINY_PAIR),
    "bert-choice": (TINY_BERT, TINY_CHOICE),
    "roberta-regression": (TINY_ROBERTA, TINY_REGRESSION),
    "llama-pair": (TINY_LLAMA, TINY_PAIR),
    "qwen2-choice": (TINY_QWEN2, TINY_CHOICE),
}


@cache
def _tiny(case):
    return tiny_network(*CASES[case])


def _evaluator(tiny, monkeypatch, max_tokens=60):
    """An evaluator of the train split, whose examples differ in length, with many batches."""
    monkeypatch.setitem(evaluation.MAX_TOKENS, "cpu", max_tokens)
    return Evaluator(tiny.data.train, tiny.task, tiny.pad_id, torch.device("cpu"))


def _without(network, heads=(), units=()):
    """The sub-network without the attention and feed-forward blocks of these layers."""
    full = SubNetwork.full(network.dims)
    layers = np.arange(network.dims.n_layers)[:, None]
    return SubNetwork(full.heads & ~np.isin(layers, heads), full.units & ~np.isin(layers, units))


@pytest.mark.parametrize("case", CASES)
def test_logits_are_in_the_order_of_the_split(case, monkeypatch):
    """Each example is also run alone, through the masked stock model."""
    tiny = _tiny(case)
    evaluator = _evaluator(tiny, monkeypatch)
    assert len(evaluator._batches) > 4
    subnetwork = _without(tiny.network, heads=[1], units=[0])
    logits = evaluator.logits(tiny.network, subnetwork)
    assert len(logits) == len(tiny.data.train)
    for i in range(0, len(tiny.data.train), 7):
        with torch.no_grad():
            alone = tiny.network.masked(collate(tiny.data.train, np.array([i]), tiny.pad_id), subnetwork)
        np.testing.assert_allclose(logits[i], alone[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_logits_of_depths_are_those_of_the_shallower_networks(case, monkeypatch):
    tiny = _tiny(case)
    evaluator = _evaluator(tiny, monkeypatch)
    for subnetwork in (SubNetwork.full(tiny.network.dims), _without(tiny.network, heads=[0])):
        for n_layers in (1, 3):
            depths = evaluator.logits_of_depths(tiny.network, subnetwork, n_layers)
            assert len(depths) == n_layers + 1
            for depth, logits in enumerate(depths):
                above = range(depth, tiny.network.dims.n_layers)
                shallow = SubNetwork(
                    subnetwork.heads & _without(tiny.network, heads=above).heads,
                    subnetwork.units & _without(tiny.network, units=above).units,
                )
                np.testing.assert_allclose(logits, evaluator.logits(tiny.network, shallow), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_without_attention_all_examples_have_exactly_equal_logits(case, monkeypatch):
    """The classifier reads the first or the last token, which only attention makes depend on the others."""
    tiny = _tiny(case)
    evaluator, n_layers = _evaluator(tiny, monkeypatch), tiny.network.dims.n_layers
    logits = evaluator.logits(tiny.network, _without(tiny.network, heads=range(n_layers)))
    assert len(np.unique(logits)) == (1 if case.endswith("choice") else logits.shape[1])
    depths = evaluator.logits_of_depths(tiny.network, _without(tiny.network, heads=[0]), n_layers)
    n_distinct = [len(np.unique(depth.reshape(-1, depth.shape[-1]), axis=0)) for depth in depths]
    assert n_distinct[:2] == [1, 1]
    assert min(n_distinct[2:]) > 5


def test_logits_of_a_last_token_that_has_a_position_are_left_as_they_are(monkeypatch):
    tiny = tiny_network(TINY_GPT2, TINY_PAIR)
    evaluator, n_layers = _evaluator(tiny, monkeypatch), tiny.network.dims.n_layers
    assert len(np.unique(evaluator.logits(tiny.network, _without(tiny.network, heads=range(n_layers))), axis=0)) > 5


def test_logits_with_attention_are_left_as_they_are(monkeypatch):
    tiny = _tiny("bert-pair")
    evaluator, n_layers = _evaluator(tiny, monkeypatch), tiny.network.dims.n_layers
    only_last = _without(tiny.network, heads=range(n_layers - 1))
    assert len(np.unique(evaluator.logits(tiny.network, only_last), axis=0)) > 5


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_those_of_the_task_with_the_primary_one_first(case, monkeypatch):
    tiny = _tiny(case)
    evaluator = _evaluator(tiny, monkeypatch)
    logits = evaluator.logits(tiny.network)
    found = evaluator.metrics(logits)
    assert list(found) == [tiny.task.metric, *tiny.task.other_metrics]
    assert found == compute(found, tiny.task.kind, logits, tiny.data.train.labels)
    logits[3, 0] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        evaluator.metrics(logits)
