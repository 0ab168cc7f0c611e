"""Decoders with their language model head: bits per byte, zero-shot choices, training and distillation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from nasbench.data.batching import collate
from nasbench.declarations.model import TrainingConfiguration
from nasbench.errors import UserError
from nasbench.networks.passes import likelihood
from nasbench.networks.passes.likelihood import distilled_likelihood, log_likelihood
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.subnetwork import SubNetwork
from nasbench.records.schema import MAX_ERROR
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA
from nasbench.testing.models import TINY_BERT
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_TEXT, TINY_ZERO_SHOT
from nasbench.training.evaluation import Evaluator
from nasbench.training.metrics import compute, constant_error
from nasbench.training.strategies import Pass, Step, TrainingStrategy
from nasbench.training.trainer import Trainer

MODELS = pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2], ids=lambda model: model.name)


@MODELS
@torch.no_grad()
def test_error_is_the_loss_of_transformers_in_bits_per_byte(model: Any) -> None:
    tiny = tiny_network(model, TINY_TEXT)
    split = tiny.data.validation
    evaluator = Evaluator(split, TINY_TEXT, tiny.pad_id, torch.device("cpu"))
    metrics = evaluator.metrics(evaluator.logits(tiny.network))
    bits = 0.0
    for i in range(len(split)):
        ids = torch.from_numpy(split.tokens[split.offsets[i] : split.offsets[i + 1]].astype(np.int64))[None]
        bits += float(tiny.network.model(ids, labels=ids).loss) * (ids.shape[1] - 1) / math.log(2)
    assert metrics["bits_per_byte"] == pytest.approx(bits / split.labels.sum(), rel=1e-5)
    assert metrics["compression"] == pytest.approx(1 - bits / split.labels.sum() / 8, rel=1e-5)


def test_metrics_of_two_passages() -> None:
    found = compute(
        ("compression", "bits_per_byte"), "language_modelling", np.array([[-30.0], [-10.0]]), np.array([10, 6])
    )
    assert found == {"compression": pytest.approx(1 - 40 / 16 / 8), "bits_per_byte": pytest.approx(2.5)}
    assert constant_error("compression", "language_modelling", 1, np.array([10, 6])) == 1.0


def test_compression_of_the_worst_code_has_an_error_that_a_record_may_hold() -> None:
    names = ("compression", "bits_per_byte")
    assert compute(names, "language_modelling", np.array([[-200.0]]), np.array([10])) == {
        "compression": 1 - MAX_ERROR,
        "bits_per_byte": 20.0,
    }


@MODELS
@torch.no_grad()
def test_choice_has_the_ending_of_the_largest_likelihood(model: Any) -> None:
    tiny = tiny_network(model, TINY_ZERO_SHOT)
    split, network = tiny.data.validation, tiny.network
    logits = network.forward(tiny.batch(8))
    assert logits.shape == (8, 2)
    for i in range(8):
        for choice in range(2):
            start, end = split.offsets[2 * i + choice], split.offsets[2 * i + choice + 1]
            ids = torch.from_numpy(split.tokens[start:end].astype(np.int64))
            n_context = int((split.segments[start:end] == 0).sum())
            shares = network.model(ids[None]).logits[0].log_softmax(-1)
            expected = sum(float(shares[k - 1, ids[k]]) for k in range(n_context, len(ids)))
            assert float(logits[i, choice]) * math.log(2) == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_chunks_do_not_change_the_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_network(TINY_LLAMA, TINY_TEXT)
    whole = tiny.network.forward(tiny.batch())
    monkeypatch.setattr(likelihood, "CHUNK", 7)
    torch.testing.assert_close(tiny.network.forward(tiny.batch()), whole)


def test_distilled_likelihood_is_that_of_the_whole_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "CHUNK", 7)
    tiny = tiny_network(TINY_GPT2, TINY_TEXT)
    network, batch = tiny.network, tiny.batch()
    network.refresh()
    half = SubNetwork.from_counts([2] * 3, [20] * 3, network.dims)
    teacher, student = (
        network.encode(network.embed(batch), batch.attention_mask, network.slices(one)) for one in (None, half)
    )
    head = network.adapter.classify
    found = distilled_likelihood(head, student, teacher.detach(), batch, temperature=2.0, t_squared=True)
    rows = (
        batch.attention_mask[:, 1:] if batch.attention_mask is not None else torch.ones_like(batch.input_ids[:, 1:]) > 0
    )
    wanted, given = (functional.log_softmax(head(x)[:, :-1][rows] / 2, -1) for x in (teacher, student))
    words = functional.log_softmax(head(student)[:, :-1], -1).gather(2, batch.input_ids[:, 1:, None])[..., 0]
    expected = (
        (words * rows).sum(1, keepdim=True) / math.log(2),
        4 * functional.kl_div(given, wanted, reduction="batchmean", log_target=True),
    )
    for fast, slow in zip(found, expected, strict=True):
        torch.testing.assert_close(fast, slow)
        gradients = (torch.autograd.grad(each.sum(), student, retain_graph=True)[0] for each in (fast, slow))
        torch.testing.assert_close(*gradients)


@MODELS
def test_training_step_equals_autograd_on_the_stock_model(model: Any) -> None:
    """One step of AdamW, with tied embeddings, against torch's own optimizer on the loss of transformers."""
    tuning = TrainingConfiguration(learning_rate=1e-3, batch_size=64, epochs=1)
    fast, slow = tiny_network(model, TINY_TEXT), tiny_network(model, TINY_TEXT)
    trainer = Trainer(
        fast.network, fast.data.train, "language_modelling", tuning, lambda *_: Step((Pass(None),)), TrainingStrategy(),
        fast.pad_id, seed=0,
    )  # fmt: skip
    index = trainer._batch_index()
    batch = collate(slow.data.train, index, slow.pad_id)
    stock = slow.network.model
    optimizer = torch.optim.AdamW(stock.parameters(), lr=1e-3, weight_decay=0.01)
    mask = torch.ones_like(batch.input_ids) if batch.attention_mask is None else batch.attention_mask.long()
    logits = stock(batch.input_ids, attention_mask=mask).logits[:, :-1]
    targets = batch.input_ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    (loss / math.log(2) / batch.labels.sum()).backward()
    optimizer.step()
    trainer.run(until=1)
    for (name, one), other in zip(fast.network.model.named_parameters(), stock.parameters(), strict=True):
        assert other.grad is not None
        clear = other.grad.abs() > 1e-6  # AdamW's first step takes only the sign of a gradient, even of rounding noise
        assert clear.any(), name
        assert ((one - other)[clear]).abs().max() < 5e-5, name


def test_encoder_cannot_model_language() -> None:
    with pytest.raises(UserError, match="'tiny-text' measures a language model, and 'tiny-bert' is an encoder"):
        load_pretrained(TINY_BERT, TINY_TEXT, seed=0)


@torch.no_grad()
def test_marks_on_padding_do_not_count() -> None:
    tiny = tiny_network(TINY_LLAMA, TINY_TEXT)
    batch, padded = tiny.batch(), tiny.batch(length=60)
    padded.token_type_ids[:] = 1
    states = tiny.network.encode(tiny.network.embed(padded), padded.attention_mask, tiny.network.slices())
    torch.testing.assert_close(
        log_likelihood(tiny.network.adapter.classify, states, padded), tiny.network.forward(batch)
    )
