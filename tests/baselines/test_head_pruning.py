"""Head pruning: importance against one example at a time, the order of removal, and the end of the curve."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from nasbench.baselines import head_pruning
from nasbench.baselines.head_pruning import (
    HeadPruning,
    HeadPruningOptions,
    head_importance,
    removal_counts,
    without_least_important,
)
from nasbench.data.batching import collate
from nasbench.networks.architectures import adapt
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.testing.decoders import TINY_LLAMA
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.networks import tiny_network
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_TEXT
from nasbench.training.losses import label_loss


@pytest.mark.parametrize(("model", "task"), [(TINY_BERT, TINY_PAIR), (TINY_ROBERTA, TINY_CHOICE)])
def test_importance_equals_the_sum_over_single_examples(model, task):
    tiny = tiny_network(model, task)
    split, full = tiny.data.validation, SubNetwork.full(tiny.network.dims)
    total = np.zeros((3, 4))
    for i in range(len(split)):
        batch = collate(split, np.array([i]), tiny.pad_id)
        xi = torch.ones(3, 4, requires_grad=True)
        label_loss(task.kind, tiny.network.masked(batch, full, head_mask=xi), batch.labels).backward()
        total += xi.grad.abs().numpy()
    expected = total / np.sqrt((total**2).sum(axis=1, keepdims=True))
    found = head_importance(tiny.network, full, split, task.kind, tiny.pad_id)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    per_token = head_importance(tiny.network, full, split, task.kind, tiny.pad_id, per_token=True)
    assert np.abs(per_token - expected).max() > 1e-2
    np.testing.assert_allclose((per_token**2).sum(axis=1), 1)


def test_importance_of_a_language_model_needs_few_passages(tmp_path, monkeypatch):
    sizes = []

    def noted(network, subnetwork, split, *others):
        sizes.append(len(split))
        return head_importance(network, subnetwork, split, *others)

    monkeypatch.setattr(head_pruning, "head_importance", noted)
    monkeypatch.setattr(head_pruning, "N_PASSAGES", 9)
    for task, model in ((TINY_TEXT, TINY_LLAMA), (TINY_PAIR, TINY_BERT)):
        subject = MethodSubject(HeadPruning, tmp_path / task.name, task=task, model=model, n_evaluations=2)
        assert subject.run(budget_s=1e6).record.reason is None
    n_train = len(tiny_network(TINY_BERT, TINY_PAIR).data.train)
    assert sizes == [9, n_train]
    assert n_train > 9


def test_importance_of_pruned_heads_is_zero():
    """A block without heads does not cause a division by zero."""
    tiny = tiny_network(TINY_BERT, TINY_PAIR)
    full = SubNetwork.full(tiny.network.dims)
    heads = full.heads.copy()
    heads[0, 1:3], heads[2] = False, False
    found = head_importance(
        tiny.network, SubNetwork(heads, full.units), tiny.data.validation, "classification", tiny.pad_id
    )
    np.testing.assert_array_equal(found > 0, heads)
    np.testing.assert_allclose((found[:2] ** 2).sum(axis=1), 1)


def test_heads_are_removed_by_ascending_importance_and_stay_removed():
    importance = np.array([[0.5, 0.1, 0.3], [0.2, 0.9, 0.4]])
    heads = np.ones((2, 3), dtype=bool)
    for n, gone in [(1, [1]), (3, [1, 3, 2]), (4, [1, 3, 2, 5]), (6, range(6))]:
        left = without_least_important(heads, importance, n)
        np.testing.assert_array_equal(np.flatnonzero(~left), sorted(gone))
    # If measured again, removed heads have importance 0 but are not counted twice; the others may change places.
    heads = np.array([[True, False, True], [False, True, True]])
    again = np.array([[0.1, 0.0, 0.8], [0.0, 0.05, 0.7]])
    np.testing.assert_array_equal(np.flatnonzero(~without_least_important(heads, again, 3)), [1, 3, 4])


def _base(config, model):
    with torch.device("meta"):
        return adapt(model(config)).dimensions()


@pytest.mark.parametrize(
    ("dims", "pruned"),
    [
        (lambda: _base(BertConfig(vocab_size=28_996), BertForSequenceClassification), 0.262),
        (
            lambda: _base(
                RobertaConfig(vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1),
                RobertaForSequenceClassification,
            ),
            0.228,
        ),
    ],
    ids=["bert-base", "roberta-base"],
)
def test_curve_of_base_models_has_20_steps_and_the_known_end(dims, pruned):
    """The parameters fall at each step; at the end 26.2 % (BERT) and 22.8 % (RoBERTa) are pruned."""
    dims = dims()
    counts = removal_counts(dims)
    assert counts == [int(144 * p / 100) for p in range(5, 101, 5)]
    importance = np.random.default_rng(0).random((12, 12))
    full = SubNetwork.full(dims)
    curve = [SubNetwork(without_least_important(full.heads, importance, n), full.units).n_params(dims) for n in counts]
    assert (np.diff(curve) < 0).all()
    assert round(1 - curve[-1] / dims.n_params, 3) == pruned


def test_a_network_with_few_heads_has_few_steps():
    assert removal_counts(Dimensions(2, 2, 1, 1, 1, 0)) == [1, 2, 3, 4]


@pytest.mark.parametrize("options", [HeadPruningOptions(), HeadPruningOptions(importance="per-token", exact=True)])
def test_record_of_a_run(options, tmp_path):
    outcome = MethodSubject(HeadPruning, tmp_path, options, n_evaluations=30).usual[0]
    assert outcome.record.status == "complete"
    n_heads = [sum(e.head_counts) for e in outcome.evaluations]
    assert n_heads == list(range(12, -1, -1))
    assert all(e.unit_counts == [48] * 3 for e in outcome.evaluations)
    space = make_space("large", Dimensions.from_json(outcome.record.dimensions))
    masks = [space.to_subnetwork(space.from_json(e.config)).heads for e in outcome.evaluations]
    assert all((later <= earlier).all() for earlier, later in pairwise(masks))
