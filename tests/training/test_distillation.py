"""The loss of distillation and its gradient, against stock modules and their hidden states."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from nasbench.networks.subnetwork import SubNetwork
from nasbench.testing.decoders import TINY_LLAMA
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_TEXT
from nasbench.training.distillation import Distillation
from nasbench.training.losses import label_loss
from nasbench.training.strategies import FINE_TUNING_STEP, TrainingStrategy
from nasbench.training.trainer import Trainer

T = 3.0


def scene(model, task, layers=(0, 2)):
    """A teacher, and a student with some layers and half of the units that has other weights."""
    tiny = tiny_network(model, task)
    full = SubNetwork.full(tiny.network.dims)
    kept = np.isin(np.arange(3), layers)[:, None]
    student = tiny.network.extract(SubNetwork(full.heads & kept, full.units & kept & (np.arange(48) < 24)), "student")
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    student.refresh()
    return tiny, student


def stock_states(network, batch):
    """Hidden states at all depths from the stock model, ``(n_layers + 1, n_sequences, length, d)``."""
    found = []
    adapter = network.adapter
    hooks = [layer.register_forward_hook(lambda _m, inputs, _o: found.append(inputs[0])) for layer in adapter.layers]
    hooks.append(
        adapter.layers[-1].register_forward_hook(lambda _m, _i, o: found.append(o[0] if isinstance(o, tuple) else o))
    )
    logits = network.stock_logits(batch)
    for hook in hooks:
        hook.remove()
    return found, logits


@pytest.mark.parametrize("task", [TINY_PAIR, TINY_CHOICE, TINY_REGRESSION], ids=lambda task: task.name)
def test_loss_and_gradient_equal_those_of_stock_modules(task):
    tiny, student = scene(TINY_ROBERTA, task)
    batch = tiny.batch()
    distillation = Distillation(tiny.network, ((1, 2), (3, 3)), T, 0.7)
    with torch.no_grad():
        wanted_states, wanted_logits = stock_states(tiny.network, batch)
    states, logits = stock_states(student, batch)
    if task.kind == "regression":
        term = functional.mse_loss(logits, wanted_logits)
    else:
        p, q = (x.div(T).softmax(-1) for x in (wanted_logits, logits))
        term = T**2 * (p * (p.log() - q.log())).sum(-1).mean()
    angles = [
        1 - functional.cosine_similarity(states[own][:, 0], wanted_states[other][:, 0], dim=-1).mean()
        for own, other in ((1, 2), (3, 3))
    ]
    wanted = label_loss(task.kind, logits, batch.labels) + term + 0.7 * sum(angles) / 2
    found = distillation.loss(student, task.kind, batch, student.embed(batch))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert min(value.item() for value in (term, *angles)) > 1e-4

    gradients = []
    for loss in (found, wanted):
        student.model.zero_grad()
        loss.backward()
        gradients.append({name: p.grad.clone() for name, p in student.model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-5)
    assert all(parameter.grad is None for parameter in tiny.network.parameters())


def test_language_model_learns_from_the_words_of_its_teacher():
    tiny, student = scene(TINY_LLAMA, TINY_TEXT)
    batch = tiny.batch(6)
    distillation = Distillation(tiny.network, ((1, 2),), T, 0.5)
    mask = torch.ones_like(batch.input_ids).bool() if batch.attention_mask is None else batch.attention_mask
    with torch.no_grad():
        states, theirs = [], []
        for network, kept in ((student, states), (tiny.network, theirs)):
            kept.extend(stock_states(network, batch)[0])
        words = [
            network.model(input_ids=batch.input_ids, attention_mask=mask.long(), position_ids=positions(mask)).logits
            for network in (student, tiny.network)
        ]
        marked = (batch.token_type_ids[:, 1:] == 1) & mask[:, 1:]
        q, p = (logits[:, :-1][marked].div(T).log_softmax(-1) for logits in words)
        wanted = T**2 * (p.exp() * (p - q)).sum(-1).mean()
        wanted += label_loss("language_modelling", student.stock_logits(batch), batch.labels)
        wanted += 0.5 * (1 - functional.cosine_similarity(states[1], theirs[2], dim=-1)[mask].mean())
    found = distillation.loss(student, "language_modelling", batch, student.embed(batch))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def positions(mask):
    return (mask.long().cumsum(1) - 1).clamp(min=0)


@pytest.mark.parametrize("hidden_weight", [0.0, 1.0])
def test_student_of_its_own_teacher_learns_from_the_labels_only(hidden_weight):
    tiny, _ = scene(TINY_BERT, TINY_PAIR)
    batch = tiny.batch()
    distillation = Distillation(tiny.network, ((1, 1), (3, 3)), T, hidden_weight)
    found = distillation.loss(tiny.network.copy("same"), "classification", batch, tiny.network.embed(batch))
    wanted = label_loss("classification", tiny.network.forward(batch), batch.labels)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_distilled_student_is_closer_to_its_teacher_than_a_fine_tuned_one():
    tiny, student = scene(TINY_BERT, TINY_PAIR)
    batch, before = tiny.batch(64, tiny.data.train), tiny.network.fingerprint()
    fine_tuning = dataclasses.replace(TINY_BERT.fine_tuning, epochs=6)

    def distance(distillation):
        network = student.copy()
        Trainer(
            network, tiny.data.train, "classification", fine_tuning, lambda *_: FINE_TUNING_STEP, TrainingStrategy(),
            tiny.pad_id, 0, distillation,
        ).run()  # fmt: skip
        with torch.inference_mode():
            return float((network.forward(batch) - tiny.network.forward(batch)).square().mean())

    assert distance(Distillation(tiny.network, ((1, 2), (3, 3)), T, 1.0)) < 0.8 * distance(None)
    assert tiny.network.fingerprint() == before
