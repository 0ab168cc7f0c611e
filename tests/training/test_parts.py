"""A batch that does not fit the memory is computed in parts, one after the other, with the gradient of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.steps import make_graphed, make_trainer, tiny_of

from nasbench.data.batching import collate
from nasbench.declarations.model import TrainingConfiguration
from nasbench.networks.space import make_space
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA
from nasbench.testing.models import TINY_BERT
from nasbench.testing.networks import TinyNetwork, tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_TEXT, TINY_ZERO_SHOT
from nasbench.training.distillation import Distillation
from nasbench.training.gates import Gates
from nasbench.training.losses import Shares
from nasbench.training.strategies import TrainingStrategy
from nasbench.training.trainer import Trainer

SCENES = pytest.mark.parametrize(
    ("model", "task"),
    [
        (TINY_BERT, TINY_PAIR), (TINY_BERT, TINY_CHOICE), (TINY_LLAMA, TINY_TEXT), (TINY_GPT2, TINY_TEXT),
        (TINY_LLAMA, TINY_ZERO_SHOT),
    ],
    ids=lambda part: part.name,
)  # fmt: skip
N = 7


def _unequal(tiny: TinyNetwork) -> Any:
    """Three short examples and four long ones."""
    order = np.argsort(tiny.data.train.lengths.reshape(-1, tiny.data.train.n_choices).sum(axis=1), kind="stable")
    return np.concatenate((order[:3], order[-4:]))


def _gradients(tiny: TinyNetwork, learns: str, n_fit: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, int]:
    """Gradients of one step by parameter, where ``n_fit`` examples fit the memory, and the number of parts."""
    network, embed = tiny.network.copy(), SuperNetwork.embed
    strategy = TrainingStrategy("full", temperature=2.0)
    objective: Any = None
    if learns == "distillation":
        objective = Distillation(tiny.network, ((1, 2), (3, 3)), 2.0, 0.7)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(3)
            for parameter in network.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        network.refresh()
    elif learns == "gates":
        objective = Gates(network, 0.5)
    tuning = TrainingConfiguration(batch_size=N, epochs=1)
    space = make_space("large", network.dims)
    trainer = Trainer(
        network, tiny.data.train, tiny.task.kind, tuning, lambda *step: strategy.step(*step[:2], space, step[2]),
        strategy, tiny.pad_id, 5, objective,
    )  # fmt: skip

    def limited(self: SuperNetwork, batch: Any, *others: Any) -> Any:
        if len(batch.index) > n_fit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(self, batch, *others)

    with monkeypatch.context() as patch:
        patch.setattr(SuperNetwork, "embed", limited)
        patch.setattr("nasbench.training.gates._drawn", torch.sigmoid)  # parts draw their own noise
        patch.setattr(Trainer, "_batch_index", lambda _: _unequal(tiny))
        trainer._compute_gradients()
    found = {name: p.grad for name, p in network.model.named_parameters() if p.grad is not None}
    found |= {f"gates {i}": tensor.grad for i, tensor in enumerate(objective.tensors() if objective else ())}
    return found, trainer.n_parts


@SCENES
@pytest.mark.parametrize("learns", ["passes", "distillation", "gates"])
def test_gradient_of_parts_is_that_of_the_whole_batch(
    model: Any, task: Any, learns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = tiny_network(model, task)
    wanted, n_parts = _gradients(tiny, learns, N, monkeypatch)
    assert n_parts == 1
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    assert largest > 1e-2
    for n_fit, n_due in ((4, 2), (2, 4), (1, 8)):
        found, n_parts = _gradients(tiny, learns, n_fit, monkeypatch)
        assert n_parts == n_due
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5 * largest, msg=name)


def test_resumed_training_in_parts_records_no_graphs() -> None:
    trainer, resumed = make_trainer(tiny_of()), make_trainer(tiny_of())
    trainer.n_parts, resumed._graphed = 2, make_graphed(resumed)
    resumed.restore(trainer.state())
    assert resumed.n_parts == 2
    assert resumed._graphed is None


@SCENES
def test_shares_of_parts_are_counted_one_by_one(model: Any, task: Any) -> None:
    tiny = tiny_network(model, task)
    index, split = _unequal(tiny), tiny.data.train
    whole = collate(split, index, tiny.pad_id, 60)
    parts = [collate(split, part, tiny.pad_id) for part in (index[:3], index[3:])]
    shares = [Shares.of(task.kind, part, whole) for part in parts]
    counts = np.zeros((2, 3))
    for row, part in enumerate((index[:3], index[3:])):
        for i in part:
            counts[row] += 1
            if task is not TINY_TEXT and task is not TINY_ZERO_SHOT:
                continue
            places = np.concatenate(
                [np.arange(*split.offsets[s : s + 2]) for s in range(i * split.n_choices, (i + 1) * split.n_choices)]
            )
            labels = split.labels[i] if task is TINY_TEXT else 1
            counts[row] += np.array([labels, (split.segments[places] == 1).sum(), len(places)]) - 1
    expected = counts / counts.sum(axis=0)
    np.testing.assert_allclose([[s.labels, s.marked, s.tokens] for s in shares], expected, rtol=1e-6)
    if task is TINY_TEXT:
        assert abs(expected[0] - 3 / 7).min() > 0.05
