"""Training steps of tiny networks, sliced or as a GPU makes them, and their gradients."""

from functools import cache

import torch

from nasbench.declarations.model import TrainingConfiguration
from nasbench.networks.space import make_space
from nasbench.testing.decoders import TINY_DECODERS
from nasbench.testing.models import TINY_ENCODERS
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION
from nasbench.training.cuda_graphs import GraphedPasses
from nasbench.training.strategies import TrainingStrategy
from nasbench.training.trainer import Trainer

MODELS = {model.name: model for model in (*TINY_ENCODERS, *TINY_DECODERS)}
TASKS = {task.name: task for task in (TINY_PAIR, TINY_REGRESSION, TINY_CHOICE)}
FINE_TUNING = TrainingConfiguration(learning_rate=1e-4, batch_size=8, epochs=1, weight_decay=0.1)
N_EXAMPLES = 8


@cache
def tiny_of(model="tiny-bert", task="tiny-pair", precision="fp32", dropout=0.0):
    return tiny_network(MODELS[model], TASKS[task], precision, dropout)


def make_trainer(tiny, strategy=None, device="cpu", network=None):
    network = network or tiny.network.copy()
    network.model.to(device)
    network.refresh()
    strategy = strategy or TrainingStrategy()
    space = make_space("small", network.dims)

    def schedule(step, n_steps, rng):
        return strategy.step(step, n_steps, space, rng)

    return Trainer(network, tiny.data.train, tiny.task.kind, FINE_TUNING, schedule, strategy, tiny.pad_id, seed=5)


def make_graphed(trainer):
    longest = int(trainer._split.lengths.max())
    return GraphedPasses(trainer.network, trainer._kind, trainer._strategy, N_EXAMPLES, longest)


def gradients_of(tiny, step, strategy=None, graphed=True, device="cpu", network=None, n_replays=1, n_at_once=None):
    """Gradients of one step by parameter name; those of the active word vectors under 'words'."""
    trainer = make_trainer(tiny, strategy, device, network)
    passes = make_graphed(trainer) if graphed else None
    if passes is not None:
        passes.n_at_once = n_at_once
    length = int(tiny.data.train.lengths[: N_EXAMPLES * tiny.data.train.n_choices].max())
    batch = tiny.batch(N_EXAMPLES, tiny.data.train, passes.padded_length(length) if passes else None).to(
        trainer.network.device
    )
    for _ in range(n_replays):  # the gradients of the last replay are returned
        for parameter in trainer._parameters:
            parameter.grad.zero_()
        if passes is not None:
            passes.record(batch, step)
        trainer._accumulate_gradients(batch, step, passes)
    found = {n: p.grad.cpu() for n, p in trainer.network.model.named_parameters() if p.grad is not None}
    return {**found, "words": trainer._vocabulary.rows.grad.cpu()}


def flat(gradients):
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


def assert_close(found, expected, atol=2e-6):
    assert found.keys() == expected.keys()
    atol *= max(1.0, *(float(gradient.abs().max()) for gradient in expected.values()))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
