"""The four search spaces: meaning of configurations, sampling, and numbers of parameters."""

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import BertConfig, BertForSequenceClassification

from nasbench.errors import UnknownName
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.space import (
    PAPER_SPACES,
    SPACES,
    Auto,
    Large,
    Layer,
    Medium,
    Small,
    SmallGrid,
    make_space,
    unit_step,
)
from nasbench.networks.subnetwork import Dimensions

TINY = Dimensions(n_layers=3, n_heads=2, n_units=5, hidden_size=8, head_size=4, n_fixed_params=100)
MINILM = Dimensions(n_layers=6, n_heads=12, n_units=1536, hidden_size=384, head_size=32, n_fixed_params=12_065_666)
SIGNIFICANCE = 1e-3


@pytest.fixture(params=sorted(SPACES))
def space(request):
    return make_space(request.param, TINY)


def _assert_uniform(observed):
    """Chi-square test against equal frequencies."""
    assert stats.chisquare(observed).pvalue > SIGNIFICANCE


def test_smallest_largest_and_middle_configuration(space):
    none, full = space.to_subnetwork(space.smallest), space.to_subnetwork(space.largest)
    assert none.n_params(TINY) == TINY.n_fixed_params
    assert full.n_params(TINY) == TINY.n_params
    assert full.heads.all()
    assert full.units.all()
    space.check(space.midpoint)
    assert TINY.n_fixed_params < space.n_params(space.midpoint)[0] < TINY.n_params


def test_small_keeps_the_first_heads_and_units_of_the_first_layers():
    subnetwork = Small(TINY).to_subnetwork(np.array([1, 3, 2]))
    assert subnetwork.heads.tolist() == [[True, False], [True, False], [False, False]]
    assert subnetwork.units.tolist() == [[True] * 3 + [False] * 2] * 2 + [[False] * 5]


def test_small_grid_holds_networks_of_small_with_units_in_steps():
    grid, small = SmallGrid(MINILM), Small(MINILM)
    assert grid.upper.tolist() == [12, 96, 6]  # 13 * 97 * 7 = 8,827 networks
    assert grid.step == 16
    config = np.array([3, 10, 4])
    assert grid.to_json(config) == {"heads": 3, "units": 160, "layers": 4}
    assert grid.to_subnetwork(config) == small.to_subnetwork(np.array([3, 160, 4]))
    for name in ("smallest", "midpoint", "largest"):
        assert grid.to_json(getattr(grid, name)) == small.to_json(getattr(small, name))
    with pytest.raises(ValueError, match="units = 161 is not a multiple of 16"):
        grid.from_json({"heads": 3, "units": 161, "layers": 4})
    with pytest.raises(ValueError, match="a step of 7 units does not divide 1536 units"):
        SmallGrid(MINILM, step=7)


@pytest.mark.parametrize(("n_units", "step"), [(1536, 16), (3072, 32), (512, 4), (1000, 10), (97, 1), (48, 1), (5, 1)])
def test_step_of_units_is_the_largest_divisor_up_to_a_96th(n_units, step):
    assert unit_step(dataclasses.replace(MINILM, n_units=n_units)) == step


def test_the_spaces_of_the_paper_do_not_include_the_grid():
    assert set(SPACES) - set(PAPER_SPACES) == {"small-grid"}


def test_samples_of_the_union_are_those_of_the_four_spaces_in_equal_parts():
    """Numbers of parameters, heads and layers of 4,000 networks, against draws from the four spaces."""
    rng = np.random.default_rng(0)
    union = Auto(MINILM)
    drawn = [union.to_subnetwork(union.sample(rng)) for _ in range(2000)]
    parts = [make_space(name, MINILM) for name in PAPER_SPACES]
    expected = [part.to_subnetwork(part.sample(rng)) for part in parts for _ in range(500)]
    for measure in (
        lambda s: s.n_params(MINILM),
        lambda s: s.heads.sum(),
        lambda s: (s.unit_counts > 0).sum(),
        lambda s: s.units[0].argmin(),  # LARGE alone keeps other units than the first
    ):
        samples = [[measure(subnetwork) for subnetwork in subnetworks] for subnetworks in (drawn, expected)]
        assert stats.ks_2samp(*samples).pvalue > SIGNIFICANCE
    config = union.sample(rng)
    np.testing.assert_array_equal(union.from_json(json.loads(json.dumps(union.to_json(config)))), config)


def test_medium_keeps_the_first_heads_and_units_of_each_layer():
    subnetwork = Medium(TINY).to_subnetwork(np.array([0, 2, 1, 5, 0, 2]))
    assert subnetwork.heads.tolist() == [[False, False], [True, True], [True, False]]
    assert subnetwork.units.tolist() == [[True] * 5, [False] * 5, [True] * 2 + [False] * 3]


def test_layer_keeps_whole_layers():
    subnetwork = Layer(TINY).to_subnetwork(np.array([0, 1, 0]))
    assert subnetwork.head_counts.tolist() == [0, 2, 0]
    assert subnetwork.unit_counts.tolist() == [0, 5, 0]
    assert Layer(TINY).midpoint.tolist() == [1, 0, 0]


