"""Evaluation of sub-networks on sequences packed one after the other, without padding.

A packed batch holds as many tokens as the memory allows, so a split is one batch or a few, and a sub-network is
evaluated in few launches. Weights are laid out once: query, key and value are one matrix, ordered by head, so that the
first heads are its first rows. What a sub-network selects from the weights is gathered once for all batches.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.arrays import BoolArray
from nasbench.data.batching import PackedBatch
from nasbench.networks.attention import attend, relative_scores, rotate
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock, Projection
from nasbench.networks.passes.scores import AddedScores
from nasbench.networks.passes.variable_length import VariableLengthAttention
from nasbench.networks.passes.weights import Linear, Norm
from nasbench.networks.sliced import on_device
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork


def can_pack(network: SuperNetwork) -> bool:
    """Whether packed passes exist for a network: for its architecture, and unless its projections are factored."""
    return network.adapter.can_pack and network.adapter.readout != "every" and not network.subnetwork.is_factored


class PackedNetwork:
    """The weights of a network as packed passes read them, for all its sub-networks.

    Args:
        network: its architecture must have packed passes (:func:`can_pack`). It is not kept alive.
    """

    def __init__(self, network: SuperNetwork) -> None:
        self._model = weakref.ref(network.model)
        if network.copies is not None:
            network.copies.refresh_if_stale()
        self._versions = _versions(network)
        blocks = map(network.adapter.attention, range(len(network.adapter.layers)))
        with torch.no_grad():
            self._merged = [None if block is None else _by_head(network, block) for block in blocks]

    def holds(self, network: SuperNetwork) -> bool:
        """Whether these are the weights of this network as they are now."""
        return self._model() is network.model and self._versions == _versions(network)

    def select(self, network: SuperNetwork, subnetwork: SubNetwork | None = None) -> PackedSubNetwork:
        """A sub-network, ready to run; it is valid as long as the weights do not change.

        Args:
            network: what :meth:`holds` is true of.
            subnetwork: None for all that the network holds.

        Raises:
            ValueError: if the masks do not fit, or for any other sub-network of an extracted network.
        """
        held = network.subnetwork
        subnetwork = subnetwork or held
        subnetwork.check(network.dims)
        if network.is_extracted:
            if subnetwork != held:
                raise ValueError("an extracted network can only run the sub-network that was extracted")
            # The kept heads and units are contiguous in the extracted network.
            subnetwork = SubNetwork.from_counts(held.head_counts, held.unit_counts, network.dims)
        kept = [(_Kept(heads), _Kept(units)) for heads, units in zip(subnetwork.heads, subnetwork.units, strict=True)]
        scattered = [part for parts in kept for part in parts if part.indices is not None]
        moved = on_device([cast(Tensor, part.indices) for part in scattered], network.device)
        for part, indices in zip(scattered, moved, strict=True):
            part.indices = indices
        layers: list[_Layer] = []
        for i, (heads, units) in enumerate(kept):
            attention = self._attention(network, i, heads) if heads.n else None
            layers.append((attention, self._feed_forward(network, i, units) if units.n else None))
        return PackedSubNetwork(network, layers)

    def _attention(self, network: SuperNetwork, layer: int, heads: _Kept) -> _Attention:
        block, merged = network.adapter.attention(layer), self._merged[layer]
        assert block is not None
        assert merged is not None
        weight, bias = merged
        outer, outer_bias = _weights(network, block.output)
        by_head = outer.reshape(len(outer), len(weight), -1)
        inner = Linear(heads.of(weight).flatten(0, 2), None if bias is None else heads.of(bias).flatten())
        outer_map = Linear(heads.of(by_head, 1).flatten(1), outer_bias)
        return _Attention(block, outer_map, _norm(network, block), inner, heads)

    def _feed_forward(self, network: SuperNetwork, layer: int, units: _Kept) -> _FeedForward:
        block = network.adapter.feed_forward(layer)
        assert block is not None
        inputs = []
        for projection in block.inputs:
            weight, bias = _weights(network, projection)
            inputs.append(Linear(units.of(weight), None if bias is None else units.of(bias)))
        outer, outer_bias = _weights(network, block.output)
        return _FeedForward(block, Linear(units.of(outer, 1), outer_bias), _norm(network, block), inputs)


class PackedSubNetwork:
    """A sub-network that runs packed batches; see :meth:`PackedNetwork.select`."""

    def __init__(self, network: SuperNetwork, layers: list[_Layer]) -> None:
        self._network, self._layers = network, layers

    def states(
        self, batch: PackedBatch, attention: VariableLengthAttention | None, n_layers: int | None = None
    ) -> Tensor:
        """What the classifier reads, ``(k, n_sequences, d)``: after all layers (k = 1) or at all depths.

        They equal the results of :meth:`SuperNetwork.encode` and :meth:`SuperNetwork.encode_depths` up to rounding.

        Args:
            attention: None to compute attention over rows of equal length.
            n_layers: depths 0, 1, ..., ``n_layers``; None for the state after all layers.
        """
        if n_layers is not None:
            layers = self._layers[:n_layers]
            return torch.stack(self._read(batch, attention, layers, len(layers) - 1, every_depth=True))
        last = max((i for i, (heads, _) in enumerate(self._layers) if heads is not None), default=-1)
        return self._read(batch, attention, self._layers, last)[-1][None]

    def _read(
        self, batch: PackedBatch, attention: VariableLengthAttention | None, layers: list[_Layer], last_attention: int,
        every_depth: bool = False,
    ) -> list[Tensor]:  # fmt: skip
        """What the classifier reads after all layers, preceded by what it reads at lower depths if ``every_depth``.

        Only tokens that are read run after the attention block of layer ``last_attention``.
        """
        network = self._network
        words = network.adapter.word_embeddings(batch.input_ids)
        hidden = network.adapter.embed(words[None], batch.token_type_ids[None], None, batch.places)[0].to(network.dtype)
        scores = AddedScores(network.adapter, batch.is_token, 1, hidden.dtype)
        read = batch.ends[0 if network.adapter.readout == "first" else 1]
        states = [hidden.index_select(0, read)] if every_depth or last_attention == -1 else []
        is_read = last_attention == -1
        if is_read:
            hidden = states[0]
        for i, (heads, units) in enumerate(layers):
            entering = hidden
            if heads is not None:
                context = self._context(i, heads, hidden, batch, attention, scores)
                if i == last_attention:
                    context, entering, is_read = context.index_select(0, read), hidden.index_select(0, read), True
                hidden = heads.output(context, entering)
            if units is not None:
                hidden = units.output(units.activations(network.feed_forward_input(entering, hidden)), hidden)
            if every_depth or i + 1 == len(layers):
                states.append(hidden if is_read else hidden.index_select(0, read))
        return states

    def _context(
        self,
        i: int,
        weights: _Attention,
        hidden: Tensor,
        batch: PackedBatch,
        attention: VariableLengthAttention | None,
        scores: AddedScores,
    ) -> Tensor:
        """Outputs of the active heads of layer i, ``(n_tokens, heads * width)``."""
        network, block = self._network, weights.block
        size, n_shared = network.dims.head_size, network.dims.n_queries
        whole = weights.inner(weights.input(hidden))
        by_head = whole.view(len(hidden), -1, n_shared + 2, size)
        query, key, value = by_head[:, :, :n_shared].flatten(1, 2), by_head[:, :, n_shared], by_head[:, :, n_shared + 1]
        rotary = network.adapter.rotary(i, batch.longest)
        if rotary is not None:
            cosines, sines = (table.to(hidden.dtype)[batch.places] for table in rotary)
            query, key = (rotate(x.transpose(0, 1), cosines, sines).transpose(0, 1) for x in (query, key))
        if n_shared > 1:
            key, value = (x.repeat_interleave(n_shared, dim=1) for x in (key, value))
        bias = network.adapter.position_bias(i, batch.longest)
        relative = network.adapter.relative_positions(i, batch.longest)
        is_plain = bias is None and relative is None and block.scale is None and not scores.depends_on_query(i)
        if attention is not None and is_plain:
            return attention(query, key, value, batch.starts, batch.longest).flatten(1)
        added = scores.of(i)
        if bias is not None:
            added = added + weights.heads.of(bias).to(added.dtype)
        query, key, value = (_rows(x, batch) for x in (query, key, value))
        if relative is not None:  # without grouped queries
            vectors = weights.inner(relative.table.to(hidden.dtype)).view(len(relative.table), -1, 3, size)
            at_query, at_key = (vectors[:, :, part].transpose(0, 1) for part in range(2))
            scores_by_place = relative_scores(query, key, at_query, at_key, relative.places)
            added = added + scores_by_place * (block.scale or 1.0)
        context = attend(query, key, value, None, bias=added, scale=block.scale)
        return context.transpose(1, 2).flatten(0, 1).index_select(0, batch.from_rows).flatten(1)


def _rows(x: Tensor, batch: PackedBatch) -> Tensor:
    """``(n_tokens, heads, size)`` to ``(n_sequences, heads, longest, size)``; padding repeats the last token."""
    return x.index_select(0, batch.to_rows).view(-1, batch.longest, *x.shape[1:]).transpose(1, 2)


class _Kept:
    """The heads or units that a sub-network keeps: the first n, or those with the given indices.

    Args:
        mask: ``(n_heads,)`` or ``(n_units,)``.
    """

    def __init__(self, mask: BoolArray) -> None:
        self.n = int(mask.sum())
        self.indices = None if mask[: self.n].all() else torch.from_numpy(np.flatnonzero(mask))

    def of(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """The part of a tensor with one entry for each head or unit along ``dim``: a view if they are the first."""
        return tensor.narrow(dim, 0, self.n) if self.indices is None else tensor.index_select(dim, self.indices)


@dataclass(frozen=True)
class _Block:
    """What both blocks of a layer have: the output projection, reduced to what is kept, and the norm."""

    block: Any
    outer: Linear
    norm: Norm

    def input(self, hidden: Tensor) -> Tensor:
        """What the first projections get."""
        return self.norm(hidden) if self.block.norm_first else hidden

    def output(self, inner: Tensor, residual: Tensor) -> Tensor:
        """Hidden states after the block."""
        total = self.outer(inner) + residual
        return total if self.block.norm_first else self.norm(total)


@dataclass(frozen=True)
class _Attention(_Block):
    """``inner`` computes the queries, the key and the value of each kept head, one head after the other."""

    inner: Linear
    heads: _Kept


@dataclass(frozen=True)
class _FeedForward(_Block):
    """``inputs`` are what passes the activation and the gate, if there is one."""

    inputs: list[Linear]

    def activations(self, hidden: Tensor) -> Tensor:
        """Activations of the kept units, ``(n, units)``."""
        hidden = self.input(hidden)
        activations = cast(Tensor, self.block.activation(self.inputs[0](hidden)))
        return activations if len(self.inputs) == 1 else activations * self.inputs[1](hidden)


_Layer = tuple[_Attention | None, _FeedForward | None]


def _versions(network: SuperNetwork) -> list[tuple[int, int]]:
    return [(id(p), p._version) for p in network.parameters()]


def _weights(network: SuperNetwork, projection: Projection) -> tuple[Tensor, Tensor | None]:
    """Weight ``(n_out, n_in)`` and bias of a projection in the data type of the passes."""
    layer = projection.module
    weight, bias = (layer.weight, layer.bias) if network.copies is None else network.copies[layer]
    return projection.part_of(weight), None if bias is None else projection.part_of(bias)


def _norm(network: SuperNetwork, block: AttentionBlock | FeedForwardBlock) -> Norm:
    norm: Any = block.norm
    if not isinstance(norm, nn.LayerNorm):
        return Norm(norm, None, None)
    return Norm(norm, *((norm.weight, norm.bias) if network.copies is None else network.copies.of_norm(norm)))


def _by_head(network: SuperNetwork, block: AttentionBlock) -> tuple[Tensor, Tensor | None]:
    """Query, key and value by head: weight ``(n_heads, n_queries + 2, size, d)`` and bias without the last axis."""
    parts = [_weights(network, projection) for projection in (block.query, block.key, block.value)]
    n_heads, size = len(parts[1][0]) // network.dims.head_size, network.dims.head_size

    def joined(tensors: list[Tensor]) -> Tensor:
        return torch.cat([t.reshape(n_heads, -1, size, *t.shape[1:]) for t in tensors], dim=1)

    weight = joined([weight for weight, _ in parts])
    if parts[0][1] is None:
        return weight, None
    return weight, joined([cast(Tensor, bias) for _, bias in parts])
