"""Retraining-free pruning as its authors' code does it: one budget at a time, the full-size network under masks.

Written after the description in Kwon et al. 2022, one step after the other, with none of the suite's own machinery for
sub-networks: what the tests compare with, and what the benchmark measures against. Two things follow the suite: the
search skips numbers of heads that do not fit, and a block without heads (or units) is skipped with its LayerNorm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import lsmr
from torch import Tensor

from nasbench.batching import Batch, collate
from nasbench.data import Split
from nasbench.losses import Kind, label_loss
from nasbench.mask_search import MacCosts
from nasbench.subnetwork import BoolArray, FloatArray, IntArray, SubNetwork
from nasbench.supernet import SuperNetwork


def prune(
    network: SuperNetwork, split: Split, kind: Kind, pad_id: int, drawn: IntArray, alpha: float
) -> tuple[SubNetwork, FloatArray, FloatArray]:
    """Masks and tuned mask values for a fraction ``alpha`` of the operations.

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
        np.stack([rearrange(mask, units[:, i]) for i, mask in enumerate(student.neurons)]),
    )
    return student, *tune(network, student, teacher, batches)


def mask_gradients(network: SuperNetwork, batches: list[Batch], kind: Kind) -> tuple[FloatArray, FloatArray]:
    """Of each batch's mean loss, by autograd: ``(n_batches, n_layers, n)`` for heads and for units."""
    full = SubNetwork.full(network.dims)
    found = []
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for batch in batches:
        masks = [torch.ones(mask.shape, requires_grad=True) for mask in (full.heads, full.neurons)]
        loss = label_loss(kind, network.masked(batch, full, *masks), batch.labels)
        found.append([gradient.double().numpy() for gradient in torch.autograd.grad(loss, masks)])
    for parameter in network.parameters():
        parameter.requires_grad_()
    heads, units = zip(*found, strict=True)
    return np.stack(heads), np.stack(units)


def search(heads: FloatArray, units: FloatArray, costs: MacCosts, alpha: float) -> SubNetwork:
    """The best number of heads, one after the other."""
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
    """Greedy exchange in one layer; ``gradients`` is ``(n_batches, n)``."""
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
    """One of the two networks of the tuning: its masks, and the hidden states of all batches at the current block."""

    heads: Tensor
    units: Tensor
    hidden: list[Tensor]


def tune(
    network: SuperNetwork, student: SubNetwork, teacher: SubNetwork, batches: list[Batch]
) -> tuple[FloatArray, FloatArray]:
    """Least squares over the mask values of one block after the other; see :func:`nasbench.mask_tuning.tune_masks`."""
    with torch.inference_mode():
        embedded = [network.model.base_model.embeddings(b.input_ids, b.token_type_ids) for b in batches]
        tokens = [
            torch.ones_like(b.input_ids).bool() if b.attention_mask is None else b.attention_mask for b in batches
        ]
        own, other = (
            _Network(torch.tensor(s.heads).float(), torch.tensor(s.neurons).float(), list(embedded))
            for s in (student, teacher)
        )
        for i, layer in enumerate(network.adapter.layers):
            if not _tune_attention(network, layer, i, own, other, tokens):
                break
            if not _tune_feed_forward(layer, i, own, other, tokens, is_last=i + 1 == network.dims.n_layers):
                break
    return own.heads.double().numpy(), own.units.double().numpy()


def _tune_attention(
    network: SuperNetwork, layer: Any, i: int, own: _Network, other: _Network, tokens: list[Tensor]
) -> bool:
    dims, output = network.dims, layer.attention.output
    kept = own.heads[i].nonzero().flatten()
    by_head = output.dense.weight.t().view(dims.n_heads, dims.head_size, dims.hidden_size)[kept]
    left, right = torch.zeros(len(kept), len(kept)), torch.zeros(len(kept))
    contexts = []
    for b, where in enumerate(tokens):
        target = other.hidden[b] + _masked_attention(layer, other.hidden[b], where, other.heads[i])
        contexts.append(_context(layer, own.hidden[b], where, dims.n_heads))
        of_heads = contexts[b][where].view(-1, dims.n_heads, dims.head_size)[:, kept]
        a = torch.einsum("tgi,gio->tog", of_heads, by_head).flatten(0, 1)
        difference = (target - output.dense.bias - own.hidden[b])[where].flatten()
        left, right = left + a.t() @ a, right + a.t() @ difference
        if other.heads[i].any():
            other.hidden[b] = output.LayerNorm(target)
    if not len(kept):
        return True
    if i > 0 and other.heads[i].any():
        scales = _solve(left, right)
        if scales is None:
            return False
        own.heads[i, kept] *= scales
    for b in range(len(tokens)):
        masked = contexts[b] * own.heads[i].repeat_interleave(dims.head_size)
        own.hidden[b] = output.LayerNorm(output.dense(masked) + own.hidden[b])
    return True


def _tune_feed_forward(layer: Any, i: int, own: _Network, other: _Network, tokens: list[Tensor], is_last: bool) -> bool:
    output = layer.output
    kept = own.units[i].nonzero().flatten()
    columns = output.dense.weight[:, kept]
    left, right = torch.zeros(len(kept), len(kept)), torch.zeros(len(kept))
    inners = []
    for b, where in enumerate(tokens):
        if is_last:
            where = where & (torch.arange(where.shape[1]) == 0)
        target = other.hidden[b]
        if other.units[i].any():
            target = target + output.dense(layer.intermediate(target) * other.units[i])
        inners.append(layer.intermediate(own.hidden[b]))
        a = inners[b][where][:, kept]
        difference = (target - output.dense.bias - own.hidden[b])[where]
        left, right = left + (a.t() @ a) * (columns.t() @ columns), right + ((difference @ columns) * a).sum(0)
        if other.units[i].any():
            other.hidden[b] = output.LayerNorm(target)
    if not len(kept):
        return True
    if other.units[i].any():
        scales = _solve(left, right)
        if scales is None:
            return False
        own.units[i, kept] *= scales
    for b in range(len(tokens)):
        own.hidden[b] = output.LayerNorm(output.dense(inners[b] * own.units[i]) + own.hidden[b])
    return True


def _masked_attention(layer: Any, hidden: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    if not mask.any():
        return torch.zeros_like(hidden)
    context = _context(layer, hidden, tokens, len(mask))
    projected: Tensor = layer.attention.output.dense(context * mask.repeat_interleave(context.shape[-1] // len(mask)))
    return projected


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
