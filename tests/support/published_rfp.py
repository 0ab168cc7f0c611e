"""Retraining-free pruning as in its authors' code: one budget at a time, the full-size network under masks.

The code follows the description in Kwon et al. 2022 step by step and uses none of the suite's sub-networks. Tests and
benchmarks compare the suite with it. Two details follow the suite: the search skips numbers of heads that do not fit,
and a block without heads (or units) is skipped with its LayerNorm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import lsmr
from torch import Tensor

from nasbench.arrays import BoolArray, FloatArray, IntArray
from nasbench.data.batching import Batch, collate
from nasbench.data.splits import Split
from nasbench.masks.search import MacCosts
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.losses import Kind, label_loss


def prune(
    network: SuperNetwork, split: Split, kind: Kind, pad_id: int, drawn: IntArray, alpha: float
) -> tuple[SubNetwork, FloatArray, FloatArray]:
    """The sub-network for a fraction ``alpha`` of the operations, and its tuned mask values.

    Args:
        drawn: indices of examples, ``(n_batches, batch_size)``.
    """
    batches = [collate(split, index, pad_id) for index in drawn]
    heads, units = mask_gradients(network, batches, kind)
    fisher = (heads**2).sum(axis=0), (units**2).sum(axis=0)
    costs = MacCosts.of(network.dims, float(split.lengths.mean()))
    student, teacher = search(*fisher, costs, alpha), search(*fisher, costs, alpha**0.5)
    student = SubNetwork(
        np.stack([rearrange(mask, heads[:, i]) for i, mask in enumerate(student.heads)]),
        np.stack([rearrange(mask, units[:, i]) for i, mask in enumerate(student.units)]),
    )
    return student, *tune(network, student, teacher, batches)


def mask_gradients(network: SuperNetwork, batches: list[Batch], kind: Kind) -> tuple[FloatArray, FloatArray]:
    """Gradients of each batch's mean loss by autograd: ``(n_batches, n_layers, n)`` for heads and for units."""
    full = SubNetwork.full(network.dims)
    found = []
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for batch in batches:
        masks = [torch.ones(mask.shape, requires_grad=True) for mask in (full.heads, full.units)]
        loss = label_loss(kind, network.masked(batch, full, *masks), batch.labels)
        found.append([gradient.double().numpy() for gradient in torch.autograd.grad(loss, masks)])
    for parameter in network.parameters():
        parameter.requires_grad_()
    heads, units = zip(*found, strict=True)
    return np.stack(heads), np.stack(units)


