"""Low rank: replace every projection by a product of two matrices, from a truncated SVD of the fine-tuned network.

Plain SVD minimises ||W - B A||_F, weighted SVD a sum over inputs j of I_j ||W_:j - (B A)_:j||^2 (FWSVD: Hsu et al.,
"Language model compression with weighted low-rank factorization", ICLR 2022, arXiv:2207.00112). Their projection is
x W, so their row of W belongs to an input, as a column does here. I_j sums the Fisher information of the weights of
input j: the squared gradients of the loss of single examples (their equations 5 to 8). With D = diag(sqrt(I)) and the
SVD W D = U S V^T, the best factors of rank r are B = U_r S_r and A = V_r^T D^-1.

Whitening minimises the error of the outputs on calibration data X instead, ||(W - B A) X||_F (SVD-LLM: Wang et al.,
"SVD-LLM: Truncation-aware singular value decomposition for large language model compression", ICLR 2025,
arXiv:2403.07378). With the Cholesky factor X X^T = L L^T in the place of D, the factors are as above: the error is that
of (W - B A) L. It needs no training afterwards, so it is the choice for decoders.

A projection of m rows and n columns has r (m + n) weights instead of m n. Embeddings, biases, norms and the classifier
stay whole, as published. Every projection keeps the same share of its weights. As in the published tables, each
factored network is fine-tuned once more (``tuning_epochs``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from nasbench.baselines.masks.calibration import (
    CalibrationOptions,
    calibration_batches,
    pruned_as_it_is,
    ready_network,
)
from nasbench.data.batching import Batch
from nasbench.declarations.task import Kind
from nasbench.networks.factored.modules import (
    FactorPair,
    Place,
    check_can_be_factored,
    factored,
    projections,
    ranks_by_place,
)
from nasbench.networks.masked import stock_likelihood
from nasbench.networks.space import Ranks
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.training.losses import summed_loss

SHARES = (0.5, 0.2, 0.8, 0.1, 0.7, 0.3, 0.9, 0.4, 0.6)
"""Shares of its weights that every projection keeps; one evaluation for each. The order covers the front early, because
the budget may end before the last one."""
TUNING_EPOCHS = 2
"""Epochs of each factored network by default."""
SMALLEST_WEIGHT = 1e-6
"""Smallest weight sqrt(I_j) of an input beside the largest one: inputs without a gradient have no inverse."""
RIDGES = (1e-6, 1e-4, 1e-2)
"""What is added to the diagonal of X X^T, as a share of its mean: the first with which it has a Cholesky factor. There
may be fewer tokens than inputs, and the products of large inputs are rounded."""


@dataclass(frozen=True)
class LowRankOptions(CalibrationOptions):
    """Options of the factorisation.

    Attributes:
        weighting: ``fisher`` for FWSVD, ``whitening`` for SVD-LLM, ``none`` for plain SVD.
        tuning_epochs: epochs of fine-tuning of each factored network, 0 for none. By default there are two, and none
            where the network is pruned as it is: a language model, or any with ``epochs=0``.
        n_calibration: number of train examples on which the Fisher information or X X^T is measured.
    """

    n_calibration: int = 512
    weighting: Literal["fisher", "whitening", "none"] = "fisher"
    tuning_epochs: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tuning_epochs is not None and self.tuning_epochs < 0:
            raise ValueError(f"tuning_epochs must be 0 or more, not {self.tuning_epochs}")


class LowRank(Method):
    """Fine-tunes the network and factors all its projections at nine ranks. One decomposition serves them all."""

    name = "low-rank"
    summary = "fine-tune, replace every projection by two matrices of low rank (FWSVD, SVD-LLM or SVD), fine-tune again"
    spaces = ("ranks",)
    Options = LowRankOptions

    def run(self, problem: Problem) -> None:
        space = problem.space
        assert isinstance(space, Ranks)
        check_can_be_factored(problem.pretrained().adapter)
        network = ready_network(problem, self.options, trains_later=bool(self.options.tuning_epochs))
        # Without the zeros that fill up the layers of a network that was pruned before.
        whole = network.extract(space.to_subnetwork(space.largest), "full")
        problem.evaluate_module(whole.model, space.largest, whole.name)
        tuning_epochs = self.options.tuning_epochs
        if tuning_epochs is None:
            tuning_epochs = 0 if pruned_as_it_is(problem, self.options) else TUNING_EPOCHS
        tuning = dataclasses.replace(self.options.of(problem.fine_tuning), epochs=tuning_epochs)
        with problem.phase("search"):
            decomposed = dict(self._decomposed(problem, whole))
        for share in SHARES:
            config = np.floor(share * space.upper).astype(np.int64)
            structure = space.to_subnetwork(config)
            ranks = ranks_by_place(structure, problem.dims)
            truncated = {place: (b[:, : ranks[place]], a[: ranks[place]]) for place, (b, a) in decomposed.items()}
            small = factored(network, structure, truncated, f"share-{share}")
            if tuning_epochs > 0:
                problem.training(small, fine_tuning=tuning).run()
            problem.evaluate_module(small.model, config, small.name)

    def _decomposed(self, problem: Problem, whole: SuperNetwork) -> Iterator[tuple[Place, FactorPair]]:
        """Factors of full rank of every projection. Of whitening, the matrices of one layer are in memory at a time."""
        every = dict(projections(whole.adapter))
        examples = calibration_batches(problem, whole, self.options.n_calibration)
        roots: Iterable[tuple[Place, Tensor | None]]
        if self.options.weighting == "whitening":
            roots = whitening_roots(whole, examples, problem.check_budget)
        else:
            of_fisher = self.options.weighting == "fisher"
            weights = input_weights(whole, examples, problem.task.kind) if of_fisher else {}
            roots = [(place, weights.get(place)) for place in every]
        for place, root in roots:
            yield place, decompose(every[place].weight.detach(), root)
            problem.check_budget()


def input_weights(network: SuperNetwork, batches: Iterable[Batch], kind: Kind) -> dict[Place, Tensor]:
    """sqrt(I_j) of the inputs of every projection, ``(n_in,)``, up to a common factor.

    The gradient of an example's loss with respect to W is the sum over tokens of g_t x_t^T, where x_t is the input and
    g_t the gradient of the output. Summed over the outputs, its squares are those of x_:j^T G G^T x_:j, so no gradient
    of the size of W is made. DeBERTa also passes its table of relative positions through query and key. All examples of
    a batch share it, so its part of the gradient is left out.

    Args:
        network: the whole network, in eval mode; its parameters get no gradient.
    """
    totals: dict[Place, Tensor] = {}
    watched: set[Place] = set()  # in this pass; hidden states come before the table of relative positions

    def watch(place: Place, inputs: Tensor, output: Tensor) -> None:
        if place in watched:
            return
        watched.add(place)
        if not output.requires_grad:
            output.requires_grad_()  # nothing before the first projections requires a gradient
        x = _by_example(inputs.detach(), network)
        cast(Any, output).register_hook(lambda gradient: add(place, x, _by_example(gradient, network)))

    def add(place: Place, x: Tensor, gradient: Tensor) -> None:
        products = gradient @ gradient.transpose(1, 2)
        found = ((products @ x) * x).sum((0, 1)).double()
        totals[place] = totals[place] + found if place in totals else found

    with ExitStack() as stack:
        for parameter in network.parameters():
            stack.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        for place, projection in projections(network.adapter):
            hook = projection.module.register_forward_hook(
                lambda _module, inputs, output, place=place: watch(place, inputs[0], output)
            )
            stack.callback(hook.remove)
        for batch in batches:
            watched.clear()
            run = stock_likelihood if network.adapter.readout == "every" else SuperNetwork.stock_logits
            cast(Any, summed_loss(kind, run(network, batch), batch.labels)).backward()
    return {place: total.clamp(min=0).sqrt() for place, total in totals.items()}


def _by_example(values: Tensor, network: SuperNetwork) -> Tensor:
    """``(n_sequences, length, width)`` to ``(n_examples, tokens, width)``: the choices of an example share its loss."""
    return values.float().reshape(-1, network.n_choices * values.shape[1], values.shape[2])


def whitening_roots(
    network: SuperNetwork, batches: Iterable[Batch], after_batch: Callable[[], None] = lambda: None
) -> Iterator[tuple[Place, Tensor]]:
    """The Cholesky factor L of X X^T + a ridge for every projection, fp64 ``(n_in, n_in)``, layer by layer.

    X are the inputs of a projection at all tokens, of the network as it is in all layers before. In memory are the
    hidden states of all tokens, and the matrices of one layer.

    Args:
        network: the whole network, in eval mode.
        after_batch: called after each batch of each layer; may raise to stop.
    """
    with torch.inference_mode():
        passing = [(batch.attention_mask, network.embed(batch)) for batch in batches]
    for i, layer_slice in enumerate(network.slices()):
        attention, feed_forward = network.adapter.attention(i), network.adapter.feed_forward(i)
        products: dict[tuple[str, ...], Tensor] = {}  # by the projections that have the same inputs
        for n, (mask, hidden) in enumerate(passing):
            with torch.inference_mode():
                entering = hidden
                if attention is not None:
                    _add(products, ("query", "key", "value"), network.block_input(attention, hidden), mask)
                    context = network.context(i, layer_slice, hidden, mask)
                    _add(products, ("attention_output",), context, mask)
                    hidden = network.attention_output(i, layer_slice, context, hidden)
                if feed_forward is not None:
                    first = ("intermediate",) if feed_forward.gate is None else ("intermediate", "gate")
                    source = network.feed_forward_input(entering, hidden)
                    _add(products, first, network.block_input(feed_forward, source), mask)
                    inner = network.inner(i, layer_slice, source)
                    _add(products, ("feed_forward_output",), inner, mask)
                    hidden = network.feed_forward_output(i, layer_slice, inner, hidden)
            passing[n] = mask, hidden
            after_batch()
        for names, total in products.items():
            root = cholesky_factor(total)
            for name in names:
                yield (i, name), root


def _add(sums: dict[tuple[str, ...], Tensor], names: tuple[str, ...], values: Tensor, mask: Tensor | None) -> None:
    """Add X X^T of the tokens of a batch, ``(n, length, n_in)``."""
    x = (values.flatten(0, 1) if mask is None else values[mask]).float()
    found = (x.T @ x).double()
    sums[names] = sums[names] + found if names in sums else found


def cholesky_factor(products: Tensor) -> Tensor:
    """L with L L^T = X X^T + a ridge, lower triangular ``(n, n)``.

    Args:
        products: X X^T, fp64 ``(n, n)``.

    Raises:
        ValueError: if there is none with any of :data:`RIDGES`, because values are not finite.
    """
    unit = products.diagonal().mean().clamp(min=1e-30) * torch.eye(
        len(products), dtype=products.dtype, device=products.device
    )
    for ridge in RIDGES:
        root: Tensor
        root, info = torch.linalg.cholesky_ex(products + ridge * unit)
        if int(info) == 0:
            return root
    raise ValueError("the inputs of a projection are not finite, so their products have no Cholesky factor")


def decompose(weight: Tensor, root: Tensor | None) -> tuple[Tensor, Tensor]:
    """B ``(n_out, k)`` and A ``(k, n_in)`` with W = B A, whose first r columns and rows are the best of rank r.

    Best is the smallest ||(W - B A) R||_F.

    Args:
        weight: W, ``(n_out, n_in)``.
        root: R, lower triangular ``(n_in, n_in)``, or its diagonal ``(n_in,)``; None for the identity.
    """
    if root is not None and root.dim() == 2:
        u, s, v = torch.linalg.svd(weight.double() @ root, full_matrices=False)
        return (u * s).float(), torch.linalg.solve_triangular(root, v, upper=False, left=False).float()
    scale = torch.ones(weight.shape[1], dtype=torch.float64, device=weight.device)
    if root is not None and root.max() > 0:
        scale = root.double().clamp(min=SMALLEST_WEIGHT * float(root.max()))
    u, s, v = torch.linalg.svd(weight.double() * scale, full_matrices=False)
    return (u * s).float(), (v / scale).float()
