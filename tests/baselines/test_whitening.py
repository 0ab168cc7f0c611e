"""Low rank by whitening (SVD-LLM): the error of the outputs against numpy on the inputs of the stock modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.activations import seen

from nasbench.baselines.low_rank import RIDGES, LowRank, LowRankOptions, cholesky_factor, decompose, whitening_roots
from nasbench.networks.factored.modules import projections
from nasbench.testing.contract import stopped_anywhere
from nasbench.testing.decoders import TINY_LLAMA, TINY_QWEN2
from nasbench.testing.models import TINY_BERT, TINY_MPNET
from nasbench.testing.networks import tiny_network
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_TEXT

SCENES = pytest.mark.parametrize(
    ("model", "task"),
    [
        (TINY_LLAMA, TINY_TEXT), (TINY_QWEN2, TINY_PAIR), (TINY_BERT, TINY_PAIR), (TINY_BERT, TINY_CHOICE),
        (TINY_MPNET, TINY_REGRESSION),
    ],
    ids=lambda part: part.name,
)  # fmt: skip


def _error(weight: torch.Tensor, b: torch.Tensor, a: torch.Tensor, rank: int, x: Any) -> float:
    """||(W - B A) X||_F."""
    product = b[:, :rank].double().numpy() @ a[:rank].double().numpy()
    return float(np.linalg.norm((weight.double().numpy() - product) @ x))


@SCENES
def test_error_of_the_outputs_is_the_tail_of_the_whitened_matrix(model: Any, task: Any) -> None:
    tiny = tiny_network(model, task)
    places = dict(projections(tiny.network.adapter))
    inputs = seen(tiny, [projection.module for projection in places.values()], is_input=True)
    roots = dict(whitening_roots(tiny.network, tiny.batch().halves()))
    assert roots.keys() == places.keys()
    smaller, shares_of_ridge = [], []
    for (place, projection), x in zip(places.items(), inputs, strict=True):
        weight, x = projection.weight.detach(), x.T.numpy()
        b, a = decompose(weight, roots[place])
        plain_b, plain_a = decompose(weight, None)
        products = x @ x.T
        ridge = RIDGES[0] * np.trace(products) / len(x)
        factor = np.linalg.cholesky(products + ridge * np.eye(len(x)))
        values = np.linalg.svd(weight.double().numpy() @ factor, compute_uv=False)
        for rank in (3, 11):
            error, plain_error = (_error(weight, *factors, rank, x) for factors in ((b, a), (plain_b, plain_a)))
            # The ridge adds an error of its own, which is a part of the tail.
            of_ridge = ridge * _error(weight, b, a, rank, np.eye(len(x))) ** 2
            tail, rounding = np.sum(values[rank:] ** 2), 1e-6 * np.sum(values**2)
            assert error**2 + of_ridge == pytest.approx(tail, rel=1e-3, abs=rounding)
            shares_of_ridge.append(of_ridge / (error**2 + of_ridge))
            assert error <= plain_error
            smaller.append(error < 0.95 * plain_error)
        torch.testing.assert_close(b @ a, weight, rtol=1e-3, atol=1e-4)
    assert np.mean(smaller) > 0.5
    assert np.median(shares_of_ridge) < 1e-4


def test_fewer_tokens_than_inputs_have_a_factor() -> None:
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double()
    x[4] = 0
    root = cholesky_factor(x @ x.T)
    torch.testing.assert_close(root @ root.T, x @ x.T, rtol=0, atol=1e-3)
    weight = torch.randn(6, 20)
    b, a = decompose(weight, root)
    torch.testing.assert_close(b[:, :3] @ a[:3] @ x.float(), weight @ x.float(), rtol=1e-2, atol=1e-2)
    assert torch.isfinite(cholesky_factor(torch.zeros(4, 4).double())).all()


def test_rounded_products_get_the_next_ridge() -> None:
    """Products of large inputs can lose their positive eigenvalues to rounding."""
    indefinite = torch.diag(torch.tensor([1.0, 1.0, -1e-5]).double())
    root = cholesky_factor(indefinite)
    torch.testing.assert_close(root @ root.T, indefinite + RIDGES[1] * 2 / 3 * torch.eye(3).double(), rtol=1e-3, atol=0)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="the inputs of a projection are not finite"):
        cholesky_factor(torch.full((3, 3), torch.nan).double())


def test_language_model_is_whitened_as_it_is_and_can_be_stopped_anywhere(tmp_path: Path) -> None:
    options = LowRankOptions(weighting="whitening", n_calibration=20)
    subject = MethodSubject(LowRank, tmp_path, options, task=TINY_TEXT, model=TINY_LLAMA, n_evaluations=3)
    stopped_anywhere(subject)
    record = subject.usual[0].record
    assert record.reason is None
    assert record.charged_s["training"] == 0
    assert record.changed_options is not None
    assert record.changed_options["method"] == {"weighting": "whitening", "n_calibration": 20}
