"""Networks with factored projections: counts, passes and gradients, each against torch's own modules."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from nasbench.errors import UserError
from nasbench.networks.factored.modules import Factors, factored, projections, ranks_by_place
from nasbench.networks.factored.structure import WHOLE, FactoredNetwork, projection_names
from nasbench.networks.space import Large, make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.objectives.costs import counted_costs
from nasbench.objectives.declared import MAC_LENGTH
from nasbench.testing.decoders import TINY_GPT2, TINY_GPT_NEOX, TINY_LLAMA
from nasbench.testing.models import TINY_BERT, TINY_ENCODERS, TINY_MODERNBERT
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR
from nasbench.training.losses import label_loss

APART = [model for model in TINY_ENCODERS if model is not TINY_MODERNBERT]
"""Encoders whose projections are layers of their own."""
MINILM = Dimensions(n_layers=6, n_heads=12, n_units=1536, hidden_size=384, head_size=32, n_fixed_params=12_065_666)
LAYER_DROPPED = Dimensions(**{**MINILM.to_json(), "heads_by_layer": [12, 0] * 3, "units_by_layer": [1536, 0] * 3})


def random_network(model, task=TINY_PAIR, masked=False, seed=0):
    """A tiny network and a factored one, with random ranks and random factors."""
    tiny = tiny_network(model, task)
    dims, rng = tiny.network.dims, np.random.default_rng(seed)
    space = make_space("ranks", dims)
    subnetwork = SubNetwork.full(dims)
    if masked:
        subnetwork = Large(dims).to_subnetwork(rng.integers(0, 2, Large(dims).n_dims))
    structure = FactoredNetwork.at_most(subnetwork, space.ranks(space.sample(rng)[None])[0], dims)
    small = tiny.network.extract(structure)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    small.refresh()
    return tiny, small


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("model", [*APART, TINY_LLAMA], ids=lambda model: model.name)
def test_passes_and_counts_equal_those_of_the_stock_model(model, masked):
    tiny, small = random_network(model, masked=masked)
    assert small.subnetwork.is_factored
    assert any(isinstance(module, Factors) for module in small.model.modules())
    assert sum(p.numel() for p in small.model.parameters()) == small.subnetwork.n_params(tiny.network.dims)
    with torch.inference_mode():
        found, wanted = small.forward(tiny.batch()), small.stock_logits(tiny.batch())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert found.std() > 1e-3


def test_gradients_equal_those_of_the_stock_model():
    tiny, small = random_network(TINY_BERT, TINY_CHOICE)
    batch, gradients = tiny.batch(), []
    for run in (small.forward, small.stock_logits):
        small.model.zero_grad()
        label_loss("multiple_choice", run(batch), batch.labels).backward()
        gradients.append({name: p.grad.clone() for name, p in small.model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-5)


def test_product_of_the_factors_is_the_projection():
    """A network with the factors B, A is the network with W = B A."""
    tiny, small = random_network(TINY_BERT)
    dense = tiny.network.copy()
    with torch.no_grad():
        dense.model.load_state_dict(
            {k: v for k, v in small.model.state_dict().items() if k in dense.model.state_dict()}, strict=False
        )
        for (place, into), (_, projection) in zip(projections(dense.adapter), projections(small.adapter), strict=True):
            rank = ranks_by_place(small.subnetwork, dense.dims)[place]
            assert isinstance(projection.module, Factors) == (rank != WHOLE)
            if rank != WHOLE:
                assert torch.linalg.matrix_rank(projection.weight).item() == min(rank, *projection.weight.shape)
                into.weight.copy_(projection.weight)
                into.bias.copy_(projection.bias)
    dense.refresh()
    with torch.inference_mode():
        torch.testing.assert_close(small.forward(tiny.batch()), dense.forward(tiny.batch()), rtol=1e-4, atol=1e-5)


def test_given_factors_are_put_in_their_places():
    tiny = tiny_network(TINY_BERT, TINY_PAIR)
    dims = tiny.network.dims
    space = make_space("ranks", dims)
    config = space.largest
    config[space.names.index("intermediate_1")] = 2
    structure = space.to_subnetwork(config)
    b, a = torch.randn(48, 2), torch.randn(2, 32)
    small = factored(tiny.network, structure, {(1, "intermediate"): (b, a)}, "small")
    module = small.model.bert.encoder.layer[1].intermediate.dense
    assert torch.equal(module[0].weight, a)
    assert torch.equal(module[1].weight, b)
    assert torch.equal(module[1].bias, tiny.network.model.bert.encoder.layer[1].intermediate.dense.bias)
    assert sum(isinstance(m, Factors) for m in small.model.modules()) == 1
    with pytest.raises(ValueError, match=r"a factor of \(1, 'intermediate'\) is \(2, 32\) where \(48, 2\) is due"):
        factored(tiny.network, structure, {(1, "intermediate"): (a, a)}, "small")


def test_space_counts_without_building_networks():
    space, rng = make_space("ranks", MINILM), np.random.default_rng(1)
    assert projection_names(MINILM) == (
        "query", "key", "value", "attention_output", "intermediate", "feed_forward_output"
    )  # fmt: skip
    # 384 * 384 / (384 + 384) = 192, and 384 * 1536 / (384 + 1536) = 307.2
    assert space.upper.tolist() == [192, 192, 192, 192, 308, 308] * 6
    assert space.n_params(space.largest)[0] == MINILM.n_params == space.to_subnetwork(space.largest).n_params(MINILM)
    # Only biases and norms are left of the layers: 4 * 384 + 1536 + 384 biases and 2 * 2 * 384 of the norms in each.
    assert space.n_params(space.smallest)[0] == MINILM.n_fixed_params + 6 * (5 * 384 + 1536 + 4 * 384)
    configs = np.stack([space.sample(rng) for _ in range(20)])
    for config, n_params in zip(configs, space.n_params(configs), strict=True):
        by_hand = MINILM.n_params
        for i, rank in enumerate(config):
            rows, columns = (384, 384) if i % 6 < 4 else (384, 1536)
            by_hand -= max(0, rows * columns - rank * (rows + columns))
        assert n_params == by_hand == space.to_subnetwork(config).n_params(MINILM)
        space.check(config)
        assert np.array_equal(space.from_json(space.to_json(config)), config)


def test_layer_without_projections_has_no_ranks():
    space = make_space("ranks", LAYER_DROPPED)
    subnetwork = space.to_subnetwork(space.smallest)
    assert subnetwork.ranks.tolist() == [[0] * 6, [WHOLE] * 6] * 3
    subnetwork.check(LAYER_DROPPED)
    rng = np.random.default_rng(0)
    for _ in range(50):
        space.check(space.redraw(space.largest, rng))


def test_costs_equal_those_of_torch_modules():
    """Multiply-accumulates counted by hooks on the linear layers, and bytes of the parameters."""
    tiny, small = random_network(TINY_BERT, masked=True)
    dims, counted = tiny.network.dims, []
    for name, module in small.model.named_modules():
        if isinstance(module, nn.Linear) and ".layer." in name:
            module.register_forward_hook(lambda m, _, out: counted.append(out.numel() * m.in_features))
    batch = tiny.batch(1)
    small.stock_logits(batch)
    length, heads = batch.input_ids.shape[1], small.subnetwork.head_counts.sum()
    costs = counted_costs(("error", "macs", "weight_bytes"))
    fractions = costs.of_subnetwork(dims, small.subnetwork)
    linear = sum(counted) // length * MAC_LENGTH
    macs = linear + heads * 2 * MAC_LENGTH**2 * dims.head_size
    assert fractions["macs"] * costs.describe(dims)["macs"]["full"] == pytest.approx(macs, rel=1e-12)
    n_bytes = sum(p.numel() * p.element_size() for p in small.model.parameters())
    assert fractions["weight_bytes"] * costs.describe(dims)["weight_bytes"]["full"] == pytest.approx(n_bytes, rel=1e-12)


def test_costs_of_a_space_equal_those_of_its_networks():
    dims = dataclasses.replace(MINILM, n_relative_positions=512)
    space, rng = make_space("ranks", dims), np.random.default_rng(2)
    costs = counted_costs(("error", "params", "macs"))
    configs = np.stack([space.sample(rng) for _ in range(5)])
    one_by_one = [[*costs.of_subnetwork(dims, space.to_subnetwork(config)).values()] for config in configs]
    np.testing.assert_array_equal(costs.of(space, configs), one_by_one)


def test_structures_are_equal_if_masks_and_ranks_are():
    space = make_space("ranks", MINILM)
    a, b = space.to_subnetwork(space.midpoint), space.to_subnetwork(space.midpoint)
    assert a == b
    assert hash(a) == hash(b)
    assert a.key == b.key
    full, other = space.to_subnetwork(space.largest), SubNetwork.full(MINILM)
    assert a != full
    assert full != other
    assert other != full
    assert len({a.key, full.key, other.key}) == 3


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        (np.zeros((6, 5), dtype=np.int64), "do not fit"),
        (np.full((6, 6), 192), "hold no fewer weights"),
        (np.full((6, 6), -2), "below 0"),
        (np.zeros((6, 6)), "integers"),
        (np.zeros(6, dtype=np.int64), "integers"),
    ],
)
def test_ranks_that_do_not_fit_are_refused(ranks, message):
    full = SubNetwork.full(MINILM)
    with pytest.raises(ValueError, match=message):
        FactoredNetwork(full.heads, full.units, ranks).check(MINILM)


@pytest.mark.parametrize("model", [TINY_GPT2, TINY_GPT_NEOX, TINY_MODERNBERT], ids=lambda model: model.name)
def test_model_whose_layers_compute_several_projections_is_refused(model):
    tiny = tiny_network(model, TINY_PAIR)
    space = make_space("ranks", tiny.network.dims)
    with pytest.raises(
        UserError, match="no projections of their own that could be factored: one layer computes several"
    ):
        tiny.network.extract(space.to_subnetwork(space.smallest))


def test_building_draws_no_random_numbers():
    tiny = tiny_network(TINY_BERT, TINY_PAIR)
    space = make_space("ranks", tiny.network.dims)
    before = torch.get_rng_state()
    tiny.network.extract(space.to_subnetwork(space.midpoint))
    assert torch.equal(torch.get_rng_state(), before)
