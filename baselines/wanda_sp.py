"""Wanda-sp: keep the heads and units with the largest product of weights and activations, equally many in each layer.

Wanda (Sun et al. 2024) scores single weights by |W_ij| ||X_j||_2. Wanda-sp sums the scores of the columns of a head or
a unit; An et al. 2024 (FLAP, arXiv:2312.11983) compare with it under this name. Their code prunes layer after layer,
and measures each with the outputs of the layers that it has pruned. Here one pass of the dense network serves all
ratios, as in ``flap``: a pass for each would take nine times as long.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from nasbench.arrays import FloatArray
from nasbench.baselines.masks.calibration import CalibrationOptions, Note, calibration_batches, ready_network, walk
from nasbench.baselines.masks.shares import without_smallest
from nasbench.data.batching import Batch
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of the heads and units of each layer that are removed; one evaluation for each."""


class WandaSp(Method):
    """Removes the same share of the heads and units of every layer, by their scores, without training the rest."""

    name = "wanda-sp"
    summary = "remove the heads and units with the smallest product of weights and activations, without training"
    spaces = ("large",)
    Options = CalibrationOptions

    def run(self, problem: Problem) -> None:
        assert isinstance(problem.space, Large)
        network = ready_network(problem, self.options)
        problem.evaluate(network, problem.space.largest)
        with problem.phase("search"):
            heads, units = scores(network, calibration_batches(problem, network, self.options.n_calibration))
        full = SubNetwork.full(problem.dims)
        for ratio in RATIOS:
            kept = SubNetwork(without_smallest(heads, full.heads, ratio), without_smallest(units, full.units, ratio))
            problem.evaluate(network, problem.space.from_subnetwork(kept))


def scores(network: SuperNetwork, batches: Iterable[Batch]) -> tuple[FloatArray, FloatArray]:
    """Scores of heads ``(n_layers, n_heads)`` and units ``(n_layers, n_units)``; 0 where a layer has none.

    The score of a column j of an output projection W is sum_i |W_ij| times the norm of its input over all tokens.
    """
    dims = network.dims
    sums: list[dict[int, Tensor]] = [{}, {}]

    def note(kind: int) -> Note:
        def add(layer: int, values: Tensor) -> None:
            total = values.double().square().sum(0)
            sums[kind][layer] = sums[kind][layer] + total if layer in sums[kind] else total

        return add

    for batch in batches:
        walk(network, batch, note(0), note(1), lambda _layer, _hidden: None)
    heads, units = np.zeros((dims.n_layers, dims.n_heads)), np.zeros((dims.n_layers, dims.n_units))
    with torch.no_grad():
        for i in range(dims.n_layers):
            attention, feed_forward = network.adapter.attention(i), network.adapter.feed_forward(i)
            if attention is not None and i in sums[0]:
                columns = _columns(attention.output.weight, sums[0][i])
                heads[i, : len(columns) // dims.head_width] = columns.reshape(-1, dims.head_width).sum(1)
            if feed_forward is not None and i in sums[1]:
                columns = _columns(feed_forward.output.weight, sums[1][i])
                units[i, : len(columns)] = columns
    return heads, units


def _columns(weight: Tensor, squares: Tensor) -> FloatArray:
    used = weight[:, : len(squares)].double()
    return np.asarray((used.abs().sum(0) * squares.sqrt()).cpu().numpy())
