"""ShortGPT: remove the layers that change their input least (Men et al. 2024, arXiv:2403.03853)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nasbench.arrays import FloatArray
from nasbench.baselines.masks.calibration import CalibrationOptions, calibration_batches, ready_network, walk
from nasbench.data.batching import Batch
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem


class ShortGPT(Method):
    """Removes 1, 2, ..., L-1 layers in the order of their block influence, without training the rest."""

    name = "shortgpt"
    summary = "remove the layers that change their input least (block influence), without training"
    spaces = ("layer",)
    Options = CalibrationOptions

    def run(self, problem: Problem) -> None:
        network = ready_network(problem, self.options)
        config = problem.space.largest
        problem.evaluate(network, config)
        with problem.phase("search"):
            influence = block_influence(network, calibration_batches(problem, network, self.options.n_calibration))
        for layer in np.argsort(influence, kind="stable")[:-1]:
            config[layer] = 0
            problem.evaluate(network, config)


def block_influence(network: SuperNetwork, batches: Iterable[Batch]) -> FloatArray:
    """Block influence of each layer, ``(n_layers,)``: 1 - mean cosine of its input and output (their equation 1).

    The mean is over all tokens of all batches.
    """
    n_layers = network.dims.n_layers
    similar, n_tokens = torch.zeros(n_layers, dtype=torch.float64, device=network.device), 0
    for batch in batches:
        states: list[Tensor] = []
        walk(network, batch, None, None, lambda _, hidden, states=states: states.append(hidden.double()))  # type: ignore[misc]
        for layer in range(n_layers):
            similar[layer] += functional.cosine_similarity(states[layer], states[layer + 1], dim=-1).sum()
        n_tokens += len(states[0])
    return np.asarray(1 - similar.cpu().numpy() / n_tokens)
