"""Low rank: truncation against numpy, Fisher information against gradients of single examples, and the contract."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from nasbench.baselines.low_rank import SHARES, LowRank, LowRankOptions, decompose, input_weights
from nasbench.errors import UserError
from nasbench.networks.factored.modules import projections
from nasbench.networks.passes import likelihood
from nasbench.networks.space import make_space
from nasbench.networks.supernet import SuperNetwork
from nasbench.runs.request import make_request
from nasbench.testing import MethodContract
from nasbench.testing.contract import stopped_anywhere
from nasbench.testing.decoders import TINY_GPT2, TINY_GPT_NEOX, TINY_LLAMA
from nasbench.testing.models import TINY_BERT, TINY_DEBERTA_V2, TINY_MODERNBERT, TINY_MPNET
from nasbench.testing.networks import tiny_network
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_TEXT
from nasbench.training.losses import label_loss


class TestLowRank(MethodContract):
    method = LowRank


def test_plain_svd_tuned_afterwards_can_be_stopped_anywhere(tmp_path):
    options = LowRankOptions(weighting="none", tuning_epochs=1, epochs=1)
    stopped_anywhere(MethodSubject(LowRank, tmp_path, options, n_evaluations=3))


@pytest.mark.parametrize(("shape", "rank"), [((32, 48), 7), ((48, 32), 31), ((9, 9), 0)])
def test_error_of_the_truncation_is_the_tail_of_the_singular_values(shape, rank):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    b, a = decompose(weight, None)
    found = weight.double().numpy() - b[:, :rank].double().numpy() @ a[:rank].double().numpy()
    tail = np.linalg.svd(weight.double().numpy(), compute_uv=False)[rank:]
    assert np.sum(found**2) == pytest.approx(np.sum(tail**2), rel=1e-5)


@pytest.mark.parametrize("rank", [3, 20])
def test_weighted_error_is_the_tail_and_no_other_truncation_is_better(rank):
    """Against numpy: the tail of the weighted matrix, plain SVD, and a descent that starts at the solution."""
    rng = np.random.default_rng(2)
    weight, scale = rng.normal(size=(24, 40)), rng.uniform(0.1, 3, size=40)
    b, a = decompose(torch.from_numpy(weight).float(), torch.from_numpy(scale))
    b, a = b[:, :rank].double().numpy(), a[:rank].double().numpy()

    def error(product):
        return np.sum(((weight - product) * scale) ** 2)

    tail = np.linalg.svd(weight * scale, compute_uv=False)[rank:]
    assert error(b @ a) == pytest.approx(np.sum(tail**2), rel=1e-5)
    u, s, v = np.linalg.svd(weight)
    assert error(b @ a) < error((u[:, :rank] * s[:rank]) @ v[:rank])
    nearby = [error((b + 0.01 * rng.normal(size=b.shape)) @ (a + 0.01 * rng.normal(size=a.shape))) for _ in range(20)]
    assert min(nearby) > error(b @ a)


def test_inputs_without_gradient_do_not_spoil_the_factors():
    weight = torch.randn(6, 5)
    scale = torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0])
    for weights in (scale, torch.zeros(5)):
        b, a = decompose(weight, weights)
        torch.testing.assert_close(b @ a, weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (TINY_BERT, TINY_PAIR), (TINY_MPNET, TINY_REGRESSION), (TINY_BERT, TINY_CHOICE), (TINY_LLAMA, TINY_TEXT),
        (TINY_DEBERTA_V2, TINY_PAIR), (TINY_DEBERTA_V2, TINY_CHOICE),
    ],
    ids=lambda part: part.name,
)  # fmt: skip
def test_fisher_information_is_that_of_the_gradients_of_single_examples(model, task, monkeypatch):
    """The sliced pass projects nothing but DeBERTa's table of relative positions where it adds to the scores."""
    added_scores, linear = SuperNetwork._added_scores, SuperNetwork._linear

    def without_the_table(network, *arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SuperNetwork, "_linear", lambda *args, **named: linear(*args, **named).detach())
            return added_scores(network, *arguments)

    monkeypatch.setattr(SuperNetwork, "_added_scores", without_the_table)
    tiny, n = tiny_network(model, task), 5
    network = tiny.network
    found = input_weights(network, [tiny.batch(n)], task.kind)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    wanted = {place: torch.zeros(projection.weight.shape[1]) for place, projection in projections(network.adapter)}
    for i in range(n):
        example = tiny.batch(1, tiny.data.validation.take(np.array([i])))
        network.model.zero_grad()
        label_loss(task.kind, network.forward(example), example.labels).backward()
        for place, projection in projections(network.adapter):
            gradient = projection.part_of(projection.module.weight.grad)
            wanted[place] += gradient.square().sum(0)
    assert found.keys() == wanted.keys()
    for place, squares in wanted.items():
        torch.testing.assert_close(found[place].float(), squares.sqrt(), rtol=2e-3, atol=1e-5)
        assert squares.max() > 0


