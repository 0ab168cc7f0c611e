"""Parameter counts and identity of sub-networks. Counts come from three sources: table, formula and shrunk model."""

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMultipleChoice,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForMultipleChoice,
    RobertaForSequenceClassification,
)

from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.subnetwork import Dimensions, SubNetwork


def _bert(n_labels=2, **sizes):
    with torch.device("meta"):
        return BertForSequenceClassification(BertConfig(vocab_size=28996, num_labels=n_labels, **sizes))


def _roberta(n_labels=2):
    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, num_labels=n_labels)
    with torch.device("meta"):
        return RobertaForSequenceClassification(config)


MAKERS = {"bert-base-cased": _bert, "roberta-base": _roberta}
ONE_LAYER = 7_087_872
# Parameters of the paper's networks: full, without layers, and rounded percentages of the full network.
FULL = {"bert-base-cased": 108_311_810, "roberta-base": 124_647_170}
NO_LAYERS = {"bert-base-cased": 23_257_346, "roberta-base": 39_592_706}
PERCENT = {
    "bert-base-cased": {0: 21.47, 1: 28.02, 6: 60.74, 9: 80.37, 11: 93.46},
    "roberta-base": {0: 31.76, 1: 37.45, 6: 65.88, 9: 82.94, 11: 94.31},
}
PERCENT_WITHOUT_ATTENTION = {"bert-base-cased": 73.81, "roberta-base": 77.24}


def _counted(model, subnetwork):
    """Number of parameters of the model after shrinking it to a sub-network."""
    adapter = adapt(model)
    shrink(adapter, subnetwork, adapter.dimensions())
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(params=sorted(MAKERS))
def name(request):
    return request.param


def test_counts_of_full_network_of_no_layers_and_of_one_layer(name):
    dims = adapt(MAKERS[name]()).dimensions()
    none = SubNetwork.from_counts([0] * 12, [0] * 12, dims)
    assert dims.n_params == SubNetwork.full(dims).n_params(dims) == FULL[name]
    assert sum(p.numel() for p in MAKERS[name]().parameters()) == FULL[name]
    assert dims.n_fixed_params == none.n_params(dims) == _counted(MAKERS[name](), none) == NO_LAYERS[name]
    assert (dims.n_params - dims.n_fixed_params) / 12 == ONE_LAYER


@pytest.mark.parametrize("n_layers", [0, 1, 6, 9, 11])
def test_percentage_of_parameters_by_number_of_layers(name, n_layers):
    dims = adapt(MAKERS[name]()).dimensions()
    kept = np.arange(12) < n_layers
    subnetwork = SubNetwork.from_counts(12 * kept, 3072 * kept, dims)
    n_params = subnetwork.n_params(dims)
    assert n_params == _counted(MAKERS[name](), subnetwork) == NO_LAYERS[name] + n_layers * ONE_LAYER
    assert round(100 * n_params / FULL[name], 2) == PERCENT[name][n_layers]


def test_count_of_full_feed_forward_without_attention(name):
    dims = adapt(MAKERS[name]()).dimensions()
    subnetwork = SubNetwork.from_counts([0] * 12, [3072] * 12, dims)
    n_params = subnetwork.n_params(dims)
    assert n_params == _counted(MAKERS[name](), subnetwork)
    assert round(100 * n_params / FULL[name], 2) == PERCENT_WITHOUT_ATTENTION[name]


def test_one_head_per_layer_shrinks_the_output_projection_too():
    dims = adapt(_bert()).dimensions()
    subnetwork = SubNetwork.from_counts([1] * 12, [3072] * 12, dims)
    assert round(100 * subnetwork.n_params(dims) / FULL["bert-base-cased"], 1) == 76.0
    assert _counted(_bert(), subnetwork) == subnetwork.n_params(dims)


def test_counts_with_one_logit_and_multiple_choice_heads():
    with torch.device("meta"):
        choice = BertForMultipleChoice(BertConfig(vocab_size=28996))
        roberta_choice = RobertaForMultipleChoice(
            RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1)
        )
    assert adapt(_bert(n_labels=1)).dimensions().n_params == 108_311_041
    assert adapt(choice).dimensions().n_params == 108_311_041
    dims = adapt(roberta_choice).dimensions()
    assert dims.n_params == sum(p.numel() for p in roberta_choice.parameters())


def test_count_of_minilm():
    with torch.device("meta"):
        config = BertConfig(vocab_size=30522, hidden_size=384, num_hidden_layers=6, intermediate_size=1536)
        assert adapt(BertForSequenceClassification(config)).dimensions().n_params == 22_713_986


