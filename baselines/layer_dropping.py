"""Layer dropping: remove whole layers before fine-tuning (Sajjad et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from nasbench.arrays import BoolArray, FloatArray
from nasbench.baselines.masks.importance import batches
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions

DroppingOrder = Literal["top", "bottom", "alternate", "symmetric", "contribution"]


@dataclass(frozen=True)
class LayerDroppingOptions(TrainingOptions):
    """Which layers go, and how what is left is fine-tuned.

    Attributes:
        strategy: see :func:`kept_layers`.
    """

    strategy: DroppingOrder = "top"


class LayerDropping(Method):
    """Drops 1, 2, ..., L-1 layers of the pre-trained network and fine-tunes each of the L-1 networks on its own."""

    name = "layer-dropping"
    summary = "drop whole layers of the pre-trained network, then fine-tune what is left"
    spaces = ("layer",)
    Options = LayerDroppingOptions

    def run(self, problem: Problem) -> None:
        pretrained, n_layers = problem.pretrained(), problem.dims.n_layers
        similarity = np.zeros(n_layers)
        if self.options.strategy == "contribution":
            with problem.phase("search"):
                similarity = layer_similarity(pretrained, problem)
        for n_dropped in range(1, n_layers):
            config = kept_layers(self.options.strategy, n_layers, n_dropped, similarity).astype(np.int64)
            network = pretrained.extract(problem.space.to_subnetwork(config), name=f"dropped-{n_dropped}")
            problem.training(network, fine_tuning=self.options.of(problem.fine_tuning)).run()
            problem.evaluate(network, config)


def kept_layers(strategy: DroppingOrder, n_layers: int, n_dropped: int, similarity: FloatArray) -> BoolArray:
    """Which layers stay, bool ``(n_layers,)``, counted from the input.

    ``top`` drops the last layers, ``bottom`` the first. ``alternate`` drops every second layer from the last one down;
    Sajjad et al. stop at half, here the others follow, again from the last one down. ``symmetric`` keeps as many layers
    at the bottom as at the top, one more at the bottom if their number is odd. ``contribution`` drops the layers that
    change their input least; Sajjad et al. drop those above a threshold, here the number is given.

    Args:
        similarity: of each layer's input and output, ``(n_layers,)``; used by ``contribution`` only.
    """
    last_first = np.arange(n_layers)[::-1]
    if strategy == "symmetric":
        n_kept = n_layers - n_dropped
        return np.roll(np.arange(n_layers) < n_kept, -(n_kept // 2))
    order = {
        "top": last_first,
        "bottom": last_first[::-1],
        "alternate": np.concatenate([last_first[::2], last_first[1::2]]),
        "contribution": np.argsort(-similarity, kind="stable"),
    }[strategy]
    return ~np.isin(np.arange(n_layers), order[:n_dropped])


def layer_similarity(network: SuperNetwork, problem: Problem) -> FloatArray:
    """Cosine of each layer's input and output at the first token, mean over the train split, ``(n_layers,)``.

    The first token is what the classifier reads.
    """
    total = torch.zeros(problem.dims.n_layers, dtype=torch.float64, device=network.device)
    n_sequences = 0
    with torch.inference_mode():
        for batch in batches(problem.train, network, problem.pad_id):
            depths = network.encode_depths(network.embed(batch), batch.attention_mask, network.slices()).double()
            total += torch.nn.functional.cosine_similarity(depths[:-1], depths[1:], dim=-1).sum(1)
            n_sequences += depths.shape[1]
            problem.check_budget()
    return np.asarray(total.cpu().numpy() / n_sequences)
