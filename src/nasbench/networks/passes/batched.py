"""Several sub-networks on the same examples as one batch: the full-size network under a mask for each sub-network.

Slices run one sub-network after the other, and each operation of each of them is a launch. Here a launch serves all
sub-networks, so the number of launches does not depend on how many there are. No operation depends on a value. So the
pass can be recorded as a CUDA graph and replayed under other masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from nasbench.networks.attention import attend, relative_scores, rotate
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock
from nasbench.networks.passes.leaves import Leaves
from nasbench.networks.passes.scores import AddedScores
from nasbench.networks.passes.weights import Linear, Norm
from nasbench.networks.supernet import SuperNetwork


@dataclass(frozen=True)
class Masks:
    """The kept heads and units of several sub-networks, on the network's device.

    Attributes:
        heads: ``(n_passes, n_layers, n_heads)``, True = keep.
        units: ``(n_passes, n_layers, n_units)``, True = keep.
    """

    heads: Tensor
    units: Tensor


class BatchedEncoder:
    """The layers of a network with copies of their weights, which a step casts once.

    Query, key and value are one matrix, hence one product, and so are the inputs of a feed-forward block with a gate.

    Args:
        network: what runs. Its embeddings and its head are not part of the encoder.
    """

    def __init__(self, network: SuperNetwork) -> None:
        self._network = network
        self._leaves = Leaves(network.dtype)
        adapter = network.adapter
        blocks = [(adapter.attention(i), adapter.feed_forward(i)) for i in range(len(adapter.layers))]
        self._layers = [
            (None if a is None else self._attention_weights(a), None if f is None else self._feed_forward_weights(f))
            for a, f in blocks
        ]

    def refresh(self) -> None:
        """Copy the parameters. Each step does this before its first pass."""
        self._leaves.refresh()

    def add_gradients(self) -> None:
        """Move the gradients of the copies to the ``grad`` of the parameters, which must have one each."""
        self._leaves.add_gradients()

    def encode(self, embedded: Tensor, is_token: Tensor, masks: Masks | None, n_passes: int) -> Tensor:
        """Hidden states that the classifier reads after all layers, ``(n_passes, n_sequences, d)``.

        They equal those of :meth:`SuperNetwork.encode` for each sub-network, up to rounding. Each sub-network has its
        own dropout.

        Args:
            embedded: embeddings ``(n_sequences, length, d)``, which all sub-networks share.
            is_token: ``(n_sequences, length)``, True = a token.
            masks: the sub-networks; None if each of them is all that the network holds.
            n_passes: number of sub-networks.
        """
        n_sequences, length, width = embedded.shape
        scores = AddedScores(self._network.adapter, is_token, n_passes, embedded.dtype)
        kept = None if masks is None else _Kept.of(masks, embedded.dtype)
        rows = embedded.expand(n_passes, *embedded.shape).reshape(n_passes * n_sequences, length, width)
        hidden = self._network.dropout(rows)
        reads_first = self._network.adapter.readout == "first"
        for i, (attention, feed_forward) in enumerate(self._layers):
            # If the classifier reads the first token: nothing after the last attention block mixes tokens.
            entering = hidden[:, :1] if reads_first and i + 1 == len(self._layers) else hidden
            if attention is not None:
                context = self._context(i, attention, hidden, entering.shape[1], scores)
                if kept is not None:
                    context = _by_pass(context, n_passes) * kept.heads[:, i]
                hidden = self._output(attention, context, entering, None if kept is None else kept.attention(i))
            else:
                hidden = entering
            if feed_forward is not None:
                inner = self._inner(feed_forward, self._network.feed_forward_input(entering, hidden))
                if kept is not None:
                    inner = _by_pass(inner, n_passes) * kept.units[:, i]
                hidden = self._output(feed_forward, inner, hidden, None if kept is None else kept.feed_forward(i))
        read = self._network.read(hidden, None if reads_first else is_token.repeat(n_passes, 1))
        return read.view(n_passes, n_sequences, width)

    def _context(
        self, i: int, weights: _AttentionWeights, hidden: Tensor, n_queries: int, scores: AddedScores
    ) -> Tensor:
        """Outputs of all heads of layer i for the first ``n_queries`` tokens, ``(rows, n_queries, heads, width)``."""
        network, block = self._network, weights.block
        size, n_shared = network.dims.head_size, network.dims.n_queries
        whole = weights.inner(weights.norm(hidden) if block.norm_first else hidden)
        n_heads = whole.shape[2] // (size * (n_shared + 2))
        parts = torch.split(whole, [n_heads * n_shared * size, n_heads * size, n_heads * size], dim=2)
        query, key, value = (part.unflatten(2, (-1, size)).transpose(1, 2) for part in parts)  # type: ignore[no-untyped-call]
        query = query[:, :, :n_queries]
        rotary = network.adapter.rotary(i, hidden.shape[1])
        if rotary is not None:
            cosines, sines = (table.to(hidden.dtype) for table in rotary)
            key, query = rotate(key, cosines, sines), rotate(query, cosines[:n_queries], sines[:n_queries])
        if n_shared > 1:
            key, value = (x.repeat_interleave(n_shared, dim=1) for x in (key, value))
        added = scores.of(i)[:, :, :n_queries]
        bias = network.adapter.position_bias(i, hidden.shape[1])
        if bias is not None:
            added = added + bias[:, :n_queries].to(added.dtype)
        relative = network.adapter.relative_positions(i, hidden.shape[1])
        if relative is not None:  # without grouped queries
            vectors = weights.inner(network.dropout(relative.table.to(hidden.dtype))).chunk(3, dim=1)[:2]
            at_query, at_key = (each.unflatten(1, (-1, size)).transpose(0, 1) for each in vectors)  # type: ignore[no-untyped-call]
            scale = block.scale or 1.0
            added = added + relative_scores(query, key, at_query, at_key, relative.places) * scale
        rate = network.adapter.attention_dropout
        context = attend(query, key, value, None, network.noise, rate, added, scale=block.scale)
        return context.transpose(1, 2).reshape(*context.shape[::2], n_heads, n_shared * size)

    def _inner(self, weights: _FeedForwardWeights, hidden: Tensor) -> Tensor:
        """Activations of all units, ``(rows, length, units)``."""
        block = weights.block
        whole = weights.inner(weights.norm(hidden) if block.norm_first else hidden)
        if block.gate is None:
            return cast(Tensor, block.activation(whole))
        activated, gate = whole.chunk(2, dim=2)
        return cast(Tensor, block.activation(activated)) * gate

    def _output(
        self,
        weights: _AttentionWeights | _FeedForwardWeights,
        inner: Tensor,
        residual: Tensor,
        kept: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Hidden states after a block, ``(rows, length, d)``: the residual of those passes that skip the block."""
        output = weights.outer(inner.reshape(*residual.shape[:2], -1))
        if weights.block.has_dropout:
            output = self._network.dropout(output)
        output = output + residual
        if not weights.block.norm_first:
            output = weights.norm(output)
        if kept is None:
            return output
        n_passes = len(kept[0])
        apply = cast(Any, _Select.apply)
        return cast(Tensor, apply(*kept, _by_pass(output, n_passes), _by_pass(residual, n_passes))).view(residual.shape)

    def _attention_weights(self, block: AttentionBlock) -> _AttentionWeights:
        inner = Linear(*self._leaves.of_projections(block.query, block.key, block.value))
        return _AttentionWeights(block, inner, Linear(*self._leaves.of_projections(block.output)), self._norm(block))

    def _feed_forward_weights(self, block: FeedForwardBlock) -> _FeedForwardWeights:
        inner = Linear(*self._leaves.of_projections(*block.inputs))
        return _FeedForwardWeights(block, inner, Linear(*self._leaves.of_projections(block.output)), self._norm(block))

    def _norm(self, block: AttentionBlock | FeedForwardBlock) -> Norm:
        norm: Any = block.norm
        if not isinstance(norm, nn.LayerNorm):
            return Norm(norm, None, None)
        return Norm(norm, self._leaves.of(norm.weight), None if norm.bias is None else self._leaves.of(norm.bias))


