"""A super-network: a stock Hugging Face model that can run any of its sub-networks.

A sub-network can run in three ways, which give the same logits. *Sliced* passes use views of the shared weights: their
cost falls with the size of the sub-network, and gradients flow back to the shared weights. Training and search use
them. *Masked* passes run the full-size stock model with masks, as published code does. They are slow; the tests compare
sliced passes with this independent implementation. *Extracted* networks are smaller stock models with own weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import reduce
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nasbench.arrays import FloatArray
from nasbench.data.batching import Batch
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.attention import Noise, attend, last_place, relative_scores, rotate, seen_by
from nasbench.networks.blocks import AttentionBlock, FeedForwardBlock, Projection, heads_of
from nasbench.networks.factored.modules import Factors
from nasbench.networks.masked import masked_logits, stock_logits
from nasbench.networks.passes.likelihood import log_likelihood
from nasbench.networks.sliced import LayerSlice, LowPrecisionCopies, Slice, layer_slices, sliced_linear
from nasbench.networks.subnetwork import SubNetwork

Precision = Literal["fp32", "bf16"]


class SuperNetwork:
    """Runs sub-networks of a stock encoder or decoder with a head: classifier, multiple choice or language model.

    Attributes:
        model: the stock model; its parameters are the shared weights.
        subnetwork: the heads and units of the original network that the model holds; all of them unless
            :meth:`extract` made this network.
        is_extracted: whether :meth:`extract` made this network. If so, it can only run ``subnetwork``.
        dims: dimensions of the original network.
        name: the name under which a run saves these weights.
        precision: precision of the passes. Parameters, gradients and optimizer state are always fp32.
        noise: draws the dropout of the current training step; None in evaluation.
        copies: the weights in the data type of the passes; None in fp32.
    """

    def __init__(
        self, model: nn.Module, precision: Precision = "fp32", name: str = "network", held: SubNetwork | None = None,
        dims: Any = None,
    ) -> None:  # fmt: skip
        self.model = cast(Any, model)
        self.adapter = adapt(model)
        self.adapter.arrange()
        self.dims = dims or self.adapter.dimensions()
        self.is_extracted = held is not None
        self.subnetwork = held or SubNetwork.full(self.dims)
        self.name = name
        self.precision: Precision = precision
        self.n_choices = 1
        self.noise: Noise | None = None
        self.copies = LowPrecisionCopies(self.model) if precision == "bf16" else None

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """Data type of hidden states."""
        return torch.float32 if self.copies is None else torch.bfloat16

    def slices(self, subnetwork: SubNetwork | None = None) -> list[LayerSlice]:
        """The active heads and units of each layer.

        Args:
            subnetwork: None for all that the model holds.

        Raises:
            ValueError: if the masks do not fit the network, or for any other sub-network of an extracted network.
        """
        if self.copies is not None:
            self.copies.refresh_if_stale()
        if subnetwork is None:
            subnetwork = self.subnetwork
        subnetwork.check(self.dims)
        if not self.is_extracted:
            return layer_slices(subnetwork, self.dims, self.device)
        if subnetwork != self.subnetwork:
            raise ValueError("an extracted network can only run the sub-network that was extracted")
        # The kept heads and units are contiguous in the extracted network.
        packed = SubNetwork.from_counts(subnetwork.head_counts, subnetwork.unit_counts, self.dims)
        return layer_slices(packed, self.dims, self.device)

    # -- the sliced pass ---------------------------------------------------------------------------------------------

    def forward(self, batch: Batch, subnetwork: SubNetwork | None = None) -> Tensor:
        """Logits of a sub-network in fp32, see :meth:`classify`."""
        return self.classify(self.encode(self.embed(batch), batch.attention_mask, self.slices(subnetwork)), batch)

    def refresh(self) -> None:
        """Update copies of the parameters after changes through ``parameter.data``. Other changes are detected."""
        torch.autograd.graph.increment_version(list(self.parameters()))
        if self.copies is not None:
            self.copies.refresh()

    def embed(self, batch: Batch, words: Tensor | None = None) -> Tensor:
        """Embeddings ``(n_sequences, length, d)`` before dropout. All sub-networks of a step share them.

        Args:
            words: word vectors ``(n_sequences, length, d)`` if the caller has already looked them up.
        """
        if words is None:
            words = self.adapter.word_embeddings(batch.input_ids)
        return self.adapter.embed(words, batch.token_type_ids, batch.attention_mask).to(self.dtype)

    def encode(self, hidden: Tensor, mask: Tensor | None, slices: list[LayerSlice]) -> Tensor:
        """Hidden states that are read after all layers: ``(n_sequences, d)``, or all of them, see :meth:`read`.

        Only attention moves information between tokens. So everything after the keys and values of the last attention
        block is computed for the tokens that are read only. The result is the same.

        Args:
            hidden: embeddings ``(n_sequences, length, d)``.
            mask: ``(n_sequences, length)``, True = a token; None if nothing is padded.
        """
        hidden = self.dropout(hidden)
        with_heads = [i for i, layer_slice in enumerate(slices) if layer_slice.head_rows is not None]
        last_attention = max(with_heads, default=-1)
        if last_attention == -1:
            hidden = self.read(hidden, mask)
        for i, layer_slice in enumerate(slices):
            hidden = self._layer(i, layer_slice, hidden, mask, read_only=i == last_attention)
        return self.states(hidden)

    def encode_depths(self, hidden: Tensor, mask: Tensor | None, slices: list[LayerSlice]) -> Tensor:
        """Hidden states that are read at all depths 0, 1, ..., L, from one pass: ``(L + 1, n_sequences, d)``.

        Entry l equals the result of :meth:`encode` for the first l layers of ``slices``.
        """
        hidden = self.dropout(hidden)
        states = [self.states(self.read(hidden, mask))]
        for i, layer_slice in enumerate(slices):
            is_last = i + 1 == len(slices)
            if is_last and layer_slice.head_rows is None:
                hidden = self.read(hidden, mask)
            hidden = self._layer(i, layer_slice, hidden, mask, read_only=is_last)
            states.append(self.states(hidden if is_last else self.read(hidden, mask)))
        return torch.stack(states)

    def read(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """What the head reads: the first or the last token ``(n, 1, d)``, or all tokens ``(n, length, d)``.

        Args:
            hidden: ``(n, length, d)``.
            mask: ``(n, length)``, True = a token; None if nothing is padded.
        """
        if self.adapter.readout == "first":
            return hidden[:, :1]
        if self.adapter.readout == "every":
            return hidden
        return hidden[:, -1:] if mask is None else hidden.take_along_dim(last_place(mask)[:, :, None], dim=1)

    def states(self, read: Tensor) -> Tensor:
        """What :meth:`classify` takes, ``(n, d)`` or ``(n, length, d)``, from the result of :meth:`read`."""
        return read if self.adapter.readout == "every" else read[:, 0]

    def classify(self, states: Tensor, batch: Batch | None = None) -> Tensor:
        """Logits in fp32 from the result of :meth:`encode`: ``(n, n_logits)``, or ``(n, n_choices)`` for a choice.

        A language model has one for a sequence, the log-likelihood (base 2) of the tokens that are marked in the batch.
        """
        if self.adapter.readout == "every":
            assert batch is not None
            logits = log_likelihood(self.adapter.classify, states, batch)
        else:
            logits = self.adapter.classify(states.float())
        return logits.view(-1, self.n_choices) if self.n_choices > 1 or self.adapter.is_multiple_choice else logits

    def _layer(self, i: int, layer_slice: LayerSlice, hidden: Tensor, mask: Tensor | None, read_only: bool) -> Tensor:
        entering = hidden
        if layer_slice.head_rows is not None:
            context = self.context(i, layer_slice, hidden, mask, read_only)
            entering = self.read(hidden, mask) if read_only else hidden
            hidden = self.attention_output(i, layer_slice, context, entering)
        if layer_slice.units is None:
            return hidden
        inner = self.inner(i, layer_slice, self.feed_forward_input(entering, hidden))
        return self.feed_forward_output(i, layer_slice, inner, hidden)

    def context(
        self, i: int, layer_slice: LayerSlice, hidden: Tensor, mask: Tensor | None, read_only: bool = False
    ) -> Tensor:
        """Outputs of the active heads of layer i: ``(n, length, heads * width)``.

        Args:
            read_only: whether only tokens that :meth:`read` reads are queried.
        """
        block = self.adapter.attention(i)
        rows, query_rows = layer_slice.head_rows, layer_slice.query_rows
        assert block is not None and rows is not None and query_rows is not None  # noqa: PT018
        hidden = self.block_input(block, hidden)
        queried = self.read(hidden, mask) if read_only else hidden
        n_queries = layer_slice.n_heads * self.dims.n_queries
        query = self._heads(self._linear(queried, block.query, query_rows, by_rows=True), n_queries)
        key = self._heads(self._linear(hidden, block.key, rows, by_rows=True), layer_slice.n_heads)
        value = self._heads(self._linear(hidden, block.value, rows, by_rows=True), layer_slice.n_heads)
        length = hidden.shape[1]
        # Places of the queries in their sequences, where they are not those of the keys.
        at = self._places(mask, length) if read_only and self.adapter.readout != "every" else None
        rotary = self.adapter.rotary(i, length)
        if rotary is not None:
            cosines, sines = (table.to(hidden.dtype) for table in rotary)
            key = rotate(key, cosines, sines)
            query = rotate(query, *((cosines, sines) if at is None else (cosines[at][:, None], sines[at][:, None])))
        if self.dims.n_queries > 1:
            key, value = (x.repeat_interleave(self.dims.n_queries, dim=1) for x in (key, value))
        bias = self._added_scores(i, layer_slice, block, query, key)
        causal, window = self.adapter.is_causal, self.adapter.window(i)
        allowed, is_causal = seen_by(mask, at, length, causal, window, self.device)
        context = attend(
            query, key, value, allowed, self.noise, self.adapter.attention_dropout, bias, is_causal, block.scale
        )
        return context.transpose(1, 2).flatten(2)

    def _places(self, mask: Tensor | None, length: int) -> Tensor:
        """Places of the tokens that are read, ``(n, 1)`` or ``(1, 1)``."""
        if self.adapter.readout == "first":
            return torch.zeros(1, 1, dtype=torch.int64, device=self.device)
        return torch.full((1, 1), length - 1, device=self.device) if mask is None else last_place(mask)

    def _added_scores(
        self, i: int, layer_slice: LayerSlice, block: AttentionBlock, query: Tensor, key: Tensor
    ) -> Tensor | None:
        """What layer i adds to the scores of its active heads by position, as :func:`attend` takes it."""
        rows, length = layer_slice.head_rows, key.shape[2]
        assert rows is not None
        relative = self.adapter.relative_positions(i, length)
        if relative is not None:
            table = self.dropout(relative.table.to(key.dtype))[None]
            vectors = (self._linear(table, each, rows, by_rows=True) for each in (block.query, block.key))
            at_query, at_key = (self._heads(each, layer_slice.n_heads)[0] for each in vectors)
            return relative_scores(query, key, at_query, at_key, relative.places) * (block.scale or 1)
        bias = self.adapter.position_bias(i, length)
        if bias is None:
            return None
        active = bias[: layer_slice.n_heads] if isinstance(rows, slice) else bias[heads_of(rows, self.dims.head_size)]
        return active[:, : query.shape[2]].to(key.dtype)

    def attention_output(self, i: int, layer_slice: LayerSlice, context: Tensor, residual: Tensor) -> Tensor:
        """Hidden states ``(n, length, d)`` after the attention block of layer i, from the result of :meth:`context`."""
        block = self.adapter.attention(i)
        assert block is not None
        assert layer_slice.query_rows is not None
        output = self._linear(context, block.output, layer_slice.query_rows, by_rows=False)
        return self._sum(block, output, residual)

    def feed_forward_input(self, entering: Tensor, hidden: Tensor) -> Tensor:
        """What a feed-forward block reads: one of what enters the layer and what leaves its attention block."""
        return entering if self.adapter.is_parallel else hidden

    def inner(self, i: int, layer_slice: LayerSlice, hidden: Tensor) -> Tensor:
        """Activations of the active units of layer i, ``(n, length, units)``; see :meth:`feed_forward_input`."""
        block = self.adapter.feed_forward(i)
        assert block is not None
        assert layer_slice.units is not None
        hidden = self.block_input(block, hidden)
        activations: Tensor = block.activation(
            self._linear(hidden, block.intermediate, layer_slice.units, by_rows=True)
        )
        if block.gate is None:
            return activations
        return activations * self._linear(hidden, block.gate, layer_slice.units, by_rows=True)

    def feed_forward_output(self, i: int, layer_slice: LayerSlice, inner: Tensor, residual: Tensor) -> Tensor:
        """Hidden states ``(n, length, d)`` after the feed-forward block of layer i, given :meth:`inner` activations."""
        block = self.adapter.feed_forward(i)
        assert block is not None
        assert layer_slice.units is not None
        return self._sum(block, self._linear(inner, block.output, layer_slice.units, by_rows=False), residual)

    def block_input(self, block: AttentionBlock | FeedForwardBlock, hidden: Tensor) -> Tensor:
        """What the first projections of a block get, ``(n, length, d)``, from the hidden states before it."""
        return self._norm(hidden, block.norm) if block.norm_first else hidden

    def _sum(self, block: AttentionBlock | FeedForwardBlock, output: Tensor, residual: Tensor) -> Tensor:
        """The output of a block added to its input, and the norm if it comes after the sum."""
        total = (self.dropout(output) if block.has_dropout else output) + residual
        return total if block.norm_first else self._norm(total, block.norm)

    def _linear(self, x: Tensor, projection: Projection, kept: Slice, by_rows: bool) -> Tensor:
        layer = projection.module
        if isinstance(layer, Factors):  # always whole
            return reduce(lambda hidden, part: self._linear(hidden, part, slice(None), by_rows=True), layer.parts, x)
        values, shift = (layer.weight, layer.bias) if self.copies is None else self.copies[layer]
        values, shift = projection.part_of(values), None if shift is None else projection.part_of(shift)
        return sliced_linear(x, projection, kept, by_rows, values, shift)

    def _heads(self, x: Tensor, n_heads: int) -> Tensor:
        """``(n, length, heads * size)`` to ``(n, heads, length, size)``."""
        return x.view(*x.shape[:2], n_heads, self.dims.head_size).transpose(1, 2)

    def _norm(self, x: Tensor, norm: Any) -> Tensor:
        if not isinstance(norm, nn.LayerNorm):
            return cast(Tensor, norm(x)).to(x.dtype)  # RMSNorm, which computes in fp32
        weight, bias = (norm.weight, norm.bias) if self.copies is None else self.copies.of_norm(norm)
        return functional.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)

    def dropout(self, x: Tensor) -> Tensor:
        """Hidden states after dropout, drawn by :attr:`noise`; unchanged in evaluation."""
        return x if self.noise is None else self.noise.dropout(x, self.adapter.hidden_dropout)

    # -- the masked pass ---------------------------------------------------------------------------------------------

    def masked(
        self, batch: Batch, subnetwork: SubNetwork | None = None,
        head_mask: Tensor | None = None, unit_mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The logits of :meth:`forward`, from the full-size stock model with masks over heads and units. Always fp32.

        Args:
            subnetwork: blocks without a kept head or unit are skipped.
            head_mask: ``(n_layers, n_heads)``, real values that multiply head outputs; defaults to the sub-network's
                own mask. Gradients flow to it.
            unit_mask: ``(n_layers, n_units)``, likewise for unit activations.
        """
        return masked_logits(self, batch, subnetwork or self.subnetwork, head_mask, unit_mask)

    def stock_logits(self, batch: Batch) -> Tensor:
        """Logits of the stock model, without slices or masks."""
        return stock_logits(self, batch)

    # -- the extracted network ---------------------------------------------------------------------------------------

    def extract(self, subnetwork: SubNetwork, name: str | None = None) -> SuperNetwork:
        """A smaller stock model that holds only this sub-network. Factors, if it has any, are zero.

        Its parameters are copies. Their number, ``sum(p.numel())``, equals ``subnetwork.n_params(dims)``.

        Raises:
            ValueError: if the masks do not fit the network, or if this network is itself extracted.
            UserError: for factors of projections, if a layer of the model computes several projections at once.
        """
        subnetwork.check(self.dims)
        if self.is_extracted:
            raise ValueError("extract from the full network, not from an extracted one")
        smaller = copy.deepcopy(self.model)
        shrink(adapt(smaller), subnetwork, self.dims)
        network = SuperNetwork(smaller, self.precision, name or self.name, subnetwork, self.dims)
        network.n_choices = self.n_choices
        return network

    def scaled(self, head_scales: FloatArray, unit_scales: FloatArray, name: str) -> SuperNetwork:
        """A copy with real-valued masks multiplied into the output projections, so that sub-networks keep the masks.

        Args:
            head_scales: ``(n_layers, n_heads)``, factors of the outputs of the heads.
            unit_scales: ``(n_layers, n_units)``, factors of the activations of the units.
            name: name of the copy.
        """
        network = self.copy(name)
        with torch.no_grad():
            for i in range(self.dims.n_layers):
                attention, feed_forward = network.adapter.attention(i), network.adapter.feed_forward(i)
                if attention is not None:
                    attention.output.scale_columns(np.repeat(head_scales[i], self.dims.head_width))
                if feed_forward is not None:
                    feed_forward.output.scale_columns(unit_scales[i])
        network.refresh()
        return network

    def copy(self, name: str | None = None) -> SuperNetwork:
        """A network with a copy of the weights."""
        held = self.subnetwork if self.is_extracted else None
        network = SuperNetwork(copy.deepcopy(self.model), self.precision, name or self.name, held, self.dims)
        network.n_choices = self.n_choices
        return network

    def renamed(self, name: str) -> SuperNetwork:
        """A network that shares these weights under another name, for saving them in the course of a training."""
        network = copy.copy(self)
        network.name = name
        return network

    def parameters(self) -> Iterable[nn.Parameter]:
        """The shared weights."""
        return cast(Iterable[nn.Parameter], self.model.parameters())

    def fingerprint(self) -> int:
        """A checksum of the bits of all parameters. Different weights have different checksums, except by chance."""
        with torch.no_grad():
            return int(torch.stack([p.contiguous().view(torch.int32).sum() for p in self.parameters()]).sum())

    def count_params(self) -> int:
        """Number of parameters that the model holds, without the zeros that fill up narrow layers."""
        return sum(p.numel() for p in self.parameters()) - (0 if self.is_extracted else self.dims.n_filling_params)
