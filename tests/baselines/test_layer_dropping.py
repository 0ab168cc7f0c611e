"""Layer dropping: the order of the layers, and networks trained separately from the pre-trained weights."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from nasbench.baselines.layer_dropping import LayerDropping, LayerDroppingOptions, kept_layers, layer_similarity
from nasbench.data.splits import load_task_data
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing import models
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.networks import tiny_network
from nasbench.testing.subject import SEED, MethodSubject
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.evaluation import Evaluator

SIMILARITY = np.array([0.5, 0.9, 0.7, 0.8, 0.95, 0.6])
DROPPED = {  # of six layers, for n = 1, 2, ..., 5
    "top": [[5], [4, 5], [3, 4, 5], [2, 3, 4, 5], [1, 2, 3, 4, 5]],
    "bottom": [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]],
    "alternate": [[5], [3, 5], [1, 3, 5], [1, 3, 4, 5], [1, 2, 3, 4, 5]],
    "symmetric": [[3], [2, 3], [2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4, 5]],
    "contribution": [[4], [1, 4], [1, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4, 5]],
}


@pytest.mark.parametrize("strategy", DROPPED)
def test_layers_are_dropped_in_the_order_of_the_strategy(strategy):
    for n, dropped in enumerate(DROPPED[strategy], start=1):
        kept = kept_layers(strategy, 6, n, SIMILARITY)
        np.testing.assert_array_equal(np.flatnonzero(~kept), dropped)


def test_similarity_equals_the_cosine_of_stock_hidden_states():
    tiny = tiny_network(TINY_ROBERTA, TINY_PAIR)

    class Problem:
        dims, train, pad_id = tiny.network.dims, tiny.data.train, tiny.pad_id

        def check_budget(self):
            pass

    batch = tiny.batch(len(tiny.data.train), tiny.data.train)
    with torch.inference_mode():
        states = tiny.network.model.base_model(
            batch.input_ids, batch.attention_mask.long(), batch.token_type_ids, output_hidden_states=True
        ).hidden_states
    first = np.stack([state[:, 0].double().numpy() for state in states])
    norms = np.linalg.norm(first, axis=-1)
    expected = ((first[:-1] * first[1:]).sum(-1) / (norms[:-1] * norms[1:])).mean(axis=1)
    np.testing.assert_allclose(layer_similarity(tiny.network, Problem()), expected, rtol=1e-5)


@pytest.mark.parametrize("strategy", DROPPED)
def test_parameter_counts_equal_stock_networks_with_fewer_layers(strategy, tmp_path):
    outcome = MethodSubject(LayerDropping, tmp_path, LayerDroppingOptions(strategy=strategy), n_evaluations=30).usual[0]
    assert outcome.record.status == "complete"
    assert len(outcome.evaluations) == 2
    config, _ = models.tiny_bert()
    for n_kept, evaluation in zip((2, 1), outcome.evaluations, strict=True):
        config.num_hidden_layers = n_kept
        assert evaluation.n_params == sum(p.numel() for p in BertForSequenceClassification(config).parameters())
        assert evaluation.epochs is None
    if strategy != "contribution":
        kept = [kept_layers(strategy, 3, n, SIMILARITY) for n in (1, 2)]
        assert [list(e.config.values()) for e in outcome.evaluations] == [list(map(int, k)) for k in kept]


def test_each_network_starts_from_the_pretrained_weights(tmp_path):
    """With a learning rate near zero, each network equals the pre-trained network without its top layers."""
    model = dataclasses.replace(TINY_BERT, fine_tuning=dataclasses.replace(TINY_BERT.fine_tuning, learning_rate=1e-30))
    subject = MethodSubject(LayerDropping, tmp_path, model=model, n_evaluations=30)
    outcome = subject.usual[0]
    assert all(e.error is not None for e in outcome.evaluations)
    stock, tokenizer, *_ = load_pretrained(TINY_BERT, TINY_PAIR, SEED)
    data = load_task_data(TINY_PAIR, tokenizer, SEED)
    network = SuperNetwork(stock)
    evaluator = Evaluator(data.validation, TINY_PAIR, tokenizer.pad_token_id, torch.device("cpu"))
    for n_kept, evaluation in zip((2, 1), outcome.evaluations, strict=True):
        full = SubNetwork.full(network.dims)
        below = (np.arange(3) < n_kept)[:, None]
        logits = evaluator.logits(network, SubNetwork(full.heads & below, full.units & below))
        assert evaluator.metrics(logits) == pytest.approx(evaluation.metrics)
