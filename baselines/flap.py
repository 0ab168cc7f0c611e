"""FLAP: keep the heads and units whose outputs fluctuate most, and add the mean outputs of the others to the biases.

An et al., AAAI 2024 (arXiv:2312.11983). The score of channel j of an output projection W is the variance of its input
over all tokens of the calibration examples times ||W_:j||_2^2. Scores are standardised within the block of a layer, so
that they compare across layers and blocks; the score of a head is the mean of its channels. What is removed is replaced
by its mean: the bias of W grows by the sum of W_:j times the mean input of j over the removed channels.

Blocks of Llama, Mistral, Qwen2 and ModernBERT have no bias there. Networks of this method get biases of 0 in these
places before the run, which count as parameters and are exported. A block that loses all heads or units is skipped with
its bias, as everywhere in this suite, so nothing replaces it. The published code squares the scores of attention
blocks; the paper does not, and neither does this file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from nasbench.arrays import BoolArray, FloatArray
from nasbench.baselines.masks.calibration import CalibrationOptions, Note, calibration_batches, ready_network, walk
from nasbench.data.batching import Batch
from nasbench.networks.blocks import Projection
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of the parameters of all heads and units that are removed; one evaluation for each."""


class FLAP(Method):
    """Removes the heads and units that fluctuate least, over all layers, and compensates for them in the biases."""

    name = "flap"
    summary = "remove the heads and units that fluctuate least, and put their means into biases, without training"
    spaces = ("large",)
    adds_output_biases = True
    Options = CalibrationOptions

    def run(self, problem: Problem) -> None:
        assert isinstance(problem.space, Large)
        network = ready_network(problem, self.options)
        problem.evaluate(network, problem.space.largest)
        with problem.phase("search"):
            moments = Moments()
            moments.add(network, calibration_batches(problem, network, self.options.n_calibration))
            heads, units = scores(network, moments)
        for ratio in RATIOS:
            with problem.phase("search"):
                kept = best(network, heads, units, ratio)
                pruned = compensated(network, kept, moments, f"ratio-{ratio}")
            problem.evaluate(pruned, problem.space.from_subnetwork(kept))


@dataclass
class Moments:
    """Sums over tokens of the inputs of output projections.

    Attributes:
        n_tokens: number of tokens.
        sums: for attention and feed-forward blocks, by layer: sums ``(n_channels,)``, fp64.
        squares: likewise, sums of squares.
    """

    n_tokens: int = 0
    sums: tuple[dict[int, Tensor], dict[int, Tensor]] = field(default_factory=lambda: ({}, {}))
    squares: tuple[dict[int, Tensor], dict[int, Tensor]] = field(default_factory=lambda: ({}, {}))

    def add(self, network: SuperNetwork, batches: Iterable[Batch]) -> None:
        """Run the full network on batches and count what passes its output projections."""

        def note(kind: int) -> Note:
            def count(layer: int, values: Tensor) -> None:
                powers = values.double(), values.double().square()
                for sums, power in zip((self.sums[kind], self.squares[kind]), powers, strict=True):
                    sums[layer] = sums[layer] + power.sum(0) if layer in sums else power.sum(0)

            return count

        for batch in batches:
            mask = batch.attention_mask
            self.n_tokens += batch.input_ids.numel() if mask is None else int(mask.sum())
            walk(network, batch, note(0), note(1), lambda _layer, _hidden: None)

    def mean(self, kind: int, layer: int) -> Tensor:
        """Mean of each channel, ``(n_channels,)``."""
        return self.sums[kind][layer] / self.n_tokens

    def variance(self, kind: int, layer: int) -> Tensor:
        """Unbiased variance of each channel, ``(n_channels,)``; 0 for a single token."""
        summed = self.squares[kind][layer] - self.n_tokens * self.mean(kind, layer).square()
        return summed.clamp(min=0) / max(1, self.n_tokens - 1)


def scores(network: SuperNetwork, moments: Moments) -> tuple[FloatArray, FloatArray]:
    """Scores of heads ``(n_layers, n_heads)`` and units ``(n_layers, n_units)``; -inf where a layer has none."""
    dims = network.dims
    found = np.full((dims.n_layers, dims.n_heads), -np.inf), np.full((dims.n_layers, dims.n_units), -np.inf)
    for kind, width in enumerate((dims.head_width, 1)):
        for layer in moments.sums[kind]:
            weight = _output(network, kind, layer).weight.detach().double()
            variance = moments.variance(kind, layer)
            channels = (variance * weight[:, : len(variance)].square().sum(0)).cpu().numpy()
            standard = _standardised(channels).reshape(-1, width).mean(1)
            found[kind][layer, : len(standard)] = standard
    return found


def best(network: SuperNetwork, heads: FloatArray, units: FloatArray, ratio: float) -> SubNetwork:
    """The sub-network of the largest scores whose heads and units have the share 1 - ``ratio`` of the parameters.

    Of all such prefixes of the order, this is the one that comes closest.
    """
    dims = network.dims
    values = np.concatenate([heads.ravel(), units.ravel()])
    costs = np.repeat([dims.n_params_per_head, dims.n_params_per_unit], [heads.size, units.size]) * np.isfinite(values)
    order = np.argsort(-values, kind="stable")
    spent = np.cumsum(costs[order])
    n_kept = 1 + int(np.abs(spent - (1 - ratio) * spent[-1]).argmin())
    kept: BoolArray = np.zeros(len(values), dtype=np.bool_)
    kept[order[:n_kept]] = True
    return SubNetwork(kept[: heads.size].reshape(heads.shape), kept[heads.size :].reshape(units.shape))


def compensated(network: SuperNetwork, kept: SubNetwork, moments: Moments, name: str) -> SuperNetwork:
    """The extracted sub-network, with the mean outputs of what is removed in the biases of the blocks that are left."""
    pruned = network.extract(kept, name)
    masks = np.repeat(kept.heads, network.dims.head_width, axis=1), kept.units
    with torch.no_grad():
        for kind in range(2):
            for layer in moments.sums[kind]:
                if not masks[kind][layer].any():
                    continue
                mean, weight = moments.mean(kind, layer), _output(network, kind, layer).weight.double()
                is_removed = torch.from_numpy(~masks[kind][layer][: len(mean)]).to(mean.device)
                bias = _output(pruned, kind, layer).bias
                assert bias is not None, "the run has added biases"
                bias += weight[:, : len(mean)] @ (mean * is_removed)
    pruned.refresh()
    return pruned


def _output(network: SuperNetwork, kind: int, layer: int) -> Projection:
    """The output projection of the attention block (kind 0) or the feed-forward block (1) of a layer."""
    block = network.adapter.attention(layer) if kind == 0 else network.adapter.feed_forward(layer)
    assert block is not None
    return block.output


def _standardised(values: FloatArray) -> FloatArray:
    """Values less their mean, over their standard deviation; 0 if they are all equal."""
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return np.asarray((values - values.mean()) / spread) if spread > 0 else np.zeros_like(values)
