"""Retraining-free pruning as a whole, against the published procedure."""

import numpy as np
import pytest
import torch
from support import published_rfp

from nasbench.baselines.retraining_free import ALPHAS, RetrainingFreePruning
from nasbench.data.batching import collate
from nasbench.masks.sample import Sample
from nasbench.masks.search import MacCosts, MaskSearch, rearranged
from nasbench.masks.tuning import tune_masks
from nasbench.networks.subnetwork import SubNetwork
from nasbench.testing.models import TINY_MODELS
from nasbench.testing.networks import tiny_network
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION
from nasbench.training.losses import label_loss


@pytest.fixture(
    scope="module",
    params=[(m, t) for m in TINY_MODELS for t in (TINY_PAIR, TINY_REGRESSION, TINY_CHOICE)],
    ids=lambda p: f"{p[0].name}-{p[1].name}",
)
def tiny(request):
    return tiny_network(*request.param)


def _drawn(tiny, n_batches=6, size=8):
    return np.random.default_rng(0).integers(len(tiny.data.train), size=(n_batches, size))


def _gradients(tiny, drawn):
    return Sample.of(tiny.data.train, drawn).gradients(tiny.network, tiny.task.kind, tiny.pad_id)


def test_gradients_equal_autograd_on_the_stock_model(tiny):
    """The test pads each drawn batch to its longest example and differentiates its mean loss through masks."""
    drawn = _drawn(tiny)
    heads, units = _gradients(tiny, drawn)
    full, expected = SubNetwork.full(tiny.network.dims), []
    for index in drawn:
        batch = collate(tiny.data.train, index, tiny.pad_id)
        masks = [torch.ones(m.shape, requires_grad=True) for m in (full.heads, full.units)]
        loss = label_loss(tiny.task.kind, tiny.network.masked(batch, full, *masks), batch.labels)
        expected.append([g.numpy() for g in torch.autograd.grad(loss, masks)])
    for found, own in ((heads, [e[0] for e in expected]), (units, [e[1] for e in expected])):
        scale = np.abs(own).max()
        np.testing.assert_allclose(found, own, rtol=1e-3, atol=1e-5 * scale)
        np.testing.assert_allclose(
            (found**2).sum(axis=0), np.square(own).sum(axis=0), rtol=2e-3, atol=1e-8 * scale**2
        )  # the Fisher information itself


@pytest.mark.usefixtures("exact_least_squares")
def test_pruned_networks_equal_those_of_the_published_procedure_for_every_budget(tiny):
    drawn = _drawn(tiny)
    heads, units = _gradients(tiny, drawn)
    costs = MacCosts.of(tiny.network.dims, float(tiny.data.train.lengths.mean()))
    full = SubNetwork.full(tiny.network.dims)
    search = MaskSearch((heads**2).sum(axis=0), (units**2).sum(axis=0), costs, full)
    students = rearranged([search.best(alpha) for alpha in ALPHAS], heads, units, full)
    examples = Sample.of(tiny.data.train, drawn).tuning_batches(tiny.network, tiny.pad_id)
    batch = tiny.batch()
    for alpha, student in zip(ALPHAS, students, strict=True):
        assert costs.of_subnetwork(student) <= alpha * costs.full
        plain, plain_heads, plain_units = published_rfp.prune(
            tiny.network, tiny.data.train, tiny.task.kind, tiny.pad_id, drawn, alpha
        )
        assert student == plain
        scales = tune_masks(tiny.network, student, search.best(alpha**0.5), examples)
        extracted = tiny.network.scaled(*scales, name="ours").extract(student)
        # The published procedure never extracts: it runs the full-size stock model under real-valued masks.
        masks = [torch.tensor(mask).float() for mask in (plain_heads, plain_units)]
        with torch.inference_mode():
            expected = tiny.network.masked(batch, plain, *masks)
            torch.testing.assert_close(extracted.forward(batch), expected, rtol=1e-4, atol=1e-4)


def test_record_of_a_run(tmp_path):
    outcome = MethodSubject(RetrainingFreePruning, tmp_path, n_evaluations=30).usual[0]
    assert outcome.record.status == "complete"
    assert outcome.evaluations[0].weights == "fine-tuned"
    assert {e.weights for e in outcome.evaluations[1:]} <= {None, *(f"alpha-{alpha}" for alpha in ALPHAS)}
    params = [e.n_params for e in outcome.evaluations]
    assert len(params) == 1 + len(ALPHAS)
    assert params[0] == outcome.record.n_params_full
    assert params == sorted(params, reverse=True)


def test_sample_counts_repeated_examples():
    tiny = tiny_network(TINY_MODELS[0], TINY_PAIR)
    once, twice = np.array([[0, 1, 2, 3]]), np.array([[0, 1, 2, 3, 3, 3]])
    a, b = (Sample.of(tiny.data.train, drawn) for drawn in (once, twice))
    assert len(a.distinct) == len(b.distinct) == 4
    np.testing.assert_array_equal(b.counts, [[1, 1, 1, 3]])
    tokens = sum(float(batch.counts.sum()) for batch in b.tuning_batches(tiny.network, tiny.pad_id))
    assert tokens == tiny.data.train.lengths[twice[0]].sum()
