"""A super-network: a stock Hugging Face model that can run any of its sub-networks.

A sub-network can run in three ways, which give the same logits. *Sliced* passes use views of the shared weights: their
cost falls with the size of the sub-network, and gradients flow back to the shared weights. Training and search use
them. *Masked* passes run the full-size stock model with masks, as published code does. They are slow; the tests compare
sliced passes with this independent implementation. *Extracted* networks are smaller stock models with weights of their
own, for fine-tuning one sub-network, saving it and using it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nasbench.arrays import FloatArray
from nasbench.data.batching import Batch
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.attention import Noise, attend
from nasbench.networks.sliced import LayerSlice, Slice, layer_slices, sliced_linear
from nasbench.networks.subnetwork import SubNetwork

Precision = Literal["fp32", "bf16"]


class SuperNetwork:
    """Runs sub-networks of a stock encoder with a sequence-classification or multiple-choice head.

    Attributes:
        model: the stock model; its parameters are the shared weights.
        subnetwork: the heads and units of the original network that the model holds; all of them unless
            :meth:`extract` made this network.
        is_extracted: whether :meth:`extract` made this network. If so, it can only run ``subnetwork``.
        dims: dimensions of the original network.
        name: the name under which a run saves these weights.
        precision: precision of the passes. Parameters, gradients and optimizer state are always fp32.
        noise: draws the dropout of the current training step; None in evaluation.
    """

    def __init__(
        self, model: nn.Module, precision: Precision = "fp32", name: str = "network", held: SubNetwork | None = None,
        dims: Any = None,
    ) -> None:  # fmt: skip
        self.model = cast(Any, model)
        self.adapter = adapt(model)
        self.dims = dims or self.adapter.dimensions()
        self.is_extracted = held is not None
        self.subnetwork = held or SubNetwork.full(self.dims)
        self.name = name
        self.precision: Precision = precision
        self.n_choices = 1
        self.noise: Noise | None = None
        self._copies = _LowPrecisionCopies(self.model) if precision == "bf16" else None

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """Data type of hidden states."""
        return torch.float32 if self._copies is None else torch.bfloat16

    def slices(self, subnetwork: SubNetwork | None = None) -> list[LayerSlice]:
        """The active heads and units of each layer.

        Args:
            subnetwork: None for all that the model holds.

        Raises:
            ValueError: if the masks do not fit the network, or for any other sub-network of an extracted network.
        """
        if self._copies is not None and self._copies.are_stale():
            self._copies.refresh()
        if subnetwork is None:
            subnetwork = self.subnetwork
        subnetwork.check(self.dims)
        if not self.is_extracted:
            return layer_slices(subnetwork, self.dims.head_size, self.device)
        if subnetwork != self.subnetwork:
            raise ValueError("an extracted network can only run the sub-network that was extracted")
        # The kept heads and units are contiguous in the extracted network.
        packed = SubNetwork.from_counts(subnetwork.head_counts, subnetwork.unit_counts, self.dims)
        return layer_slices(packed, self.dims.head_size, self.device)

    # -- the sliced pass ---------------------------------------------------------------------------------------------

    def forward(self, batch: Batch, subnetwork: SubNetwork | None = None) -> Tensor:
        """Logits of a sub-network in fp32: ``(n, n_logits)``, or ``(n, n_choices)`` for multiple choice."""
        return self.classify(self.encode(self.embed(batch), batch.attention_mask, self.slices(subnetwork)))

    def refresh(self) -> None:
        """Update the lower-precision copies of the parameters.

        Only needed after changes that autograd does not see, through ``parameter.data``. Other changes are detected.
        """
        if self._copies is not None:
            self._copies.refresh()

    def embed(self, batch: Batch, words: Tensor | None = None) -> Tensor:
        """Embeddings ``(n_sequences, length, d)`` before dropout. All sub-networks of a step share them.

        Args:
            words: word vectors ``(n_sequences, length, d)`` if the caller has already looked them up.
        """
        if words is None:
            words = self.adapter.word_embeddings(batch.input_ids)
        return self.adapter.embed(words, batch.token_type_ids).to(self.dtype)

    def encode(self, hidden: Tensor, mask: Tensor | None, slices: list[LayerSlice]) -> Tensor:
        """Hidden state of the first token after all layers, ``(n_sequences, d)``.

        The classifier reads only the first token, and only attention moves information between tokens. So everything
        after the keys and values of the last attention block is computed for the first token only. The result is the
        same.

        Args:
            hidden: embeddings ``(n_sequences, length, d)``.
            mask: ``(n_sequences, length)``, True = a token; None if nothing is padded.
        """
        hidden = self.dropout(hidden)
        with_heads = [i for i, layer_slice in enumerate(slices) if layer_slice.head_rows is not None]
        last_attention = max(with_heads, default=-1)
        for i, layer_slice in enumerate(slices):
            if i > last_attention:
                hidden = hidden[:, :1]
            if layer_slice.head_rows is not None:
                hidden = self._attention(i, layer_slice, hidden, mask, first_only=i == last_attention)
            if layer_slice.units is not None:
                hidden = self._feed_forward(i, layer_slice, hidden)
        return hidden[:, 0]

    def encode_depths(self, hidden: Tensor, mask: Tensor | None, slices: list[LayerSlice]) -> Tensor:
        """Hidden states of the first token at all depths 0, 1, ..., L from one pass: ``(L + 1, n_sequences, d)``.

        Entry l equals the result of :meth:`encode` for the first l layers of ``slices``.
        """
        hidden = self.dropout(hidden)
        states = [hidden[:, 0]]
        for i, layer_slice in enumerate(slices):
            hidden = self._layer(i, layer_slice, hidden, mask, first_only=i + 1 == len(slices))
            states.append(hidden[:, 0])
        return torch.stack(states)

    def _layer(self, i: int, layer_slice: LayerSlice, hidden: Tensor, mask: Tensor | None, first_only: bool) -> Tensor:
        if layer_slice.head_rows is not None:
            hidden = self._attention(i, layer_slice, hidden, mask, first_only)
        elif first_only:
            hidden = hidden[:, :1]
        return hidden if layer_slice.units is None else self._feed_forward(i, layer_slice, hidden)

    def classify(self, first_token: Tensor) -> Tensor:
        """Logits in fp32 from the last hidden state of the first token, ``(n_sequences, d)``."""
        logits = self.adapter.classify(first_token.float())
        return logits.view(-1, self.n_choices) if self.adapter.is_multiple_choice else logits

    def _attention(
        self, i: int, layer_slice: LayerSlice, hidden: Tensor, mask: Tensor | None, first_only: bool
    ) -> Tensor:
        context = self.context(i, layer_slice, hidden, mask, first_only)
        return self.attention_output(i, layer_slice, context, hidden[:, :1] if first_only else hidden)

    def _feed_forward(self, i: int, layer_slice: LayerSlice, hidden: Tensor) -> Tensor:
        return self.feed_forward_output(i, layer_slice, self.inner(i, layer_slice, hidden), hidden)

    def context(
        self, i: int, layer_slice: LayerSlice, hidden: Tensor, mask: Tensor | None, first_only: bool = False
    ) -> Tensor:
        """Outputs of the active heads of layer i: ``(n, length, heads * size)``; length is 1 if ``first_only``."""
        block = self.adapter.attention(i)
        assert block is not None
        assert layer_slice.head_rows is not None
        rows, queried = layer_slice.head_rows, hidden[:, :1] if first_only else hidden
        query = self._heads(self._linear(queried, block.query, rows, by_rows=True), layer_slice.n_heads)
        key = self._heads(self._linear(hidden, block.key, rows, by_rows=True), layer_slice.n_heads)
        value = self._heads(self._linear(hidden, block.value, rows, by_rows=True), layer_slice.n_heads)
        bias = self._position_bias(i, layer_slice, hidden.shape[1], queried.shape[1], hidden.dtype)
        context = attend(query, key, value, mask, self.noise, self.adapter.attention_dropout, bias)
        return context.transpose(1, 2).flatten(2)

    def _position_bias(
        self, i: int, layer_slice: LayerSlice, length: int, n_queries: int, dtype: torch.dtype
    ) -> Tensor | None:
        """What layer i adds to the scores of its active heads, ``(heads, n_queries, length)``; None for nothing."""
        bias = self.adapter.position_bias(i, length)
        if bias is None:
            return None
        rows = layer_slice.head_rows
        assert rows is not None
        active = bias[: layer_slice.n_heads] if isinstance(rows, slice) else bias[_heads_of(rows, self.dims.head_size)]
        return active[:, :n_queries].to(dtype)

    def attention_output(self, i: int, layer_slice: LayerSlice, context: Tensor, residual: Tensor) -> Tensor:
        """Hidden states ``(n, length, d)`` after the attention block of layer i, from the result of :meth:`context`."""
        block = self.adapter.attention(i)
        assert block is not None
        assert layer_slice.head_rows is not None
        output = self._linear(context, block.output, layer_slice.head_rows, by_rows=False)
        return self._norm((self.dropout(output) if block.has_dropout else output) + residual, block.norm)

    def inner(self, i: int, layer_slice: LayerSlice, hidden: Tensor) -> Tensor:
        """Activations of the active units of layer i: ``(n, length, units)``."""
        block = self.adapter.feed_forward(i)
        assert block is not None
        assert layer_slice.units is not None
        activations: Tensor = block.activation(
            self._linear(hidden, block.intermediate, layer_slice.units, by_rows=True)
        )
        return activations

    def feed_forward_output(self, i: int, layer_slice: LayerSlice, inner: Tensor, residual: Tensor) -> Tensor:
        """Hidden states ``(n, length, d)`` after the feed-forward block of layer i, given :meth:`inner` activations."""
        block = self.adapter.feed_forward(i)
        assert block is not None
        assert layer_slice.units is not None
        output = self._linear(inner, block.output, layer_slice.units, by_rows=False)
        return self._norm(self.dropout(output) + residual, block.norm)

    def _linear(self, x: Tensor, layer: nn.Linear, kept: Slice, by_rows: bool) -> Tensor:
        values, shift = (layer.weight, layer.bias) if self._copies is None else self._copies[layer]
        return sliced_linear(x, layer, kept, by_rows, values, shift)

    def _heads(self, x: Tensor, n_heads: int) -> Tensor:
        """``(n, length, heads * size)`` to ``(n, heads, length, size)``."""
        return x.view(*x.shape[:2], n_heads, self.dims.head_size).transpose(1, 2)

    def _norm(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
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
        subnetwork = subnetwork or self.subnetwork
        if head_mask is None:
            head_mask = torch.from_numpy(subnetwork.heads.copy()).float().to(self.device)
        if unit_mask is None:
            unit_mask = torch.from_numpy(subnetwork.units.copy()).float().to(self.device)
        with ExitStack() as hooks:
            for i in range(len(self.adapter.layers)):
                attention, feed_forward = self.adapter.attention(i), self.adapter.feed_forward(i)
                if attention is not None:
                    _scale_input(hooks, attention.output, head_mask[i].repeat_interleave(self.dims.head_size))
                    if not subnetwork.heads[i].any():
                        self.adapter.bypass_attention(hooks, i)
                if feed_forward is not None:
                    _scale_input(hooks, feed_forward.output, unit_mask[i])
                    if not subnetwork.units[i].any():
                        self.adapter.bypass_feed_forward(hooks, i)
            return self.stock_logits(batch)

    def stock_logits(self, batch: Batch) -> Tensor:
        """Logits of the stock model, without slices or masks."""
        inputs = {"input_ids": batch.input_ids}
        if self.adapter.has_token_types:
            inputs["token_type_ids"] = batch.token_type_ids
        inputs["attention_mask"] = (
            torch.ones_like(batch.input_ids) if batch.attention_mask is None else batch.attention_mask.long()
        )
        if self.adapter.is_multiple_choice:
            inputs = {name: value.view(-1, self.n_choices, value.shape[-1]) for name, value in inputs.items()}
        return cast(Tensor, self.model(**inputs).logits)

    # -- the extracted network ---------------------------------------------------------------------------------------

    def extract(self, subnetwork: SubNetwork, name: str | None = None) -> SuperNetwork:
        """A smaller stock model that holds only this sub-network.

        Its parameters are copies. Their number, ``sum(p.numel())``, equals ``subnetwork.n_params(dims)``.

        Raises:
            ValueError: if the masks do not fit the network, or if this network is itself extracted.
        """
        subnetwork.check(self.dims)
        if self.is_extracted:
            raise ValueError("extract from the full network, not from an extracted one")
        smaller = copy.deepcopy(self.model)
        shrink(adapt(smaller), subnetwork, self.dims.head_size)
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
                    columns = np.repeat(head_scales[i], self.dims.head_size)
                    attention.output.weight.mul_(torch.as_tensor(columns, dtype=torch.float32, device=self.device))
                if feed_forward is not None:
                    columns = unit_scales[i]
                    feed_forward.output.weight.mul_(torch.as_tensor(columns, dtype=torch.float32, device=self.device))
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
        """Number of parameters that the model holds."""
        return sum(p.numel() for p in self.parameters())


def _heads_of(rows: Tensor, head_size: int) -> Tensor:
    """Numbers of the heads that own the rows of a projection."""
    return rows[::head_size].div(head_size, rounding_mode="floor")


def _scale_input(hooks: ExitStack, layer: nn.Linear, scale: Tensor) -> None:
    """Multiply the input of a stock projection by real values, until ``hooks`` is closed."""
    handle = layer.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * scale, *inputs[1:]))
    hooks.callback(handle.remove)


class _LowPrecisionCopies:
    """bf16 copies of the weights and biases of all linear layers, cast once per step instead of once per pass."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._copies: dict[nn.Linear, tuple[Tensor, Tensor]] = {}
        self._seen: list[tuple[int, int]] = []
        self.refresh()

    def refresh(self) -> None:
        layers = [m for m in self._model.modules() if isinstance(m, nn.Linear)]
        with torch.no_grad():
            if set(layers) != set(self._copies):
                self._copies = {m: (m.weight.bfloat16(), m.bias.bfloat16()) for m in layers}
            else:
                targets = [t for m in layers for t in self._copies[m]]
                torch._foreach_copy_(targets, [t.detach() for m in layers for t in (m.weight, m.bias)])
        self._seen = self._versions()

    def are_stale(self) -> bool:
        """Whether a parameter has been replaced since the last refresh, or changed in a way that autograd sees."""
        return self._versions() != self._seen

    def _versions(self) -> list[tuple[int, int]]:
        return [(id(p), p._version) for m in self._copies for p in (m.weight, m.bias)]

    def __getitem__(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        return self._copies[layer]