def search(heads: FloatArray, units: FloatArray, costs: MacCosts, alpha: float) -> SubNetwork:
    """Try all numbers of heads, one after the other."""
    budget = alpha * costs.full
    best, found = -np.inf, None
    for n_heads in range(1, heads.size + 1):
        if n_heads * costs.head > budget:
            continue
        n_units = min(int((budget - n_heads * costs.head) // costs.unit), units.size)
        least_head = np.sort(heads.ravel())[-n_heads]
        least_unit = np.sort(units.ravel())[-n_units] if n_units else np.inf
        kept = heads[heads >= least_head].sum() + units[units >= least_unit].sum()
        if kept > best:
            best, found = kept, SubNetwork(heads >= least_head, units >= least_unit)
    assert found is not None
    return found


def rearrange(mask: BoolArray, gradients: FloatArray) -> BoolArray:
    """Greedy exchange in one layer; ``gradients`` are ``(n_batches, n)``."""
    order = np.argsort((gradients**2).sum(axis=0)).tolist()
    n_pruned = int((~mask).sum())
    pruned = order[:n_pruned]
    for index in order[n_pruned:]:
        pruned.append(index)
        vectors = gradients[:, pruned]
        rest = vectors.sum(axis=1, keepdims=True) - vectors
        del pruned[int((rest**2).sum(axis=0).argmin())]
    kept = np.ones(len(mask), dtype=np.bool_)
    kept[pruned] = False
    return kept


@dataclass
class _Network:
    """One of the two networks: its masks, and the hidden states of all batches before the current layer."""

    heads: Tensor
    units: Tensor
    hidden: list[Tensor]


def tune(
    network: SuperNetwork, student: SubNetwork, teacher: SubNetwork, batches: list[Batch]
) -> tuple[FloatArray, FloatArray]:
    """Least squares over the mask values, block by block; see :func:`nasbench.masks.tuning.tune_masks`."""
    with torch.inference_mode():
        embedded = [network.model.base_model.embeddings(b.input_ids, b.token_type_ids) for b in batches]
        tokens = [b.input_ids >= 0 if b.attention_mask is None else b.attention_mask for b in batches]
        own, other = (
            _Network(torch.tensor(s.heads).float(), torch.tensor(s.units).float(), embedded) for s in (student, teacher)
        )
        for i, layer in enumerate(network.adapter.layers):
            if i > 0 and own.heads[i].any() and other.heads[i].any():
                scales = _solve(*_attention_equations(layer, i, own, other, tokens))
                if scales is None:
                    break
                own.heads[i, own.heads[i] != 0] *= scales
            if own.units[i].any() and other.units[i].any():
                is_last = i + 1 == network.dims.n_layers
                scales = _solve(*_feed_forward_equations(layer, i, own, other, tokens, is_last))
                if scales is None:
                    break
                own.units[i, own.units[i] != 0] *= scales
            for state in (own, other):
                state.hidden = [
                    _feed_forward(layer, _attention(layer, hidden, where, state.heads[i]), state.units[i])
                    for hidden, where in zip(state.hidden, tokens, strict=True)
                ]
    return own.heads.double().numpy(), own.units.double().numpy()


def _attention_equations(
    layer: Any, i: int, own: _Network, other: _Network, tokens: list[Tensor]
) -> tuple[Tensor, Tensor]:
    output, kept = layer.attention.output, own.heads[i].nonzero().flatten()
    d, n_heads = output.dense.weight.shape[0], own.heads.shape[1]
    by_head = output.dense.weight.t().view(n_heads, -1, d)[kept]
    left, right = torch.zeros(len(kept), len(kept)), torch.zeros(len(kept))
    for own_input, other_input, where in zip(own.hidden, other.hidden, tokens, strict=True):
        target = _attention_sum(layer, other_input, where, other.heads[i])
        context = _context(layer, own_input, where, n_heads)[where].view(-1, n_heads, d // n_heads)
        a = torch.einsum("tgi,gio->tog", context[:, kept], by_head).flatten(0, 1)
        left += a.t() @ a
        right += a.t() @ (target - output.dense.bias - own_input)[where].flatten()
    return left, right


def _feed_forward_equations(
    layer: Any, i: int, own: _Network, other: _Network, tokens: list[Tensor], is_last: bool
) -> tuple[Tensor, Tensor]:
    output, kept = layer.output, own.units[i].nonzero().flatten()
    columns = output.dense.weight[:, kept]
    left, right = torch.zeros(len(kept), len(kept)), torch.zeros(len(kept))
    for own_input, other_input, where in zip(own.hidden, other.hidden, tokens, strict=True):
        rows = where & (torch.arange(where.shape[1]) == 0) if is_last else where
        own_hidden = _attention(layer, own_input, where, own.heads[i])
        other_hidden = _attention(layer, other_input, where, other.heads[i])
        target = output.dense(layer.intermediate(other_hidden) * other.units[i]) + other_hidden
        a = layer.intermediate(own_hidden)[rows][:, kept]
        left += a.t() @ a
        right += (((target - output.dense.bias - own_hidden)[rows] @ columns) * a).sum(0)
    return left * (columns.t() @ columns), right


def _attention(layer: Any, hidden: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    if not mask.any():
        return hidden
    normed: Tensor = layer.attention.output.LayerNorm(_attention_sum(layer, hidden, tokens, mask))
    return normed


def _feed_forward(layer: Any, hidden: Tensor, mask: Tensor) -> Tensor:
    if not mask.any():
        return hidden
    normed: Tensor = layer.output.LayerNorm(layer.output.dense(layer.intermediate(hidden) * mask) + hidden)
    return normed


def _attention_sum(layer: Any, hidden: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    context = _context(layer, hidden, tokens, len(mask))
    total: Tensor = layer.attention.output.dense(context * mask.repeat_interleave(context.shape[-1] // len(mask)))
    return total + hidden


def _context(layer: Any, hidden: Tensor, tokens: Tensor, n_heads: int) -> Tensor:
    """Scaled dot-product attention of all heads, side by side ``(n, length, d)``."""
    inner = layer.attention.self
    query, key, value = (
        projection(hidden).unflatten(-1, (n_heads, -1)).transpose(1, 2)
        for projection in (inner.query, inner.key, inner.value)
    )
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    scores = scores.masked_fill(~tokens[:, None, None], float("-inf"))
    context: Tensor = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    return context


def _solve(left: Tensor, right: Tensor) -> Tensor | None:
    a, b = left.double().numpy(), right.double().numpy()
    delta, reason, *_ = lsmr(a, b - a.sum(axis=1), damp=1, maxiter=20 * len(b))
    scales = 1 + torch.from_numpy(delta).float()
    return None if reason in (3, 6, 7) or not (scales.abs() <= 10).all() else scales
