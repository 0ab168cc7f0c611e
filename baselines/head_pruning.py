"""Head pruning: remove the attention heads that matter least to the loss (Michel et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from nasbench.arrays import BoolArray, FloatArray
from nasbench.baselines.masks.importance import batches, head_gradients
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions
from nasbench.training.losses import Kind

if TYPE_CHECKING:
    from nasbench.data.splits import Split

STEP_PERCENT = 5
"""Of all heads, from one evaluation to the next."""


@dataclass(frozen=True)
class HeadPruningOptions(TrainingOptions):
    """How the network is fine-tuned and how heads are ranked.

    Attributes:
        importance: where the absolute value is taken, see :func:`head_importance`; the paper's text has
            ``per-example``, its published code ``per-token``.
        exact: measure again after each step, on the heads that are left.
    """

    importance: Literal["per-example", "per-token"] = "per-example"
    exact: bool = False


class HeadPruning(Method):
    """Fine-tunes the network, then removes heads in ascending importance, 5 % of all at a time, down to none.

    Nothing is trained again. A block that has lost its last head is skipped with its bias and LayerNorm, as everywhere
    in this suite; Michel et al. keep those.
    """

    name = "head-pruning"
    summary = "fine-tune, then remove the attention heads that matter least to the loss"
    spaces = ("large",)
    Options = HeadPruningOptions

    def run(self, problem: Problem) -> None:
        assert isinstance(problem.space, Large)
        network = problem.pretrained("fine-tuned")
        problem.training(network, fine_tuning=self.options.of(problem.fine_tuning)).run()
        full = SubNetwork.full(problem.dims)
        problem.evaluate(network, problem.space.from_subnetwork(full))
        heads, importance = full.heads, None
        for n_removed in removal_counts(problem.dims):
            if importance is None or self.options.exact:
                with problem.phase("search"):
                    importance = head_importance(
                        network, SubNetwork(heads, full.units), problem.train, problem.task.kind, problem.pad_id,
                        self.options.importance == "per-token", problem.check_budget,
                    )  # fmt: skip
            heads = without_least_important(heads, importance, n_removed)
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
    """I[l, h] = E_x | <Att_h(x), dL(x)/dAtt_h(x)> |, divided by the layer's l2 norm over heads.

    L(x) is the loss of example x alone, so the importance does not depend on how examples are batched. (With the mean
    loss of a batch each example would count 1/batch size, which full batches of one size have in common and the
    normalisation removes.)

    Args:
        per_token: take the absolute value for each token's inner product, and sum these over an example.
        after_batch: called after each batch; may raise to stop.

    Returns:
        ``(n_layers, n_heads)``, 0 for heads that are not in the sub-network.
    """
    total = np.zeros(subnetwork.heads.shape)
    for batch in batches(split, network, pad_id):
        gradients = head_gradients(network, batch, kind, subnetwork, per_token)
        total += gradients.abs().sum(0).cpu().numpy()
        after_batch()
    norms = np.sqrt((total**2).sum(axis=1, keepdims=True))
    return total / np.where(norms > 0, norms, 1.0)


def removal_counts(dims: Dimensions) -> list[int]:
    """How many heads are gone at 5, 10, ..., 100 %; each count once, where the network has fewer heads than steps."""
    n_heads = dims.n_layers * dims.n_heads
    return sorted({n_heads * percent // 100 for percent in range(STEP_PERCENT, 101, STEP_PERCENT)} - {0})


def without_least_important(heads: BoolArray, importance: FloatArray, n_removed: int) -> BoolArray:
    """The heads that are left when ``n_removed`` of all are gone: first those gone already, then the least important.

    Args:
        heads: kept so far, ``(n_layers, n_heads)``, True = keep.
        importance: the same shape, compared across layers.
    """
    order = np.argsort(np.where(heads, importance, -np.inf), axis=None, kind="stable")
    left = np.ones(heads.size, dtype=np.bool_)
    left[order[:n_removed]] = False
    return left.reshape(heads.shape)
