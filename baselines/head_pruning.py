"""Head pruning: remove the attention heads that are least important for the loss (Michel et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from nasbench.arrays import BoolArray, FloatArray
from nasbench.baselines.masks.calibration import ready_network
from nasbench.declarations.task import Kind
from nasbench.masks.importance import batches, head_gradients
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions

if TYPE_CHECKING:
    from nasbench.data.splits import Split

STEP_PERCENT = 5
"""Percentage of all heads that is removed between two evaluations."""
N_PASSAGES = 128
"""Importance is measured on so many train examples for a language model, and on all of them for other tasks. On two CPU
cores, all 2,048 passages of a text would take most of the budget."""


@dataclass(frozen=True)
class HeadPruningOptions(TrainingOptions):
    """Options of fine-tuning and of the ranking of heads.

    Attributes:
        importance: where the absolute value is taken, see :func:`head_importance`. The paper's text has
            ``per-example``, its published code ``per-token``.
        exact: measure the importance of the remaining heads again after each step.
    """

    importance: Literal["per-example", "per-token"] = "per-example"
    exact: bool = False


class HeadPruning(Method):
    """Fine-tunes the network, then removes heads by ascending importance, 5 % of all at a time, until none is left.

    A language model is pruned as it is, unless ``epochs`` is set.
    The network is not trained again. A block without heads is skipped with its bias and LayerNorm, as everywhere in
    this suite; Michel et al. keep both.
    """

    name = "head-pruning"
    summary = "fine-tune, then remove the attention heads that are least important for the loss"
    spaces = ("large",)
    Options = HeadPruningOptions

    def run(self, problem: Problem) -> None:
        assert isinstance(problem.space, Large)
        network = ready_network(problem, self.options)
        train = problem.train
        if problem.task.needs_language_model:
            train = train.take(np.sort(problem.rng.permutation(len(train))[:N_PASSAGES]))
        full = SubNetwork.full(problem.dims)
        problem.evaluate(network, problem.space.from_subnetwork(full))
        heads, importance = full.heads, None
        for n_removed in removal_counts(problem.dims):
            if importance is None or self.options.exact:
                with problem.phase("search"):
                    importance = head_importance(
                        network, SubNetwork(heads, full.units), train, problem.task.kind, problem.pad_id,
                        self.options.importance == "per-token", problem.check_budget,
                    )  # fmt: skip
            heads = without_least_important(heads, importance, n_removed + int((~full.heads).sum()))
            problem.evaluate(network, problem.space.from_subnetwork(SubNetwork(heads, full.units)))


def head_importance(
    network: SuperNetwork,
    subnetwork: SubNetwork,
    split: Split,
    kind: Kind,
    pad_id: int,
    per_token: bool = False,
    after_batch: Callable[[], None] = lambda: None,
) -> FloatArray:
    """Importance of heads: I[l, h] = E_x | <Att_h(x), dL(x)/dAtt_h(x)> |, divided by the layer's l2 norm over heads.

    L(x) is the loss of example x alone, so the importance does not depend on the batches. (The mean loss of a batch
    would weight each example by 1/batch size. For batches of equal size, the normalisation removes this factor.)

    Args:
        per_token: take the absolute value of each token's inner product and sum these values over an example.
        after_batch: called after each batch; may raise to stop.

    Returns:
        ``(n_layers, n_heads)``; 0 for heads that are not in the sub-network.
    """
    total = np.zeros(subnetwork.heads.shape)
    for batch in batches(split, network, pad_id):
        gradients = head_gradients(network, batch, kind, subnetwork, per_token)
        total += gradients.abs().sum(0).cpu().numpy()
        after_batch()
    norms = np.sqrt((total**2).sum(axis=1, keepdims=True))
    return total / np.where(norms > 0, norms, 1.0)


def removal_counts(dims: Dimensions) -> list[int]:
    """Numbers of removed heads at 5, 10, ..., 100 %; without repetitions if the network has fewer heads than steps."""
    n_heads = int(dims.most_heads.sum())
    return sorted({n_heads * percent // 100 for percent in range(STEP_PERCENT, 101, STEP_PERCENT)} - {0})


def without_least_important(heads: BoolArray, importance: FloatArray, n_removed: int) -> BoolArray:
    """Mask of the heads that remain when ``n_removed`` heads are removed in total, the least important first.

    Args:
        heads: heads kept so far, ``(n_layers, n_heads)``, True = keep. Heads removed earlier stay removed, and count.
        importance: same shape; compared across layers.
    """
    order = np.argsort(np.where(heads, importance, -np.inf), axis=None, kind="stable")
    left = np.ones(heads.size, dtype=np.bool_)
    left[order[:n_removed]] = False
    return left.reshape(heads.shape)
