"""The fast implementations give the results of slow ones with masks, padding to one length, fp32 and batches of 8.

There is one test for each row of BENCHMARKS.md, on small networks.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from nasbench.data.batching import collate
from nasbench.data.splits import Split
from nasbench.declarations.model import TrainingConfiguration
from nasbench.masks.sample import Sample
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.space import Small
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.search.pareto import hypervolume, pareto_mask
from nasbench.testing.models import TINY_BERT
from nasbench.testing.networks import TinyNetwork, tiny_network
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.evaluation import Evaluator
from nasbench.training.losses import distillation_loss, label_loss
from nasbench.training.strategies import FINE_TUNING_STEP, Step, TrainingStrategy
from nasbench.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTH, BATCH = 13, 8
TOLERANCE = 1e-5
N_EXAMPLES = 600
FULL = TrainingStrategy("full", n_random=2)
TUNING = TrainingConfiguration(learning_rate=1e-3, batch_size=4, epochs=1)


@cache
def tiny() -> TinyNetwork:
    return tiny_network(TINY_BERT, TINY_PAIR)


@cache
def examples() -> Split:
    """Random tokens; the label says whether one of two of them occurs."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, LENGTH, size=N_EXAMPLES)
    n_tokens = int(lengths.sum())
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens, segments = rng.integers(5, 20, size=n_tokens), rng.integers(2, size=n_tokens)
    tokens[offsets[:-1]], segments[offsets[:-1]] = 2, 0  # every sequence starts alike, as with any tokenizer
    sequences = np.split(tokens, offsets[1:-1])
    return Split(
        tokens=tokens.astype(np.int32),
        segments=segments.astype(np.uint8),
        offsets=offsets,
        labels=np.array([np.isin(sequence, (7, 8)).any() for sequence in sequences], dtype=np.int64),
        n_choices=1,
        ids=np.arange(N_EXAMPLES),
    )


@cache
def trained() -> SuperNetwork:
    """A super-network that has learnt something, so that the errors of its sub-networks differ."""
    network = SuperNetwork(load_pretrained(TINY_BERT, TINY_PAIR, seed=0).network)
    space = Small(network.dims)
    one_random = TrainingStrategy("full", n_random=1)
    Trainer(
        network, examples().take(np.arange(400)), "classification",
        TrainingConfiguration(learning_rate=1e-3, batch_size=16, epochs=8, warmup=0.1),
        lambda step, n_steps, rng: one_random.step(step, n_steps, space, rng), one_random, tiny().pad_id, seed=0,
    ).run()  # fmt: skip
    return network


def masked_logits(network: SuperNetwork, subnetwork: SubNetwork, split: Split) -> np.ndarray:
    """Logits ``(n_examples, 2)`` of the slow implementation."""
    batches = [
        collate(split, np.arange(start, min(start + BATCH, len(split))), tiny().pad_id, LENGTH)
        for start in range(0, len(split), BATCH)
    ]
    with torch.no_grad():
        return torch.cat([network.masked(batch, subnetwork) for batch in batches]).numpy()


def subnetworks(n: int) -> list[SubNetwork]:
    space, rng = Small(tiny().network.dims), np.random.default_rng(0)
    return [space.to_subnetwork(c) for c in (space.smallest, space.largest, *(space.sample(rng) for _ in range(n)))]


def evaluator(split: Split) -> Evaluator:
    return Evaluator(split, TINY_PAIR, tiny().pad_id, torch.device("cpu"))


def test_evaluation_equals_masked_logits() -> None:
    split = examples().take(np.arange(100))
    fast = evaluator(split)
    for subnetwork in subnetworks(8):
        slow = masked_logits(tiny().network, subnetwork, split)
        np.testing.assert_allclose(fast.logits(tiny().network, subnetwork), slow, rtol=0, atol=TOLERANCE)


