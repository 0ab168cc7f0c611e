"""Mask search and rearrangement against exhaustive search, and against plain implementations."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from support import published_rfp

from nasbench.masks.search import MacCosts, MaskSearch, rearrange, rearranged
from nasbench.networks.subnetwork import Dimensions, SubNetwork

BERT_BASE = Dimensions(12, 12, 3072, 768, 64, 0)
SMALL = Dimensions(n_layers=2, n_heads=2, n_units=4, hidden_size=8, head_size=4, n_fixed_params=0)
ALPHAS = [i / 10 for i in range(1, 10)]


def _fisher(rng, dims):
    return rng.exponential(size=(dims.n_layers, dims.n_heads)), rng.exponential(size=(dims.n_layers, dims.n_units))


def _kept(subnetwork, heads, units):
    return heads[subnetwork.heads].sum() + units[subnetwork.units].sum()


def test_costs_of_bert_base_equal_a_count_by_hand():
    # 64.59 tokens is the mean length in RTE. The multiplications of each matrix product are counted.
    s, d, d_h = 64.59, 768, 64
    costs = MacCosts.of(BERT_BASE, s)
    projections, scores, values, output = 3 * (s * d * d_h), s * s * d_h, s * s * d_h, s * d_h * d
    assert costs.head == pytest.approx(projections + scores + values + output)
    assert costs.unit == pytest.approx(s * d + s * d)
    assert costs.full == pytest.approx(144 * costs.head + 36_864 * costs.unit)
    for length in (11.67, 25.16, 31.47, 50.97, 53.24, 64.59):
        costs = MacCosts.of(BERT_BASE, length)
        assert 128.9 < costs.head / costs.unit < 139.1


@pytest.mark.parametrize("seed", range(8))
def test_search_equals_exhaustive_search(seed):
    """Over all 2^12 masks that keep a head; over all masks if no head fits."""
    rng = np.random.default_rng(seed)
    heads, units = _fisher(rng, SMALL)
    costs = MacCosts.of(SMALL, float(rng.uniform(3, 30)))
    bits = (np.arange(2**12)[:, None] >> np.arange(12)) & 1 > 0
    macs = bits[:, :4].sum(1) * costs.head + bits[:, 4:].sum(1) * costs.unit
    values = bits @ np.concatenate([heads.ravel(), units.ravel()])
    search = MaskSearch(heads, units, costs, SubNetwork.full(SMALL))
    for alpha in [0.05, *ALPHAS]:
        fits = macs <= alpha * costs.full
        with_head = fits & bits[:, :4].any(axis=1)
        best = values[with_head if with_head.any() else fits].max()
        assert _kept(search.best(alpha), heads, units) == pytest.approx(best)


@pytest.mark.parametrize(
    "dims", [SMALL, BERT_BASE, Dimensions(6, 12, 1536, 384, 32, 0)], ids=["small", "base", "minilm"]
)
def test_search_never_exceeds_its_budget(dims):
    """It also leaves less than one unit unspent if units are left, even if the heads are far more important."""
    rng = np.random.default_rng(0)
    for length in (5.0, 11.67, 64.59, 128.0):
        costs = MacCosts.of(dims, length)
        for scale in (1e-3, 1.0, 1e6):
            heads, units = _fisher(rng, dims)
            search = MaskSearch(heads * scale, units, costs, SubNetwork.full(dims))
            for alpha in np.linspace(0.02, 0.99, 50):
                found = search.best(alpha)
                unspent = alpha * costs.full - costs.of_subnetwork(found)
                assert unspent >= 0
                assert unspent < costs.unit or found.units.all() or alpha * costs.full < costs.unit


def test_search_equals_the_published_procedure():
    rng = np.random.default_rng(1)
    heads, units = _fisher(rng, BERT_BASE)
    costs = MacCosts.of(BERT_BASE, 50.0)
    search = MaskSearch(heads * 30, units, costs, SubNetwork.full(BERT_BASE))
    for alpha in ALPHAS:
        assert search.best(alpha) == published_rfp.search(heads * 30, units, costs, alpha)


def _cost(gradients, kept):
    return float((gradients[:, ~kept].sum(axis=1) ** 2).sum())


@pytest.mark.parametrize("seed", range(5))
def test_rearrangement_never_raises_the_cost_and_equals_the_plain_implementation(seed):
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(16, 40)) * rng.exponential(size=40)
    order = np.argsort((gradients**2).sum(axis=0))
    gains = []
    for n_kept, mask in zip(range(41), rearrange(gradients, list(range(41))), strict=True):
        before = np.ones(40, dtype=bool)
        before[order[: 40 - n_kept]] = False
        assert mask.sum() == n_kept
        assert _cost(gradients, mask) <= _cost(gradients, before) * (1 + 1e-12)
        gains.append(_cost(gradients, before) - _cost(gradients, mask))
        np.testing.assert_array_equal(mask, published_rfp.rearrange(before, gradients))
    assert max(gains) > 0


@pytest.mark.parametrize("seed", range(20))
def test_rearrangement_with_one_pruned_index_is_optimal(seed):
    """The greedy exchange considers every index once, so with one pruned index it finds the best."""
    gradients = np.random.default_rng(seed).normal(size=(5, 7))
    (mask,) = rearrange(gradients, [6])
    best = min(_cost(gradients, ~np.isin(np.arange(7), pruned)) for pruned in combinations(range(7), 1))
    assert _cost(gradients, mask) == pytest.approx(best)


def test_rearrangement_removes_opposite_gradients_together():
    """Two gradients that cancel are removed together, although each alone costs more than the third."""
    gradients = np.array([[2.0, -2.0, 1.0, 9.0], [3.0, -3.0, 1.0, 9.0]])
    (mask,) = rearrange(gradients, [2])
    np.testing.assert_array_equal(mask, [False, False, True, True])


@pytest.mark.parametrize(
    ("heads", "units"), [((2, 1), (4, 2)), ((0, 0), (4, 3)), ((0, 2), (0, 4)), ((2, 2), (0, 0)), ((1, 0), (0, 1))]
)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_networks_that_were_pruned_before_keep_nothing_that_they_lack(heads, units, scale):
    """Zeros stand for what is missing, and have no gradient. All counts are those of a search among what is there."""
    dims = dataclasses.replace(SMALL, heads_by_layer=heads, units_by_layer=units)
    full, rng = SubNetwork.full(dims), np.random.default_rng(0)
    of_heads = rng.normal(size=(5, 2, 2)) * full.heads
    of_units = scale * rng.normal(size=(5, 2, 4)) * full.units
    search = MaskSearch((of_heads**2).sum(0), (of_units**2).sum(0), costs := MacCosts.of(dims, 10.0), full)
    found = [search.best(alpha) for alpha in ALPHAS]
    for alpha, before, after in zip(ALPHAS, found, rearranged(found, of_heads, of_units, full), strict=True):
        for subnetwork in (before, after):
            subnetwork.check(dims)
            assert costs.of_subnetwork(subnetwork) <= alpha * costs.full
        np.testing.assert_array_equal(before.head_counts, after.head_counts)
        np.testing.assert_array_equal(before.unit_counts, after.unit_counts)


def test_rearrangement_keeps_no_head_that_is_missing():
    """To remove the first two heads together costs nothing, so the missing fourth one would stay in their place."""
    dims = Dimensions(1, 4, 1, hidden_size=8, head_size=2, n_fixed_params=0, heads_by_layer=(3,))
    heads = np.array([[[2.0, -2.0, 9.0, 0.0]], [[3.0, -3.0, 9.0, 0.0]]])
    kept = SubNetwork(np.array([[False, True, True, False]]), np.array([[True]]))
    (found,) = rearranged([kept], heads, np.ones((2, 1, 1)), SubNetwork.full(dims))
    np.testing.assert_array_equal(found.heads, [[True, False, True, False]])
