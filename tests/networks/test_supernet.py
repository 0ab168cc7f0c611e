"""Sliced, masked and extracted passes give the same logits, for every space, architecture and head."""

import numpy as np
import pytest
import torch
from support.steps import TASKS, tiny_of

from nasbench.data.batching import collate
from nasbench.errors import UserError
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.space import SPACES, Large, make_space
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing.models import TINY_BERT
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_PAIR

TOLERANCE = 1e-5


@pytest.fixture(params=["tiny-bert", "tiny-roberta"])
def model(request):
    return request.param


@pytest.fixture(params=sorted(TASKS))
def tiny(request, model):
    return tiny_of(model, request.param)


@pytest.fixture
def pair(model):
    return tiny_of(model, "tiny-pair")


def _subnetworks(space, n, seed=0):
    """The smallest, middle and largest sub-network and random ones, some with empty blocks."""
    rng = np.random.default_rng(seed)
    configs = [space.smallest, space.midpoint, space.largest, *(space.sample(rng) for _ in range(n))]
    return [space.to_subnetwork(config) for config in configs]


def _with_empty_blocks(dims, seed=0):
    """Sub-networks in which some layers have no head, some no unit, and some neither."""
    rng = np.random.default_rng(seed)
    heads = rng.random((dims.n_layers, dims.n_heads)) < 0.6
    units = rng.random((dims.n_layers, dims.n_units)) < 0.6
    heads[0] = units[1] = False
    return [
        SubNetwork(heads, units),
        SubNetwork(heads[::-1], units[::-1]),
        SubNetwork(np.roll(heads, 1, axis=0), units),
        SubNetwork(np.zeros_like(heads), units),
        SubNetwork(heads, np.zeros_like(units)),
    ]


def _close(a, b, tolerance=TOLERANCE):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@torch.no_grad()
@pytest.mark.parametrize("space", sorted(SPACES))
def test_sliced_masked_and_extracted_logits_agree(tiny, space):
    network, batch = tiny.network, tiny.batch()
    assert batch.attention_mask is not None
    subnetworks = _subnetworks(make_space(space, network.dims), 6)
    all_logits = []
    for subnetwork in subnetworks:
        sliced, extracted = network.forward(batch, subnetwork), network.extract(subnetwork)
        _close(network.masked(batch, subnetwork), sliced)
        _close(extracted.forward(batch), sliced)
        _close(extracted.stock_logits(batch), sliced)
        assert extracted.count_params() == subnetwork.n_params(network.dims)
        all_logits.append(sliced)
    n_logits = {"tiny-pair": 2, "tiny-regression": 1, "tiny-choice": 4}[tiny.task.name]
    assert all_logits[0].shape == (12, n_logits)
    # Logits of sub-networks with different masks differ by far more than the tolerance.
    for i, a in enumerate(subnetworks):
        for j in range(i):
            assert a == subnetworks[j] or (all_logits[i] - all_logits[j]).abs().max() > 100 * TOLERANCE


@torch.no_grad()
def test_empty_blocks_are_skipped(tiny):
    network, batch = tiny.network, tiny.batch()
    for subnetwork in _with_empty_blocks(network.dims):
        sliced, extracted = network.forward(batch, subnetwork), network.extract(subnetwork)
        _close(network.masked(batch, subnetwork), sliced)
        _close(extracted.forward(batch), sliced)
        _close(extracted.stock_logits(batch), sliced)
        assert extracted.count_params() == subnetwork.n_params(network.dims)


@torch.no_grad()
def test_sub_network_without_layers_is_embeddings_and_classifier(pair):
    network, batch = pair.network, pair.batch()
    none = SubNetwork.from_counts([0] * 3, [0] * 3, network.dims)
    expected = network.adapter.classify(network.embed(batch)[:, 0])
    _close(network.forward(batch, none), expected)


@torch.no_grad()
def test_full_network_equals_the_stock_model(tiny):
    batch, network = tiny.batch(), tiny.network
    shape = (12, 4, -1) if tiny.task.kind == "multiple_choice" else (12, -1)
    stock = network.model(
        input_ids=batch.input_ids.view(shape),
        attention_mask=batch.attention_mask.long().view(shape),
        **({"token_type_ids": batch.token_type_ids.view(shape)} if network.adapter.has_token_types else {}),
    ).logits
    _close(network.forward(batch), stock)
    _close(network.forward(batch, SubNetwork.full(network.dims)), stock)
    _close(network.stock_logits(batch), stock, 0)
    _close(network.masked(batch), stock)
    assert stock.std() > 0.05


