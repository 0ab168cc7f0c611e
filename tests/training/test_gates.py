"""Gates over heads and units: their distribution, what they multiply, and where they lead."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from nasbench.networks.subnetwork import SubNetwork
from nasbench.testing.decoders import TINY_GPT_NEOX
from nasbench.testing.models import TINY_MODELS
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.gates import BETA, HIGHEST, LOWEST, Gates, _drawn
from nasbench.training.losses import label_loss


def _open_chance(log_alpha):
    """The integral of the density of the concrete distribution over the part where the gate is open."""

    def density(s):  # Maddison et al. (2017), the binary concrete distribution
        ratio = s / (1 - s)
        return (
            BETA
            * np.exp(log_alpha)
            * ratio ** (-BETA)
            / (s * (1 - s) * (np.exp(log_alpha) * ratio ** (-BETA) + 1) ** 2)
        )

    closed_below = -LOWEST / (HIGHEST - LOWEST)
    return integrate.quad(density, closed_below, 1 - 1e-12)[0]


@pytest.mark.parametrize("log_alpha", [-3.0, -0.5, 0.0, 2.5])
def test_share_of_open_gates_is_that_of_the_hard_concrete_distribution(log_alpha):
    torch.manual_seed(0)
    drawn = _drawn(torch.full((40_000,), log_alpha))
    assert (drawn.min() >= 0) & (drawn.max() <= 1)
    n_open = int((drawn > 0).sum())
    assert stats.binomtest(n_open, 40_000, _open_chance(log_alpha)).pvalue > 1e-3


def test_expected_share_weighs_gates_by_their_parameters():
    network = tiny_network(TINY_MODELS[0], TINY_PAIR).network
    dims, gates = network.dims, Gates(network, 0.5)
    rng = np.random.default_rng(1)
    heads, units, _ = gates.tensors()
    with torch.no_grad():
        for values in (heads, units):
            values.copy_(torch.from_numpy(rng.normal(0, 2, size=values.shape)))
    kept = sum(_open_chance(float(value)) * dims.n_params_per_head for value in heads.detach().flatten())
    kept += sum(_open_chance(float(value)) * dims.n_params_per_unit for value in units.detach().flatten())
    full = dims.n_layers * (dims.n_heads * dims.n_params_per_head + dims.n_units * dims.n_params_per_unit)
    assert float(gates.expected_share().detach()) == pytest.approx(kept / full, rel=1e-4)


@pytest.mark.parametrize("model", [*TINY_MODELS, TINY_GPT_NEOX], ids=lambda model: model.name)
def test_gated_pass_is_the_masked_pass_of_the_stock_model(model, monkeypatch):
    tiny = tiny_network(model, TINY_PAIR)
    network, batch = tiny.network, tiny.batch()
    gates = Gates(network, 0.5)
    rng = np.random.default_rng(2)
    wanted = [torch.from_numpy(rng.uniform(0.1, 1, size=values.shape)).float() for values in gates.tensors()[:2]]
    queue = list(wanted)
    monkeypatch.setattr("nasbench.training.gates._drawn", lambda _: queue.pop(0))
    loss = gates.loss(network, tiny.task.kind, batch, network.embed(batch), 0.0)
    masked = network.masked(batch, None, *wanted)
    # Both multipliers are 0 at the beginning, and so is the penalty.
    torch.testing.assert_close(loss, label_loss(tiny.task.kind, masked, batch.labels), rtol=1e-4, atol=1e-5)


def test_multipliers_rise_and_gates_close_while_the_network_is_too_large():
    tiny = tiny_network(TINY_MODELS[0], TINY_PAIR)
    network, batch = tiny.network, tiny.batch()
    gates = Gates(network, 0.2)
    heads, units, multipliers = gates.tensors()
    with torch.no_grad():
        multipliers.copy_(torch.tensor([3.0, 1.0]))
    gates.loss(network, tiny.task.kind, batch, network.embed(batch), 1.0).backward()
    distance = float(gates.expected_share().detach()) - 0.2
    # Descent on these gradients raises both multipliers, by the distance and its square.
    torch.testing.assert_close(multipliers.grad, -torch.tensor([distance, distance**2]), rtol=1e-4, atol=1e-6)
    assert (units.grad.mean() > 0) & (heads.grad.mean() > 0)


def test_tensors_belong_to_the_model_until_they_are_removed():
    network = tiny_network(TINY_MODELS[0], TINY_PAIR).network
    before = set(network.model.state_dict())
    gates = Gates(network, 0.5)
    assert len(set(network.model.state_dict()) - before) == 3
    assert network.count_params() == network.dims.n_params
    copied = network.copy("copy")
    assert set(copied.model.state_dict()) == set(network.model.state_dict())
    gates.remove()
    assert set(network.model.state_dict()) == before


def test_values_without_noise_are_those_of_equation_13():
    network = tiny_network(TINY_MODELS[0], TINY_PAIR).network
    gates = Gates(network, 0.5)
    with torch.no_grad():
        gates.tensors()[0][0, 0] = -4.0
        gates.tensors()[0][0, 1] = 0.3
    heads, units = gates.values()
    assert heads[0, 0] == 0
    assert heads[0, 1] == pytest.approx(1 / (1 + np.exp(-0.3)) * 1.2 - 0.1, rel=1e-5)
    assert (units == 1).all()  # at the start
    assert SubNetwork(heads > 0, units > 0).heads[0, 1]
