"""Retraining-free pruning: all nine budgets together, compared with one budget at a time as in the authors' code.

The network has four layers of BERT's proportions, the sentences have 13 to 64 tokens, and one thread runs. The
published way is :mod:`support.published_rfp`: the full-size network under masks, all work repeated for each budget,
batches in the order drawn. Neither way includes fine-tuning, which the published way would also repeat for each budget.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import published_rfp

from nasbench.baselines.retraining_free import ALPHAS
from nasbench.data.splits import Split
from nasbench.masks.sample import Sample
from nasbench.masks.search import MacCosts, MaskSearch, rearranged
from nasbench.masks.tuning import tune_masks
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import Precision, SuperNetwork

N_EXAMPLES, DRAWN = 128, (4, 32)
Pruned = tuple[SubNetwork, Any, Any]


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest) -> SuperNetwork:
    if not request.config.getoption("benchmark_only"):
        pytest.skip("runs under `make bench` only; parity is tested in tests/baselines/test_retraining_free.py")
    from transformers import BertConfig, BertForSequenceClassification

    torch.set_num_threads(1)
    config = BertConfig(
        vocab_size=1000, hidden_size=128, intermediate_size=512, num_attention_heads=4, num_hidden_layers=4
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SuperNetwork(BertForSequenceClassification(config).eval())


def _split(rng: np.random.Generator) -> Split:
    lengths = rng.integers(13, 65, size=N_EXAMPLES)
    n_tokens = int(lengths.sum())
    return Split(
        tokens=rng.integers(1, 1000, size=n_tokens).astype(np.int32),
        segments=np.zeros(n_tokens, dtype=np.uint8),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=rng.integers(2, size=N_EXAMPLES),
        n_choices=1,
        ids=np.arange(N_EXAMPLES),
    )


def _pruned(network: SuperNetwork, split: Split, drawn: np.ndarray, alphas: tuple[float, ...]) -> list[Pruned]:
    sample = Sample.of(split, drawn)
    heads, units = sample.gradients(network, "classification", pad_id=0)
    costs = MacCosts.of(network.dims, float(split.lengths.mean()))
    full = SubNetwork.full(network.dims)
    search = MaskSearch((heads**2).sum(axis=0), (units**2).sum(axis=0), costs, full)
    students = rearranged([search.best(alpha) for alpha in alphas], heads, units, full)
    examples = sample.tuning_batches(network, pad_id=0)
    return [
        (student, *tune_masks(network, student, search.best(alpha**0.5), examples))
        for alpha, student in zip(alphas, students, strict=True)
    ]


@pytest.mark.parametrize(("precision", "aim"), [("fp32", 5), ("bf16", 5)])
def test_all_nine_budgets(comparison: Any, network: SuperNetwork, precision: Precision, aim: float) -> None:
    splits = [_split(np.random.default_rng(i)) for i in range(3)]
    drawn = [np.random.default_rng((i, 1)).integers(N_EXAMPLES, size=DRAWN) for i in range(3)]
    ours = SuperNetwork(network.model, precision)

    def slow(i: int) -> list[Pruned]:
        return [published_rfp.prune(network, splits[i], "classification", 0, drawn[i], alpha) for alpha in ALPHAS]

    comparison.run(
        lambda i: _pruned(ours, splits[i], drawn[i], ALPHAS), slow, units=(1, 1),
        row=f"RFP: all nine alphas at once against published code once per alpha, {precision}", aim=aim,
        unit="for nine networks",
        sample=f"4 layers, width 128, {DRAWN[0] * DRAWN[1]} examples drawn from {N_EXAMPLES}; without fine-tuning",
    )  # fmt: skip
    if precision == "fp32":
        both = zip(_pruned(ours, splits[0], drawn[0], ALPHAS), slow(0), strict=True)
        for (student, heads, units), (plain, plain_heads, plain_units) in both:
            assert student == plain
            np.testing.assert_allclose(heads[student.heads], plain_heads[student.heads], atol=1e-2)
            assert np.median(np.abs(units - plain_units)[student.units]) < 1e-2


def test_sharing_alone(comparison: Any, network: SuperNetwork) -> None:
    """Our own code once per budget: shows the gain from pruning for all budgets together."""
    splits = [_split(np.random.default_rng(i)) for i in range(3)]
    drawn = [np.random.default_rng((i, 1)).integers(N_EXAMPLES, size=DRAWN) for i in range(3)]
    comparison.run(
        lambda i: _pruned(network, splits[i], drawn[i], ALPHAS),
        lambda i: [_pruned(network, splits[i], drawn[i], (alpha,)) for alpha in ALPHAS],
        units=(1, 1), row="RFP: all nine alphas at once against our own code once per alpha, fp32", aim=1,
        unit="for nine networks", sample=f"as above, {DRAWN[0] * DRAWN[1]} examples; without fine-tuning",
    )  # fmt: skip