def test_evaluation_of_all_depths_equals_masked_logits() -> None:
    split = examples().take(np.arange(50))
    network, fast = tiny().network, evaluator(split)
    dims = network.dims
    for subnetwork in subnetworks(3)[1:]:
        logits = fast.logits_of_depths(network, subnetwork, dims.n_layers)
        for depth in range(dims.n_layers + 1):
            kept = np.arange(dims.n_layers)[:, None] < depth
            shallow = SubNetwork(subnetwork.heads & kept, subnetwork.units & kept)
            np.testing.assert_allclose(logits[depth], masked_logits(network, shallow, split), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("all_depths", [False, True])
def test_evaluation_in_bf16_keeps_errors_and_pareto_order(all_depths: bool) -> None:
    """Errors agree to one example in a hundred, and the Pareto order up to that difference."""
    split = examples()
    slow_network, network, fast = trained(), SuperNetwork(trained().model, "bf16"), evaluator(split)
    errors, params = [], []
    for subnetwork in subnetworks(10):
        if all_depths:
            logits = fast.logits_of_depths(network, subnetwork, network.dims.n_layers)[-1]
        else:
            logits = fast.logits(network, subnetwork)
        both = (masked_logits(slow_network, subnetwork, split), logits)
        errors.append([float((one.argmax(axis=1) != split.labels).mean()) for one in both])
        params.append(subnetwork.n_params(network.dims) / network.dims.n_params)
    slow, ours = np.array(errors).T
    assert np.abs(ours - slow).max() <= 0.01
    assert np.ptp(slow) > 0.1, "the networks must differ for their order to say anything"
    for a, b in ((slow, ours), (ours, slow)):
        front = np.column_stack([a, params])[pareto_mask(np.column_stack([a, params]))]
        for error, size in zip(b, params, strict=True):
            assert ((front <= [error + 0.01, size]).all(axis=1)).any()
    areas = [hypervolume(np.column_stack([one, params]), (1.0, 1.0)) for one in (slow, ours)]
    assert areas[0] == pytest.approx(areas[1], abs=0.01)


def slow_step(network: SuperNetwork, optimizer: Any, batch: Any, step: Step) -> None:
    optimizer.zero_grad()
    teacher: Any = None
    for training_pass in step.passes:
        logits = network.masked(batch, training_pass.subnetwork)
        loss = label_loss("classification", logits, batch.labels)
        if training_pass.distilled:
            loss = loss + distillation_loss("classification", logits, teacher, FULL.temperature, False)
        else:
            teacher = logits.detach()
        loss.backward()
    optimizer.step()


@pytest.mark.parametrize("strategy", ["full", "fine-tuning of an extracted network"])
def test_training_steps_equal_masked_autograd_and_plain_adamw(strategy: str) -> None:
    split, tiny_ = examples().take(np.arange(40)), tiny()
    subnetwork = subnetworks(3)[-1]
    if strategy == "full":
        space = Small(tiny_.network.dims)
        network, slow = tiny_.network.copy(), tiny_.network.copy()

        def schedule(step: int, n_steps: int, rng: np.random.Generator) -> Step:
            return FULL.step(step, n_steps, space, rng)
    else:
        network, slow = tiny_.network.extract(subnetwork), tiny_.network.extract(subnetwork)

        def schedule(*_: Any) -> Step:
            return FINE_TUNING_STEP

    seen: list[tuple[Any, Step]] = []

    def recording(step: int, n_steps: int, rng: np.random.Generator) -> Step:
        seen.append((trainer._batch_index(), schedule(step, n_steps, rng)))
        return seen[-1][1]

    trainer = Trainer(network, split, "classification", TUNING, recording, FULL, tiny_.pad_id, seed=0)
    trainer.run(3)
    optimizer = torch.optim.AdamW(slow.parameters(), lr=TUNING.learning_rate, weight_decay=TUNING.weight_decay)
    slow.model.train()
    for step, (index, passes) in enumerate(seen):
        optimizer.param_groups[0]["lr"] = trainer.learning_rate(step)
        slow_step(slow, optimizer, collate(split, index, tiny_.pad_id, LENGTH), passes)
    before = dict((tiny_.network if strategy == "full" else tiny_.network.extract(subnetwork)).model.named_parameters())
    moved = 0.0
    for (name, ours), (_, theirs) in zip(network.model.named_parameters(), slow.model.named_parameters(), strict=True):
        if name.endswith("key.bias"):
            continue  # its gradient is rounding noise around zero, which AdamW amplifies to a full step
        moved = max(moved, float((ours - before[name]).detach().abs().max()))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
    assert moved > 100 * TOLERANCE


def test_mask_gradients_of_drawn_batches_equal_masked_autograd() -> None:
    network, split = tiny().network, examples().take(np.arange(60))
    dims, drawn = network.dims, np.random.default_rng(0).integers(60, size=(3, BATCH))
    heads, units = Sample.of(split, drawn).gradients(network, "classification", tiny().pad_id)
    for index, head_gradients, unit_gradients in zip(drawn, heads, units, strict=True):
        masks = [torch.ones(dims.n_layers, n, requires_grad=True) for n in (dims.n_heads, dims.n_units)]
        batch = collate(split, index, tiny().pad_id, LENGTH)
        loss = label_loss("classification", network.masked(batch, None, *masks), batch.labels)
        for ours, theirs in zip((head_gradients, unit_gradients), torch.autograd.grad(loss, masks), strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=TOLERANCE)
