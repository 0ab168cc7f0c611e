"""What a GPU does once is done off the clock, and leaves no trace in the training or in the record."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from support.steps import make_graphed, make_trainer, tiny_of

from nasbench.runs import session
from nasbench.runs.session import TrainingSession


def _trainer(is_graphed):
    trainer = make_trainer(tiny_of(dropout=0.1))
    if is_graphed:
        trainer._graphed = make_graphed(trainer)
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
    assert [usual._graphed is not None, warm._graphed is not None] == [is_graphed] * 2  # no recording has failed
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
