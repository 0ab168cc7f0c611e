"""Spaces of sub-networks nested by importance, against a stock model with permuted weights and the mask search."""

import dataclasses

import numpy as np
import pytest
import torch

from nasbench.masks.ordered import Ordered, OrderedByLayer, ranks
from nasbench.masks.search import MacCosts, MaskSearch
from nasbench.networks.space import Small
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing.models import TINY_MODELS
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_PAIR

DIMS = Dimensions(n_layers=3, n_heads=4, n_units=8, hidden_size=16, head_size=4, n_fixed_params=100)
UNEVEN = dataclasses.replace(DIMS, heads_by_layer=(4, 2, 0), units_by_layer=(3, 8, 1))


def _importance(dims: Dimensions, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((dims.n_layers, dims.n_heads)), rng.random((dims.n_layers, dims.n_units))


def _permuted(network: SuperNetwork, heads: np.ndarray, units: np.ndarray) -> SuperNetwork:
    """A copy whose heads and units of each layer stand in descending order of importance: plain indexing of weights."""
    copied = network.copy("permuted")
    width = network.dims.head_size
    with torch.no_grad():
        for i in range(network.dims.n_layers):
            attention, feed_forward = copied.adapter.attention(i), copied.adapter.feed_forward(i)
            rows = torch.tensor([head * width + j for head in np.argsort(-heads[i]) for j in range(width)])
            order = torch.tensor(np.argsort(-units[i]))
            for projection in (attention.query, attention.key, attention.value):
                projection.module.weight.copy_(projection.module.weight[rows].clone())
                projection.module.bias.copy_(projection.module.bias[rows].clone())
            feed_forward.intermediate.module.weight.copy_(feed_forward.intermediate.module.weight[order].clone())
            feed_forward.intermediate.module.bias.copy_(feed_forward.intermediate.module.bias[order].clone())
            for projection, index in ((attention.output, rows), (feed_forward.output, order)):
                projection.module.weight.copy_(projection.module.weight[:, index].clone())
    copied.refresh()
    return copied


@pytest.mark.parametrize("model", TINY_MODELS, ids=lambda model: model.name)
def test_ordered_sub_network_is_the_first_heads_and_units_of_the_permuted_network(model):
    tiny = tiny_network(model, TINY_PAIR)
    network, dims, batch = tiny.network, tiny.network.dims, tiny.batch()
    heads, units = _importance(dims)
    by_layer, permuted = OrderedByLayer(dims, heads, units), _permuted(network, heads, units)
    with torch.inference_mode():
        whole = permuted.forward(batch)
        torch.testing.assert_close(whole, network.forward(batch), rtol=1e-5, atol=1e-5)  # the same function
        for config in ([1, 3, 2], [2, dims.n_units // 2, 3], [dims.n_heads, 1, 1], [0, 5, 3], [3, 0, 3], [0, 0, 0]):
            found = network.forward(batch, by_layer.to_subnetwork(np.array(config)))
            first = Small(dims).to_subnetwork(np.array(config))
            torch.testing.assert_close(found, permuted.masked(batch, first), rtol=1e-4, atol=1e-4)
        space = Ordered(dims, heads, units)
        for config in ([3, 7], [dims.n_heads, dims.n_units], [1, 1], [0, 5]):
            ordered = space.to_subnetwork(space.nearest(*config))
            first = SubNetwork.from_counts(ordered.head_counts, ordered.unit_counts, dims)
            found = network.forward(batch, ordered)
            torch.testing.assert_close(found, permuted.masked(batch, first), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dims", [DIMS, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("kind", [Ordered, OrderedByLayer])
def test_counts_and_parameters_are_those_of_the_masks(kind, dims):
    space = kind(dims, *_importance(dims))
    rng = np.random.default_rng(1)
    configs = np.stack([space.largest, space.smallest, space.midpoint, *(space.sample(rng) for _ in range(30))])
    subnetworks = [space.to_subnetwork(config) for config in configs]
    assert subnetworks[0] == SubNetwork.full(dims)
    heads, units = space.counts(configs)
    np.testing.assert_array_equal(heads, [s.head_counts for s in subnetworks])
    np.testing.assert_array_equal(units, [s.unit_counts for s in subnetworks])
    np.testing.assert_array_equal(space.n_params(configs), [s.n_params(dims) for s in subnetworks])


@pytest.mark.parametrize("kind", [Ordered, OrderedByLayer])
def test_sub_networks_are_nested(kind):
    space = kind(UNEVEN, *_importance(UNEVEN))
    rng = np.random.default_rng(2)
    for _ in range(50):
        config = space.sample(rng)
        larger, smaller = space.to_subnetwork(config), space.to_subnetwork(rng.integers(0, config + 1))
        assert not (smaller.heads & ~larger.heads).any()
        assert not (smaller.units & ~larger.units).any()


def test_kept_heads_and_units_are_at_least_as_important_as_the_others():
    heads, units = _importance(DIMS)
    space = Ordered(DIMS, heads, units)
    subnetwork = space.to_subnetwork(space.nearest(5, 11))
    assert (subnetwork.heads.sum(), subnetwork.units.sum()) == (5, 11)
    assert heads[subnetwork.heads].min() > heads[~subnetwork.heads].max()
    assert units[subnetwork.units].min() > units[~subnetwork.units].max()
    by_layer = OrderedByLayer(DIMS, heads, units).to_subnetwork(np.array([2, 3, 2]))
    for row, kept in ((heads[0], by_layer.heads[0]), (units[1], by_layer.units[1])):
        assert row[kept].min() > row[~kept].max()
    assert not by_layer.heads[2].any()


def test_widths_at_each_amount_of_computation_are_those_of_the_mask_search():
    heads, units = _importance(DIMS)
    space = Ordered(DIMS, heads, units)
    search = MaskSearch(heads, units, MacCosts.of(DIMS, 10.0), SubNetwork.full(DIMS))
    for alpha in (0.1, 0.35, 0.6, 0.9):
        best = search.best(alpha)
        assert space.to_subnetwork(space.nearest(best.heads.sum(), best.units.sum())) == best


def test_numbers_of_heads_and_units_grow_by_about_one_factor():
    """With the units of MiniLM-L6: 96 values by a loop of its own, each 7 % more than the last, to within rounding."""
    dims = Dimensions(n_layers=6, n_heads=12, n_units=1536, hidden_size=384, head_size=32, n_fixed_params=0)
    space = Ordered(dims, *_importance(dims))
    configs = np.stack([np.full(space.upper[1] + 1, space.upper[0]), np.arange(space.upper[1] + 1)], axis=1)
    expected, value = [0], 9216.0
    while value > 17.99:
        expected.insert(1, round(value))
        value /= 512 ** (1 / 95)
    assert space.counts(configs)[1].sum(axis=1).tolist() == expected
    heads = space.counts(configs[-1:] * 0 + np.stack([np.arange(space.upper[0] + 1)] * 2, axis=1))[0].sum(axis=1)
    assert heads[:12].tolist() == list(range(12))
    assert heads[-1] == 72
    assert (np.diff(heads)[12:] <= 0.1 * heads[12:-1]).all()


@pytest.mark.parametrize("config", [[0, 0], [0, 3], [2, 0]])
def test_network_without_heads_or_without_units_is_the_smallest(config):
    space = Ordered(DIMS, *_importance(DIMS))
    assert space.to_subnetwork(np.array(config)) == space.to_subnetwork(space.smallest)
    assert space.n_params(np.array(config)) == DIMS.n_fixed_params


def test_first_of_equal_values_ranks_first():
    np.testing.assert_array_equal(ranks(np.array([[1.0, 2.0], [2.0, -np.inf]])), [[2, 0], [1, 3]])


@pytest.mark.parametrize("kind", [Ordered])
def test_importance_of_another_network_is_refused(kind):
    with pytest.raises(ValueError, match="does not fit the network"):
        kind(DIMS, *_importance(dataclasses.replace(DIMS, n_layers=2)))
