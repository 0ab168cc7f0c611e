"""Every path of the suite that runs on a GPU, on every tiny model: no device error, no refused capture.

The values are garbage, because kernels do nothing. So nothing here compares them. Language models are not here: they
count their tokens on the card.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from mock_cuda.card import counted
from support.steps import MODELS, TASKS

from nasbench.declarations.model import TrainingConfiguration
from nasbench.masks import importance
from nasbench.networks.space import SPACES, make_space
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing.networks import TinyNetwork, tiny_network
from nasbench.training.evaluation import Evaluator
from nasbench.training.strategies import FINE_TUNING_STEP, STRATEGIES, TrainingStrategy
from nasbench.training.trainer import StepSchedule, Trainer

CARD = torch.device("cuda")
FINE_TUNING = TrainingConfiguration(learning_rate=1e-4, batch_size=8, epochs=1)
every_network = pytest.mark.parametrize(
    ("model", "task", "precision"),
    [(model, task, precision) for model in MODELS for task in TASKS for precision in ("fp32", "bf16")],
)


@cache
def _on_cpu(model: str, task: str) -> TinyNetwork:
    return tiny_network(MODELS[model], TASKS[task], dropout=0.1)


def _network(tiny: TinyNetwork, precision: str) -> SuperNetwork:
    copy = tiny.network.copy()
    copy.model.to(CARD)
    network = SuperNetwork(copy.model, precision)
    network.n_choices = tiny.data.train.n_choices
    return network


def _train(tiny: TinyNetwork, network: SuperNetwork, schedule: StepSchedule, strategy: TrainingStrategy) -> Trainer:
    """A training that pauses once, as for a checkpoint."""
    trainer = Trainer(network, tiny.data.train, tiny.task.kind, FINE_TUNING, schedule, strategy, tiny.pad_id, seed=5)
    trainer.run(until=3)
    trainer.state()
    trainer.run()
    return trainer


@pytest.mark.parametrize("strategy", STRATEGIES)
@every_network
def test_training_of_a_super_network(model: str, task: str, precision: str, strategy: str) -> None:
    tiny, how = _on_cpu(model, task), TrainingStrategy(strategy)
    network = _network(tiny, precision)
    for name in SPACES:
        space = make_space(name, network.dims)
        with counted() as found:
            trainer = _train(tiny, network, lambda step, n, rng, s=space: how.step(step, n, s, rng), how)
        assert trainer._graphed is not None
        assert found.captures > 0
        assert found.replays >= trainer.n_steps - trainer.n_steps // trainer.steps_per_epoch


@every_network
def test_training_of_an_extracted_network(model: str, task: str, precision: str) -> None:
    tiny = _on_cpu(model, task)
    space = make_space("large", tiny.network.dims)
    network = _network(tiny, precision).extract(space.to_subnetwork(space.sample(np.random.default_rng(0))))
    trainer = _train(tiny, network, lambda *_: FINE_TUNING_STEP, TrainingStrategy())
    assert trainer._graphed is not None
    Evaluator(tiny.data.validation, tiny.task, tiny.pad_id, CARD).logits(network)


@every_network
def test_evaluation(model: str, task: str, precision: str) -> None:
    tiny = _on_cpu(model, task)
    network = _network(tiny, precision)
    evaluator = Evaluator(tiny.data.validation, tiny.task, tiny.pad_id, CARD)
    rng = np.random.default_rng(0)
    for name in SPACES:
        space = make_space(name, network.dims)
        for config in (space.largest, space.smallest, space.sample(rng), space.sample(rng)):
            logits = evaluator.logits(network, space.to_subnetwork(config))
            assert logits.shape == (len(tiny.data.validation), tiny.task.n_labels)
    depths = evaluator.logits_of_depths(network, network.subnetwork, network.dims.n_layers)
    assert len(depths) == network.dims.n_layers + 1


@every_network
def test_importance(model: str, task: str, precision: str) -> None:
    tiny = _on_cpu(model, task)
    network, dims = _network(tiny, precision), tiny.network.dims
    space = make_space("large", dims)
    subnetwork = space.to_subnetwork(space.sample(np.random.default_rng(0)))
    for batch in importance.batches(tiny.data.train, network, tiny.pad_id):
        heads, units = importance.mask_gradients(network, batch, tiny.task.kind, network.subnetwork)
        assert heads.shape == (len(batch.index), dims.n_layers, dims.n_heads)
        assert units.shape == (len(batch.index), dims.n_layers, dims.n_units)
        importance.head_gradients(network, batch, tiny.task.kind, subnetwork, per_token=True)


@every_network
def test_masked_pass(model: str, task: str, precision: str) -> None:
    tiny = _on_cpu(model, task)
    network = _network(tiny, precision)
    space = make_space("large", network.dims)
    subnetwork = space.to_subnetwork(space.sample(np.random.default_rng(0)))
    logits = network.masked(tiny.batch().to(CARD), subnetwork)
    assert logits.device.type == "cuda"
