"""What a GPU does once is done off the clock, and leaves no trace in the training or in the record."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from nasbench.declarations.model import TrainingConfiguration
from nasbench.networks.space import make_space
from nasbench.runs import session
from nasbench.runs.session import TrainingSession
from nasbench.testing.models import TINY_BERT
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.cuda_graphs import GraphedPasses
from nasbench.training.strategies import TrainingStrategy
from nasbench.training.trainer import Trainer

FINE_TUNING = TrainingConfiguration(learning_rate=1e-3, batch_size=8, epochs=1)


def _trainer(is_graphed):
    tiny, strategy = tiny_network(TINY_BERT, TINY_PAIR, dropout=0.1), TrainingStrategy()
    space = make_space("small", tiny.network.dims)
    trainer = Trainer(
        tiny.network, tiny.data.train, "classification", FINE_TUNING,
        lambda step, n, rng: strategy.step(step, n, space, rng), strategy, tiny.pad_id, seed=5,
    )  # fmt: skip
    if is_graphed:
        longest = int(tiny.data.train.lengths.max())
        trainer._graphed = GraphedPasses(tiny.network, "classification", strategy, 8, longest)
    return trainer


@pytest.mark.parametrize("is_graphed", [False, True])
def test_training_is_the_same_with_a_warm_up(is_graphed):
    """Also in the middle of a training. The global random state is that of before."""
    usual, warm = _trainer(is_graphed), _trainer(is_graphed)
    before = torch.random.get_rng_state()
    for stop in (0, 4):
        usual.run(stop)
        warm.run(stop)
        start = {name: value.clone() for name, value in warm.network.model.state_dict().items()}
        warm.warm_up()
        assert all(torch.equal(value, start[name]) for name, value in warm.network.model.state_dict().items())
        assert not any(p.grad.any() for p in warm._parameters)
        assert not warm.network.model.training
    assert torch.equal(torch.random.get_rng_state(), before)
    usual.run(9)
    warm.run(9)
    for name, value in usual.network.model.state_dict().items():
        assert torch.equal(warm.network.model.state_dict()[name], value), name


def test_only_the_first_training_on_a_gpu_is_warmed_up_and_off_the_clock(monkeypatch):
    monkeypatch.setattr(session, "_WARM", set())
    phases, warmed = [], []

    @contextmanager
    def uncharged(phase):
        phases.append(phase)
        yield
        phases.append("charged again")

    def trainer(device, step=0):
        return SimpleNamespace(
            network=SimpleNamespace(device=torch.device(device)), step=step, n_steps=9,
            warm_up=lambda: warmed.append(phases[-1]),
        )  # fmt: skip

    the_session = SimpleNamespace(_budget=SimpleNamespace(uncharged=uncharged))
    for one in (trainer("cpu"), trainer("cuda:0", step=9), trainer("cuda:0"), trainer("cuda:0"), trainer("cuda:1")):
        TrainingSession._warm_up(the_session, one)
    assert warmed == ["loading", "loading"]
    assert phases == ["loading", "charged again"] * 2
