"""Layer dropping: remove whole layers before fine-tuning (Sajjad et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from nasbench.arrays import BoolArray, FloatArray
from nasbench.masks.importance import batches
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions

DroppingOrder = Literal["top", "bottom", "alternate", "symmetric", "contribution"]


@dataclass(frozen=True)
class LayerDroppingOptions(TrainingOptions):
    """Options of fine-tuning and the order in which layers are dropped.

    Attributes:
        strategy: which layers are dropped, see :func:`kept_layers`.
    """

    strategy: DroppingOrder = "top"


class LayerDropping(Method):
    """Drops 1, 2, ..., L-1 layers of the pre-trained network and fine-tunes each of the L-1 networks separately."""

    name = "layer-dropping"
    summary = "drop whole layers of the pre-trained network, then fine-tune the rest"
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
    """Mask of the layers that stay, bool ``(n_layers,)``, counted from the input.

    - ``top`` drops the last layers.
    - ``bottom`` drops the first layers.
    - ``alternate`` drops every second layer, from the last layer down. Sajjad et al. stop at half of the layers; here
      the other layers follow, again from the last one down.
    - ``symmetric`` keeps as many layers at the bottom as at the top; if their number is odd, one more at the bottom.
    - ``contribution`` drops the layers that change their input least. Sajjad et al. drop all layers above a threshold
      of similarity; here ``n_dropped`` is given.

    Args:
        strategy: one of the above.
        n_layers: layers of the network.
        n_dropped: layers to drop.
        similarity: similarity of each layer's input and output, ``(n_layers,)``; only ``contribution`` uses it.
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
    """Mean cosine similarity of each layer's input and output over the train split, ``(n_layers,)``.

    Only the tokens that the head reads are compared: of a classifier one, of a language model all.
    """
    total = torch.zeros(problem.dims.n_layers, dtype=torch.float64, device=network.device)
    n_compared = 0
    with torch.inference_mode():
        for batch in batches(problem.train, network, problem.pad_id):
            depths = network.encode_depths(network.embed(batch), batch.attention_mask, network.slices()).double()
            cosines = torch.nn.functional.cosine_similarity(depths[:-1], depths[1:], dim=-1)
            if network.adapter.readout == "every" and batch.attention_mask is not None:
                cosines = cosines[:, batch.attention_mask]
            total += cosines.flatten(1).sum(1)
            n_compared += cosines[0].numel()
            problem.check_budget()
    return np.asarray(total.cpu().numpy() / n_compared)