@dataclass(frozen=True)
class _AttentionWeights:
    """``inner`` computes query, key and value, one after the other."""

    block: AttentionBlock
    inner: Linear
    outer: Linear
    norm: Norm


@dataclass(frozen=True)
class _FeedForwardWeights:
    """``inner`` computes what passes the activation and then the gate, if there is one."""

    block: FeedForwardBlock
    inner: Linear
    outer: Linear
    norm: Norm


class _Select(torch.autograd.Function):
    """``torch.where(kept, output, residual)``, whose backward pass makes no zeros. ``skipped`` is ``~kept``."""

    @staticmethod
    def forward(ctx: Any, kept: Tensor, skipped: Tensor, output: Tensor, residual: Tensor) -> Tensor:
        ctx.save_for_backward(kept, skipped)
        return torch.where(kept, output, residual)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept, skipped = ctx.saved_tensors
        return None, None, gradients[0] * kept, gradients[0] * skipped


@dataclass(frozen=True)
class _Kept:
    """Masks as factors, and the blocks that are kept and skipped. A layer's part broadcasts over the tokens of a pass.

    Attributes:
        heads: ``(n_passes, n_layers, 1, n_heads, 1)``.
        units: ``(n_passes, n_layers, 1, n_units)``.
        blocks: ``(n_passes, 2, n_layers, 1, 1)``, attention before feed-forward blocks, True = kept.
        skipped: likewise, True = skipped.
    """

    heads: Tensor
    units: Tensor
    blocks: Tensor
    skipped: Tensor

    @staticmethod
    def of(masks: Masks, dtype: torch.dtype) -> _Kept:
        """The same masks in the data type of hidden states."""
        heads, units = masks.heads.to(dtype), masks.units.to(dtype)
        blocks = torch.stack((masks.heads.any(2), masks.units.any(2)), dim=1)[..., None, None]
        return _Kept(heads[:, :, None, :, None], units[:, :, None], blocks, ~blocks)

    def attention(self, layer: int) -> tuple[Tensor, Tensor]:
        """Whether each pass keeps the attention block of a layer, and whether it skips it, ``(n_passes, 1, 1)``."""
        return self.blocks[:, 0, layer], self.skipped[:, 0, layer]

    def feed_forward(self, layer: int) -> tuple[Tensor, Tensor]:
        """Whether each pass keeps the feed-forward block of a layer, and whether it skips it, ``(n_passes, 1, 1)``."""
        return self.blocks[:, 1, layer], self.skipped[:, 1, layer]


def _by_pass(x: Tensor, n_passes: int) -> Tensor:
    """``(n_passes * n_sequences, length, ...)`` to ``(n_passes, n_sequences * length, ...)``."""
    return x.reshape(n_passes, -1, *x.shape[2:])
