"""Choice of the heads and units to keep for a given amount of computation (Kwon et al. 2022).

The Fisher information of a mask m is approximated by sum_b g_b^2, where g_b = dL_b/dm is the gradient of the mean loss
of batch b at m = 1. To second order, it is the increase of the loss when the head or unit is removed (their equation
8). Its diagonal decides how many heads and units each layer keeps. Its blocks (in each layer, one for heads and one for
units) then decide which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nasbench.arrays import BoolArray, FloatArray, IntArray
from nasbench.networks.subnetwork import Dimensions, SubNetwork


@dataclass(frozen=True)
class MacCosts:
    """Multiply-accumulate operations (MACs) per sequence.

    Attributes:
        head: MACs of one head.
        unit: MACs of one unit.
        full: MACs of all heads and units; embeddings and classifier are not counted.
    """

    head: float
    unit: float
    full: float

    @classmethod
    def of(cls, dims: Dimensions, length: float) -> MacCosts:
        """Costs for sequences of ``length`` tokens, which may be a mean length."""
        head, unit = dims.macs_of_head(length), dims.macs_of_unit(length)
        mean_heads, mean_units = float(dims.most_heads.mean()), float(dims.most_units.mean())
        return cls(head, unit, dims.n_layers * (mean_heads * head + mean_units * unit))

    def of_subnetwork(self, subnetwork: SubNetwork) -> float:
        """MACs of the heads and units that a sub-network keeps."""
        return float(self.head * subnetwork.heads.sum() + self.unit * subnetwork.units.sum())


class MaskSearch:
    """Finds the heads and units that keep the most Fisher information within a number of operations.

    For a given number of heads, the best choice is the heads with the largest Fisher information and as many of the
    best units as still fit. So all numbers of heads are compared at once. The sorted sums serve every budget.

    Args:
        heads: diagonal of the Fisher information, ``(n_layers, n_heads)``.
        units: likewise, ``(n_layers, n_units)``.
        full: the full network; nothing else is kept.
    """

    def __init__(self, heads: FloatArray, units: FloatArray, costs: MacCosts, full: SubNetwork) -> None:
        self._shapes, self._costs = (heads.shape, units.shape), costs
        self._head_order, self._kept_by_heads = _largest_first(heads, full.heads)
        self._unit_order, self._kept_by_units = _largest_first(units, full.units)

    def best(self, alpha: float) -> SubNetwork:
        """The best sub-network for a fraction ``alpha`` < 1 of the full network's operations.

        At least one head stays, as in the published code, unless there is none or not even one fits. Unlike the
        published code, the number of heads never exceeds the budget.
        """
        budget = alpha * self._costs.full
        n_heads = np.arange(1, len(self._head_order) + 1)
        n_heads = n_heads[n_heads * self._costs.head <= budget]
        if not len(n_heads):
            n_heads = np.array([0])
        n_units = ((budget - n_heads * self._costs.head) // self._costs.unit).astype(np.int64)
        n_units = np.minimum(n_units, len(self._unit_order))
        best = int(np.argmax(self._kept_by_heads[n_heads] + self._kept_by_units[n_units]))
        return SubNetwork(
            _first(self._head_order, int(n_heads[best]), self._shapes[0]),
            _first(self._unit_order, int(n_units[best]), self._shapes[1]),
        )


def _largest_first(fisher: FloatArray, present: BoolArray) -> tuple[IntArray, FloatArray]:
    """Flat indices in descending order of Fisher information, and the sums of the first 0, 1, 2, ... values."""
    places = np.flatnonzero(present)
    order = places[np.argsort(-fisher.ravel()[places], kind="stable")]
    return order, np.concatenate([[0.0], np.cumsum(fisher.ravel()[order])])


def _first(order: IntArray, n: int, shape: tuple[int, ...]) -> BoolArray:
    mask = np.zeros(shape, dtype=np.bool_)
    mask.flat[order[:n]] = True
    return mask


def rearrange(gradients: FloatArray, n_kept: list[int]) -> list[BoolArray]:
    """Exchange heads (or units) of one layer so that removing the pruned set *as a whole* costs less.

    The cost of removing a set is || sum of its g ||^2 (block-diagonal Fisher information). The pruned set starts with
    the smallest single costs. Then each other index, in ascending order of cost, enters the set, and the index whose
    removal from the set leaves the smallest cost goes out. This may be the same index, so the cost never rises.

    Args:
        gradients: g, ``(n_batches, n)``.
        n_kept: numbers of indices to keep; all of them share the products of the gradients.

    Returns:
        A mask ``(n,)`` for each number, True = keep.
    """
    products = gradients.T @ gradients
    single = products.diagonal().copy()
    order = np.argsort(single, kind="stable")
    return [_rearranged(products, single, order, len(order) - n) for n in n_kept]


def rearranged(
    subnetworks: list[SubNetwork], heads: FloatArray, units: FloatArray, full: SubNetwork,
    after_layer: Callable[[], None] = lambda: None,
) -> list[SubNetwork]:  # fmt: skip
    """Sub-networks with the same numbers of heads and units in each layer, but a cheaper choice of which to remove.

    Args:
        heads: gradients ``(n_batches, n_layers, n_heads)``.
        units: gradients ``(n_batches, n_layers, n_units)``.
        full: the full network; nothing else is kept.
    """
    found = []
    for gradients, present, counts in (
        (heads, full.heads, [s.head_counts for s in subnetworks]),
        (units, full.units, [s.unit_counts for s in subnetworks]),
    ):
        masks = np.zeros((len(subnetworks), *present.shape), dtype=np.bool_)
        for layer, there in enumerate(present):
            masks[:, layer, there] = rearrange(gradients[:, layer, there], [int(n[layer]) for n in counts])
            after_layer()
        found.append(masks)
    return [SubNetwork(*masks) for masks in zip(*found, strict=True)]


def _rearranged(products: FloatArray, single: FloatArray, order: IntArray, n_pruned: int) -> BoolArray:
    kept = np.ones(len(order), dtype=np.bool_)
    kept[order[:n_pruned]] = False
    if n_pruned == 0:
        return kept
    # With s the sum over the set, || s - g_k ||^2 = |s|^2 - 2 <s, g_k> + |g_k|^2. Only the last two terms depend on k.
    sum_products = products[order[:n_pruned]].sum(axis=0)
    own = np.where(kept, np.inf, single)
    for added in order[n_pruned:]:
        sum_products += products[added]
        own[added] = single[added]
        removed = int(np.argmin(own - 2 * sum_products))
        own[removed] = np.inf
        sum_products -= products[removed]
    return np.isinf(own)