@torch.no_grad()
def test_every_head_changes_the_logits(pair):
    network, batch = pair.network, pair.batch()
    full = SubNetwork.full(network.dims)
    logits = network.forward(batch)
    for place in np.ndindex(full.heads.shape):
        heads = full.heads.copy()
        heads[place] = False
        changed = network.forward(batch, SubNetwork(heads, full.units))
        assert (changed - logits).abs().max() > 10 * TOLERANCE, place


@torch.no_grad()
def test_padding_and_other_examples_do_not_change_logits(tiny):
    network, split = tiny.network, tiny.data.validation
    subnetwork = _subnetworks(make_space("large", network.dims), 1)[-1]
    logits = network.forward(tiny.batch(), subnetwork)
    _close(network.forward(tiny.batch(length=40), subnetwork), logits)
    _close(network.masked(tiny.batch(length=40), subnetwork), logits)
    alone = [collate(split, np.array([i]), tiny.pad_id) for i in range(12)]
    assert tiny.task.kind == "multiple_choice" or all(batch.attention_mask is None for batch in alone)
    _close(torch.cat([network.forward(batch, subnetwork) for batch in alone]), logits)
    # Tokens at masked positions do not matter.
    other = tiny.batch(length=40)
    other.input_ids[~other.attention_mask] = 7
    _close(network.forward(other, subnetwork), logits)


@torch.no_grad()
def test_scaled_network_equals_real_valued_masks(tiny):
    network, batch = tiny.network, tiny.batch()
    rng = np.random.default_rng(3)
    dims = network.dims
    for subnetwork in _subnetworks(Large(dims), 3) + _with_empty_blocks(dims):
        head_scales = rng.uniform(-1, 3, (dims.n_layers, dims.n_heads)) * subnetwork.heads
        unit_scales = rng.uniform(-1, 3, (dims.n_layers, dims.n_units)) * subnetwork.units
        masks = torch.tensor(head_scales).float(), torch.tensor(unit_scales).float()
        masked = network.masked(batch, subnetwork, *masks)
        scaled = network.scaled(head_scales, unit_scales, "scaled")
        _close(scaled.forward(batch, subnetwork), masked)
        _close(scaled.extract(subnetwork).stock_logits(batch), masked)
        assert scaled.name == "scaled"
    assert (masked - network.forward(batch, subnetwork)).abs().max() > 100 * TOLERANCE


def test_gradients_reach_real_valued_masks(pair):
    network, batch = pair.network, pair.batch()
    ones = torch.ones(3, 4, requires_grad=True), torch.ones(3, 48, requires_grad=True)
    gradients = torch.autograd.grad(network.masked(batch, None, *ones).logsumexp(1).sum(), ones)
    # Compared with a difference quotient at one position of each mask.
    for k, place in enumerate(((1, 2), (2, 5))):
        values = []
        for step in (-1e-2, 1e-2):
            masks = [mask.detach().clone() for mask in ones]
            masks[k][place] += step
            with torch.no_grad():
                values.append(network.masked(batch, None, *masks).logsumexp(1).sum())
        assert float((values[1] - values[0]) / 2e-2) == pytest.approx(float(gradients[k][place]), rel=0.05, abs=2e-3)


@torch.no_grad()
def test_encode_depths_equals_the_shallower_networks(tiny):
    network, batch = tiny.network, tiny.batch()
    for subnetwork in _subnetworks(make_space("medium", network.dims), 3) + _with_empty_blocks(network.dims):
        slices = network.slices(subnetwork)
        states = network.encode_depths(network.embed(batch), batch.attention_mask, slices)
        assert states.shape == (4, len(batch.input_ids), network.dims.hidden_size)
        for depth in range(4):
            kept = np.arange(3)[:, None] < depth
            shallow = SubNetwork(subnetwork.heads & kept, subnetwork.units & kept)
            _close(network.classify(states[depth]), network.forward(batch, shallow))
            _close(network.classify(states[depth]), network.masked(batch, shallow))