def test_only_a_chunk_of_tokens_has_its_logits_in_memory(monkeypatch):
    tiny = tiny_network(TINY_LLAMA, TINY_TEXT)
    whole, sizes = input_weights(tiny.network, [tiny.batch()], "language_modelling"), []
    monkeypatch.setattr(likelihood, "CHUNK", 7)
    hook = tiny.network.model.lm_head.register_forward_hook(
        lambda _module, _inputs, logits: sizes.append(logits[..., 0].numel())
    )
    found = input_weights(tiny.network, [tiny.batch()], "language_modelling")
    hook.remove()
    assert max(sizes) == 7
    for place, weights in whole.items():
        torch.testing.assert_close(found[place], weights, rtol=1e-5, atol=1e-6)


def test_networks_have_the_shares_and_the_counts_of_plain_modules(tmp_path):
    outcome = MethodSubject(LowRank, tmp_path, LowRankOptions(epochs=1), n_evaluations=None).run(budget_s=1e6)
    assert (outcome.record.status, len(outcome.evaluations)) == ("complete", 1 + len(SHARES))
    for share, evaluation in zip((1.0, *SHARES), outcome.evaluations, strict=True):
        ranks = list(evaluation.config.values())
        # 32 x 32 and 48 x 32: whole from rank 16 and 20 on.
        assert ranks == ([16] * 4 + [20] * 2) * 3 if share == 1 else ([int(16 * share)] * 4 + [int(20 * share)] * 2) * 3
        modules = []
        for i, rank in enumerate(ranks):
            n_in, n_out = (32, 32) if i % 6 < 4 else ((32, 48) if i % 6 == 4 else (48, 32))
            if share == 1:
                modules.append(torch.nn.Linear(n_in, n_out))
            else:
                modules += [torch.nn.Linear(n_in, rank, bias=False), torch.nn.Linear(rank, n_out)]
        linear = sum(p.numel() for module in modules for p in module.parameters())
        norms = 3 * 2 * 2 * 32
        assert evaluation.n_params == outcome.record.dimensions["n_fixed_params"] + linear + norms


def test_factored_networks_are_trained_for_two_epochs_or_for_those_that_are_set(tmp_path):
    """Seconds of training show that it happens; the same errors show that by default it is two epochs."""
    errors: dict[str, list[float]] = {}
    for name, tuning_epochs in {"default": None, "two": 2, "none": 0}.items():
        options = LowRankOptions(epochs=1, tuning_epochs=tuning_epochs)
        outcome = MethodSubject(LowRank, tmp_path / name, options, n_evaluations=4).run()
        errors[name] = [evaluation.error for evaluation in outcome.evaluations]
        training = [evaluation.charged_s["training"] for evaluation in outcome.evaluations]
        assert [later > before for before, later in pairwise(training)] == [name != "none"] * 3
    assert errors["default"] == errors["two"] != errors["none"]


def test_full_rank_gives_the_full_network():
    tiny = tiny_network(TINY_BERT, TINY_PAIR)
    for _, projection in projections(tiny.network.adapter):
        b, a = decompose(projection.weight.detach(), torch.rand(projection.weight.shape[1]) + 0.1)
        torch.testing.assert_close(b @ a, projection.weight.detach(), rtol=1e-4, atol=1e-5)


def test_language_model_is_factored_as_it_is(tmp_path):
    outcome = MethodSubject(LowRank, tmp_path, task=TINY_TEXT, model=TINY_LLAMA, n_evaluations=3).run()
    assert outcome.record.reason is None
    assert outcome.record.charged_s["training"] == 0
    space = make_space("ranks", tiny_network(TINY_LLAMA, TINY_TEXT).network.dims)
    assert "gate_0" in space.names
    assert outcome.evaluations[0].config == space.to_json(space.largest)


@pytest.mark.parametrize(
    ("model", "task", "cls"),
    [
        (TINY_GPT2, TINY_TEXT, "GPT2LMHeadModel"),
        (TINY_GPT2, TINY_PAIR, "GPT2ForSequenceClassification"),
        (TINY_GPT_NEOX, TINY_TEXT, "GPTNeoXForCausalLM"),
        (TINY_MODERNBERT, TINY_PAIR, "ModernBertForSequenceClassification"),
    ],
    ids=lambda part: getattr(part, "name", None),
)
def test_model_with_joint_projections_is_refused_before_it_is_trained(tmp_path, model, task, cls):
    record = MethodSubject(LowRank, tmp_path, task=task, model=model).run().record
    assert record.status == "failed"
    assert record.reason.startswith(f"a {cls} has no projections of their own that could be factored")
    assert record.charged_s["training"] == 0


def test_negative_epochs_are_refused():
    with pytest.raises(ValueError, match="tuning_epochs must be 0 or more, not -1"):
        dataclasses.replace(LowRankOptions(), tuning_epochs=-1)


def test_latency_is_refused_as_an_objective(tmp_path):
    with pytest.raises(UserError, match="it has no use for space 'ranks'"):
        make_request("low-rank", "demo", results=tmp_path, objectives="error,latency", device="cpu")
