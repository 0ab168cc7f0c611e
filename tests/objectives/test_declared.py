"""Declared objectives: counts against torch's own, and the choice of a run's objectives."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nasbench.errors import UserError
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.architectures.compact import compact
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.objectives.costs import PARAMETERS, counted_costs, restored_costs
from nasbench.objectives.declared import (
    DECLARED,
    MAC_LENGTH,
    choose_objectives,
    fractions,
    full_amount,
)
from nasbench.testing.models import tiny_deberta_v2

DIMS = Dimensions(n_layers=3, n_heads=2, n_units=6, hidden_size=8, head_size=4, n_fixed_params=100)


def _tiny():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=MAC_LENGTH,
    )  # fmt: skip
    torch.manual_seed(0)
    return SuperNetwork(BertForSequenceClassification(config).eval(), "fp32")


def _flops(module):
    ids = torch.ones((1, MAC_LENGTH), dtype=torch.long)
    # The fused kernel and the inference mode hide products from the counter.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        module(input_ids=ids, attention_mask=torch.ones_like(ids))
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("heads", "units"), [([4, 4, 4], [24, 24, 24]), ([1, 0, 3], [5, 7, 0]), ([0, 2, 0], [0, 0, 9])]
)
def test_macs_are_half_of_the_operations_that_torch_counts_beyond_those_without_layers(heads, units):
    network = _tiny()
    subnetwork = SubNetwork.from_counts(heads, units, network.dims)
    empty = SubNetwork.from_counts([0] * 3, [0] * 3, network.dims)
    counted = [_flops(_compact(each)) for each in (subnetwork, empty)]
    share = fractions("macs", network.dims, np.array([heads]), np.array([units]))[0]
    assert share * full_amount("macs", network.dims) == pytest.approx((counted[0] - counted[1]) / 2, rel=1e-12)


def test_factors_of_query_and_key_spare_operations_on_the_relative_positions_of_a_deberta():
    from transformers import DebertaV2ForSequenceClassification

    sizes, _ = tiny_deberta_v2()
    sizes.max_position_embeddings = MAC_LENGTH
    network = SuperNetwork(DebertaV2ForSequenceClassification(sizes).eval(), "fp32")
    dims, space = network.dims, make_space("ranks", network.dims)
    config = space.sample(np.random.default_rng(0))
    counted = [_flops(network.extract(space.to_subnetwork(each)).model) for each in (space.largest, config)]
    spared = (1 - counted_costs(("error", "macs")).of(space, config)[0, 0]) * full_amount("macs", dims)
    assert spared == pytest.approx((counted[0] - counted[1]) / 2, rel=1e-12)


def _compact(subnetwork):
    stock = _tiny().model
    adapter = adapt(stock)
    shrink(adapter, subnetwork, adapter.dimensions())
    return compact(stock, subnetwork, ()).eval()


def test_weight_bytes_are_those_of_the_parameters_of_the_extracted_network():
    network = _tiny()
    subnetwork = SubNetwork.from_counts([1, 0, 3], [5, 7, 0], network.dims)
    n_bytes = sum(p.numel() * p.element_size() for p in network.extract(subnetwork).parameters())
    counts = subnetwork.head_counts[None], subnetwork.unit_counts[None]
    amount = fractions("weight_bytes", network.dims, *counts)[0] * full_amount("weight_bytes", network.dims)
    assert amount == pytest.approx(n_bytes, rel=1e-12)


def test_the_full_network_costs_1_and_removing_a_part_never_costs_more():
    space = make_space("medium", DIMS)
    rng = np.random.default_rng(0)
    costs = counted_costs(("error", "params", "macs", "weight_bytes"))
    assert costs.names == ("params", "macs", "weight_bytes")
    np.testing.assert_array_equal(costs.of(space, space.largest), [[1, 1, 1]])
    for _ in range(50):
        config = space.sample(rng)
        less = config.copy()
        i = int(rng.integers(space.n_dims))
        less[i] = max(0, less[i] - 1)
        assert (costs.of(space, less) <= costs.of(space, config)).all()


def test_params_are_the_fraction_that_records_have_to_the_last_bit():
    space = make_space("small", DIMS)
    configs = np.array([[h, u, n] for h in range(3) for u in range(7) for n in range(4)])
    np.testing.assert_array_equal(PARAMETERS.of(space, configs)[:, 0], space.n_params(configs) / DIMS.n_params)


def test_described_costs_are_restored():
    costs = counted_costs(("error", "params", "macs"))
    described = costs.describe(DIMS)
    assert restored_costs(described, ["error", *costs.names]) == costs
    assert described["params"]["full"] == DIMS.n_params
    assert {entry["unit"] for entry in described.values()} == {"parameters", "multiply-accumulates"}


def test_objectives_are_put_into_the_declared_order():
    assert choose_objectives(None) == ("error", "params")
    assert choose_objectives("macs,error") == ("error", "macs")
    assert choose_objectives(["macs", "error", "params"]) == ("error", "params", "macs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params,macs", "are error and one or two costs"),
        ("error", "are error and one or two costs"),
        ("error,macs,macs", "names an objective twice"),
        ("error,params,macs,weight_bytes", "are error and one or two costs"),
        ("error,size", "size"),
    ],
)
def test_other_objectives_are_refused_in_one_line(text, message):
    with pytest.raises(UserError, match=message) as refused:
        choose_objectives(text)
    assert "\n" not in str(refused.value)


def test_every_objective_has_a_unit_and_a_summary():
    for objective in DECLARED.values():
        assert objective.unit
        assert objective.title
        assert objective.summary
        assert (objective.count is not None) == (objective.source == "counted")