def test_large_converts_any_mask_to_a_configuration_and_back():
    space, rng = Large(TINY), np.random.default_rng(0)
    for _ in range(20):
        config = space.sample(rng)
        subnetwork = space.to_subnetwork(config)
        np.testing.assert_array_equal(subnetwork.heads.ravel(), config[:6])
        np.testing.assert_array_equal(subnetwork.units.ravel(), config[6:])
        np.testing.assert_array_equal(space.from_subnetwork(subnetwork), config)


def test_several_configurations_of_small_give_the_same_network():
    space = Small(TINY)
    assert space.to_subnetwork(np.array([2, 5, 0])) == space.to_subnetwork(space.smallest)
    assert space.to_subnetwork(np.array([0, 0, 2])) == space.to_subnetwork(space.smallest)
    assert space.to_subnetwork(np.array([1, 0, 2])) != space.to_subnetwork(np.array([2, 0, 2]))


def test_dimension_names_are_distinct_and_complete(space):
    assert len(set(space.names)) == len(space.names) == space.n_dims


def test_small_and_medium_draw_each_dimension_uniformly():
    for space in (Small(TINY), Medium(TINY)):
        rng = np.random.default_rng(1)
        configs = np.array([space.sample(rng) for _ in range(4000)])
        for column, upper in zip(configs.T, space.upper, strict=True):
            _assert_uniform(np.bincount(column, minlength=upper + 1))
        # Neighbouring dimensions are also independent.
        for a, b in pairwise(range(space.n_dims)):
            table = np.zeros((space.upper[a] + 1, space.upper[b] + 1))
            np.add.at(table, (configs[:, a], configs[:, b]), 1)
            assert stats.chi2_contingency(table).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("kind", [Layer, Large])
def test_binary_spaces_draw_the_number_of_ones_then_their_places(kind):
    space, rng = kind(TINY), np.random.default_rng(2)
    configs = np.array([space.sample(rng) for _ in range(6000)])
    n_ones = configs.sum(axis=1)
    _assert_uniform(np.bincount(n_ones, minlength=space.n_dims + 1))
    for k in (1, space.n_dims - 1):
        _assert_uniform(configs[n_ones == k].sum(axis=0) if k == 1 else (1 - configs[n_ones == k]).sum(axis=0))


def test_samples_are_valid_and_depend_on_the_seed_only(space):
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(50):
        config = space.sample(first)
        space.check(config)
        np.testing.assert_array_equal(config, space.sample(second))


def test_redraw_sets_one_dimension_to_another_value_uniformly(space):
    rng = np.random.default_rng(4)
    start = space.midpoint
    n_values = int(space.upper.sum())
    changes = np.zeros((space.n_dims, int(space.upper.max()) + 1), dtype=int)
    n = 300 * n_values
    for _ in range(n):
        changed = space.redraw(start, rng)
        space.check(changed)
        different = np.flatnonzero(changed != start)
        assert len(different) == 1
        changes[different[0], changed[different[0]]] += 1
    np.testing.assert_array_equal(start, space.midpoint)
    _assert_uniform(changes.sum(axis=1))
    for i, upper in enumerate(space.upper):
        others = np.delete(changes[i, : upper + 1], start[i])
        if len(others) > 1:
            _assert_uniform(others)


def test_to_json_and_from_json_are_inverse(space):
    rng = np.random.default_rng(6)
    for config in (space.smallest, space.largest, space.midpoint, *(space.sample(rng) for _ in range(20))):
        read = space.from_json(json.loads(json.dumps(space.to_json(config))))
        assert read.dtype == np.int64
        np.testing.assert_array_equal(read, config)


def test_from_json_rejects_packed_masks_of_another_size():
    space = Large(TINY)
    record = space.to_json(space.largest)
    for name, text in (("heads", "ffff"), ("units", "ff"), ("units", "")):
        with pytest.raises(ValueError, match=rf"'{name}' has {len(text) // 2} bytes where \d+ bits are due"):
            space.from_json({**record, name: text})


@pytest.mark.parametrize("name", sorted(SPACES))
def test_vectorised_counts_equal_counts_of_extracted_networks(name):
    def make():
        with torch.device("meta"):
            config = BertConfig(vocab_size=28996, num_hidden_layers=3, hidden_size=48, intermediate_size=20)
            return BertForSequenceClassification(config)

    dims, rng = adapt(make()).dimensions(), np.random.default_rng(7)
    space = make_space(name, dims)
    configs = np.array([space.smallest, space.midpoint, space.largest, *(space.sample(rng) for _ in range(12))])
    counted = []
    for config in configs:
        model = make()
        shrink(adapt(model), space.to_subnetwork(config), dims)
        counted.append(sum(p.numel() for p in model.parameters()))
    np.testing.assert_array_equal(space.n_params(configs), counted)
    assert len(set(counted)) > 2


def test_check_names_the_dimension_that_is_out_of_range(space):
    with pytest.raises(ValueError, match=rf"has shape \({space.n_dims},\), not \(2,\)"):
        space.check(np.array([0, 0]))
    with pytest.raises(ValueError, match="holds integers, not float64"):
        space.check(space.midpoint.astype(float))
    for bad in (-1, space.upper[-1] + 1):
        config = space.midpoint
        config[-1] = bad
        with pytest.raises(ValueError, match=rf"{space.names[-1]} = {bad} is outside \[0, {space.upper[-1]}\]"):
            space.check(config)


def test_unknown_space_suggests_the_nearest_name():
    with pytest.raises(UnknownName, match="did you mean 'small'"):
        make_space("smal", TINY)