@torch.no_grad()
def test_bf16_is_close_to_fp32(model, tiny):
    network, batch = tiny.network, tiny.batch()
    low = tiny_of(model, tiny.task.name, "bf16").network
    for subnetwork in _subnetworks(make_space("large", network.dims), 3):
        exact, rounded = network.forward(batch, subnetwork), low.forward(batch, subnetwork)
        assert rounded.dtype == torch.float32
        assert (rounded - exact).abs().max() < 0.1 * max(1.0, float(exact.abs().max()))
        extracted = low.extract(subnetwork)
        assert extracted.precision == "bf16"
        _close(extracted.forward(batch), rounded, 0.02)
    assert not torch.equal(exact, rounded)


@torch.no_grad()
def test_bf16_copies_follow_the_parameters():
    network = tiny_network(TINY_BERT, TINY_PAIR, "bf16").network
    tiny = tiny_of("tiny-bert", "tiny-pair")
    before = network.forward(tiny.batch())
    for parameter in network.parameters():
        parameter.mul_(1.1)
    network.refresh()
    after = network.forward(tiny.batch())
    fp32 = SuperNetwork(network.model)
    assert (after - fp32.forward(tiny.batch())).abs().max() < (after - before).abs().max() / 2


@torch.no_grad()
def test_bf16_copies_detect_changed_and_replaced_parameters():
    network = tiny_network(TINY_BERT, TINY_PAIR, "bf16").network
    tiny = tiny_of("tiny-bert", "tiny-pair")
    before = network.forward(tiny.batch())
    query = network.adapter.attention(0).query.module
    query.weight.mul_(-1)
    changed = network.forward(tiny.batch())
    assert not torch.equal(changed, before)
    network.refresh()
    assert torch.equal(network.forward(tiny.batch()), changed)
    query.weight = torch.nn.Parameter(-query.weight)
    assert torch.equal(network.forward(tiny.batch()), before)


def test_fingerprint_changes_with_the_weights(pair):
    network, same = pair.network.copy(), pair.network.copy()
    assert network.fingerprint() == same.fingerprint()
    for parameter in network.parameters():
        before = network.fingerprint()
        with torch.no_grad():
            parameter.view(-1)[0] += 0.01
        assert network.fingerprint() != before
    network.model.load_state_dict(same.model.state_dict())
    assert network.fingerprint() == same.fingerprint()


@torch.no_grad()
def test_copies_and_extracted_networks_own_their_weights(pair):
    network, batch = pair.network, pair.batch()
    before = network.forward(batch)
    subnetwork = make_space("small", network.dims).to_subnetwork(np.array([2, 20, 2]))
    for other in (network.copy("copy"), network.extract(subnetwork, "extracted")):
        for parameter in other.parameters():
            parameter.zero_()
    _close(network.forward(batch), before, 0)
    assert network.renamed("other").name == "other"
    assert network.name == "network"
    assert network.renamed("other").model is network.model


def test_extracted_network_only_runs_its_own_sub_network(pair):
    network = pair.network
    subnetwork = make_space("small", network.dims).to_subnetwork(np.array([2, 20, 2]))
    extracted = network.extract(subnetwork)
    assert extracted.is_extracted
    assert extracted.copy().is_extracted
    assert network.extract(SubNetwork.full(network.dims)).is_extracted
    assert not network.copy().is_extracted
    with pytest.raises(ValueError, match="can only run the sub-network that was extracted"):
        extracted.slices(SubNetwork.full(network.dims))
    with pytest.raises(ValueError, match="extract from the full network"):
        extracted.extract(subnetwork)
    with pytest.raises(ValueError, match=r"do not fit a network of \(3, 4\) and \(3, 48\)"):
        network.forward(pair.batch(), SubNetwork(np.ones((2, 4), bool), np.ones((2, 48), bool)))


def test_adapter_rejects_other_models():
    with pytest.raises(UserError, match=r"cannot prune a Linear; families that can be pruned: Bert, Roberta, .*MPNet"):
        adapt(torch.nn.Linear(2, 2))


def test_masked_pass_does_not_change_the_stock_model(pair):
    network, batch = pair.network, pair.batch()
    before = network.stock_logits(batch)
    for subnetwork in _with_empty_blocks(network.dims):
        network.masked(batch, subnetwork)
    _close(network.stock_logits(batch), before, 0)


def test_shrink_in_place_equals_extract(pair):
    network = pair.network
    subnetwork = _with_empty_blocks(network.dims)[0]
    model = network.copy().model
    shrink(adapt(model), subnetwork, network.dims)
    for (name, value), (other_name, other) in zip(
        model.state_dict().items(), network.extract(subnetwork).model.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert torch.equal(value, other)