def test_count_of_any_mask_equals_parameters_of_the_shrunk_model(name):
    rng = np.random.default_rng(5)
    dims = adapt(MAKERS[name]()).dimensions()
    for keep in (0.02, 0.5, 0.9):
        # With few kept heads some blocks are empty, and have no parameters.
        heads, units = rng.random((12, 12)) < keep, rng.random((12, 3072)) < keep
        units[rng.random(12) < 0.3] = False
        subnetwork = SubNetwork(heads, units)
        assert subnetwork.n_params(dims) == _counted(MAKERS[name](), subnetwork)


def test_counts_of_many_sub_networks_at_once():
    dims = Dimensions(n_layers=3, n_heads=4, n_units=6, hidden_size=8, head_size=2, n_fixed_params=10)
    rng = np.random.default_rng(0)
    heads, units = rng.integers(5, size=(7, 5, 3)), rng.integers(7, size=(7, 5, 3))
    counts = dims.count_params(heads, units)
    assert counts.shape == (7, 5)
    each = [
        SubNetwork.from_counts(h, u, dims).n_params(dims)
        for h, u in zip(heads.reshape(-1, 3), units.reshape(-1, 3), strict=True)
    ]
    np.testing.assert_array_equal(counts.ravel(), each)
    with pytest.raises(ValueError, match=r"\(2, 3\) and unit_counts \(3,\)"):
        dims.count_params(heads[0, :2], units[0, 0])
    with pytest.raises(ValueError, match=r"must both be \(..., 3\)"):
        dims.count_params([1, 2], [1, 2])


DIMS = Dimensions(n_layers=2, n_heads=3, n_units=4, hidden_size=6, head_size=2, n_fixed_params=1)


def test_sub_networks_with_equal_masks_are_equal():
    a = SubNetwork.from_counts([1, 0], [2, 4], DIMS)
    b = SubNetwork(np.array([[1, 0, 0], [0, 0, 0]], bool), np.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool))
    assert a == b
    assert hash(a) == hash(b)
    assert a.key == b.key
    assert len({a, b, SubNetwork.full(DIMS)}) == 2
    assert a != "a"


def test_different_masks_have_different_keys():
    masks = [np.array(list(np.binary_repr(i, 14)), int).astype(bool) for i in range(2**14)]
    keys = {SubNetwork(m[:6].reshape(2, 3), m[6:].reshape(2, 4)).key for m in masks}
    assert len(keys) == 2**14
    # The same bits in another shape are another sub-network.
    assert SubNetwork(np.ones((2, 4), bool), np.ones((2, 4), bool)).key != (
        SubNetwork(np.ones((1, 8), bool), np.ones((1, 8), bool)).key
    )


def test_masks_are_read_only():
    heads = np.ones((2, 3), bool)
    subnetwork = SubNetwork(heads, np.ones((2, 4), bool))
    heads[0, 0] = False
    assert subnetwork.heads.all()
    with pytest.raises(ValueError, match="read-only"):
        subnetwork.units[0, 0] = False


def test_head_counts_unit_counts_and_active_layers():
    subnetwork = SubNetwork.from_counts([3, 0], [0, 0], DIMS)
    assert subnetwork.head_counts.tolist() == [3, 0]
    assert subnetwork.unit_counts.tolist() == [0, 0]
    assert subnetwork.n_active_layers == 1


def test_error_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"heads must be \(n_layers, n\), not \(3,\)"):
        SubNetwork(np.ones(3, bool), np.ones((2, 4), bool))
    with pytest.raises(ValueError, match=r"heads \(1, 3\) and units \(2, 4\) differ in layers"):
        SubNetwork(np.ones((1, 3), bool), np.ones((2, 4), bool))
    with pytest.raises(ValueError, match=r"masks \(2, 4\) and \(2, 4\) do not fit a network of \(2, 3\) and \(2, 4\)"):
        SubNetwork(np.ones((2, 4), bool), np.ones((2, 4), bool)).n_params(DIMS)


def test_sizes_by_layer_must_fit_the_network() -> None:
    sizes = {"n_layers": 2, "n_heads": 4, "n_units": 8, "hidden_size": 16, "head_size": 4, "n_fixed_params": 100}
    dims = Dimensions.from_json({**sizes, "heads_by_layer": [4, 1], "units_by_layer": [0, 8]})
    assert Dimensions.from_json(dims.to_json()) == dims
    # By hand: 5 heads of 3 (16 * 4 + 4) + 4 * 16 parameters, 8 units of 33, three blocks with 48 more.
    assert dims.n_params == 100 + 5 * 268 + 8 * 33 + 3 * 48
    assert Dimensions.from_json(sizes).to_json() == sizes
    for name, value in [("heads_by_layer", [5, 1]), ("units_by_layer", [1]), ("heads_by_layer", [-1, 0])]:
        with pytest.raises(ValueError, match=f"{name} must be 2 numbers from 0 to"):
            Dimensions.from_json({**sizes, name: value})
    with pytest.raises(ValueError, match="masks keep heads or units that the network does not have"):
        SubNetwork(np.ones((2, 4), bool), np.ones((2, 8), bool)).check(dims)
