"""A super-network: a stock Hugging Face model and the means to run any of its sub-networks.

Three ways give the same logits. *Sliced* runs on views of the shared weights: cost falls with the size of the sub-
network and gradients flow back to the shared weights; it is what training and search use. *Masked* puts masks over
the full-size stock model, as published code does: slow, written independently, the oracle of the tests. *Extracted*
is a smaller stock model of its own, for fine-tuning alone, for saving and for use.
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
from nasbench.networks.adapter import Adapter, head_rows
from nasbench.networks.attention import Noise, attend
from nasbench.networks.sliced import LayerSlice, layer_slices, sliced_linear
from nasbench.networks.subnetwork import SubNetwork

Precision = Literal["fp32", "bf16"]


class SuperNetwork:
    """Runs sub-networks of a stock BERT or RoBERTa with a sequence-classification or multiple-choice head.

    Attributes:
        model: the stock model; its parameters are the shared weights.
        subnetwork: what of the original network the model still holds; everything unless :meth:`extract` made it.
        is_extracted: whether :meth:`extract` made it, so that it runs ``subnetwork`` only.
        dims: of the original network.
        name: the name under which a run saves these weights.
        precision: what passes compute in. Parameters, gradients and optimizer stay fp32.
        noise: of the current training step, draws dropout; None in evaluation.
    """

    def __init__(
        self, model: nn.Module, precision: Precision = "fp32", name: str = "network", held: SubNetwork | None = None,
        dims: Any = None,
    ) -> None:  # fmt: skip
        self.model = cast(Any, model)
        self.adapter = Adapter(model)
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
        """What hidden states are computed in."""
        return torch.float32 if self._copies is None else torch.bfloat16

    def slices(self, subnetwork: SubNetwork | None = None) -> list[LayerSlice]:
        """The active part of each layer.

        Args:
            subnetwork: None for everything the model holds.

        Raises:
            ValueError: if the masks do not fit, or the model no longer holds that sub-network.
        """
        if self._copies is not None and self._copies.are_stale():
            self._copies.refresh()
        if subnetwork is None:
            subnetwork = self.subnetwork
        subnetwork.check(self.dims)
        if not self.is_extracted:
            return layer_slices(subnetwork, self.dims.head_size, self.device)
        if subnetwork != self.subnetwork:
            raise ValueError("an extracted network runs only the sub-network it was extracted as")
        # What is left is contiguous: as many heads and units as were kept.
        packed = SubNetwork.from_counts(subnetwork.head_counts, subnetwork.unit_counts, self.dims)
        return layer_slices(packed, self.dims.head_size, self.device)

    # -- the sliced pass ---------------------------------------------------------------------------------------------

    def forward(self, batch: Batch, subnetwork: SubNetwork | None = None) -> Tensor:
        """Logits of a sub-network, ``(n, n_logits)``, or ``(n, n_choices)`` for multiple choice; fp32."""
        return self.classify(self.encode(self.embed(batch), batch.attention_mask, self.slices(subnetwork)))

    def refresh(self) -> None:
        """Make lower-precision copies follow the parameters.

        Needed only after a change that autograd does not see, one through ``parameter.data``: others are noticed.
        """
        if self._copies is not None:
            self._copies.refresh()

    def embed(self, batch: Batch, words: Tensor | None = None) -> Tensor:
        """Embeddings ``(n_sequences, length, d)`` before dropout; the same for every sub-network of a step.

        Args:
            words: word vectors, where the caller has looked them up.
        """
        if words is None:
            words = self.adapter.word_embeddings(batch.input_ids)
        return self.adapter.embed(words, batch.token_type_ids).to(self.dtype)

    def encode(self, hidden: Tensor, mask: Tensor | None, slices: list[LayerSlice]) -> Tensor:
        """Hidden state of the first token after all layers, ``(n_sequences, d)``.

        The classifier reads the first token only, and only attention moves information between tokens. So from the
        last attention block on, all else is computed for the first token alone; the result is the same.

        Args:
            hidden: embeddings ``(n_sequences, length, d)``.
            mask: ``(n_sequences, length)``, True = a token; None if nothing is padded.
        """
        hidden = self.dropout(hidden)
        last_attention = max((i for i, part in enumerate(slices) if part.head_rows is not None), default=-1)
        for i, part in enumerate(slices):
            if i > last_attention:
                hidden = hidden[:, :1]
            if part.head_rows is not None:
                hidden = self._attention(i, part, hidden, mask, first_only=i == last_attention)
            if part.units is not None:
                hidden = self._feed_forward(i, part, hidden)
        return hidden[:, 0]

    def encode_depths(self, hidden: Tensor, mask: Tensor | None, slices: list[LayerSlice]) -> Tensor:
        """Hidden state of the first token at every depth 0, 1, ..., L of one pass: ``(L + 1, n_sequences, d)``.

        Entry l is what :meth:`encode` gives for the first l layers of ``slices``.
        """
        hidden = self.dropout(hidden)
        states = [hidden[:, 0]]
        for i, part in enumerate(slices):
            if i + 1 == len(slices):
                hidden = self._layer(i, part, hidden, mask, first_only=True)
            else:
                hidden = self._layer(i, part, hidden, mask, first_only=False)
            states.append(hidden[:, 0])
        return torch.stack(states)

    def _layer(self, i: int, part: LayerSlice, hidden: Tensor, mask: Tensor | None, first_only: bool) -> Tensor:
        if part.head_rows is not None:
            hidden = self._attention(i, part, hidden, mask, first_only)
        elif first_only:
            hidden = hidden[:, :1]
        return hidden if part.units is None else self._feed_forward(i, part, hidden)

    def classify(self, first_token: Tensor) -> Tensor:
        """Logits from the last hidden state of the first token; always in fp32."""
        logits = self.adapter.classify(first_token.float())
        return logits.view(-1, self.n_choices) if self.adapter.is_multiple_choice else logits

    def _attention(self, i: int, part: LayerSlice, hidden: Tensor, mask: Tensor | None, first_only: bool) -> Tensor:
        context = self.context(i, part, hidden, mask, first_only)
        return self.attention_output(i, part, context, hidden[:, :1] if first_only else hidden)

    def _feed_forward(self, i: int, part: LayerSlice, hidden: Tensor) -> Tensor:
        return self.feed_forward_output(i, part, self.inner(i, part, hidden), hidden)

    def context(
        self, i: int, part: LayerSlice, hidden: Tensor, mask: Tensor | None, first_only: bool = False
    ) -> Tensor:
        """What the active heads of layer i put out: ``(n, length, heads * size)``, length 1 if ``first_only``."""
        block = self.adapter.attention(i)
        assert block is not None
        assert part.head_rows is not None
        rows, asking = part.head_rows, hidden[:, :1] if first_only else hidden
        query = self._heads(self._linear(asking, block.query, rows, by_rows=True), part.n_heads)
        key = self._heads(self._linear(hidden, block.key, rows, by_rows=True), part.n_heads)
        value = self._heads(self._linear(hidden, block.value, rows, by_rows=True), part.n_heads)
        context = attend(query, key, value, mask, self.noise, self.adapter.attention_dropout)
        return context.transpose(1, 2).flatten(2)

    def attention_output(self, i: int, part: LayerSlice, context: Tensor, residual: Tensor) -> Tensor:
        """Hidden states ``(n, length, d)`` behind the attention block of layer i, from :meth:`context`."""
        block = self.adapter.attention(i)
        assert block is not None
        assert part.head_rows is not None
        output = self._linear(context, block.output, part.head_rows, by_rows=False)
        return self._norm(self.dropout(output) + residual, block.norm)

    def inner(self, i: int, part: LayerSlice, hidden: Tensor) -> Tensor:
        """Activations of the active units of layer i: ``(n, length, units)``."""
        block = self.adapter.feed_forward(i)
        assert block is not None
        assert part.units is not None
        activations: Tensor = block.activation(self._linear(hidden, block.intermediate, part.units, by_rows=True))
        return activations

    def feed_forward_output(self, i: int, part: LayerSlice, inner: Tensor, residual: Tensor) -> Tensor:
        """Hidden states ``(n, length, d)`` behind the feed-forward block of layer i, from :meth:`inner`."""
        block = self.adapter.feed_forward(i)
        assert block is not None
        assert part.units is not None
        output = self._linear(inner, block.output, part.units, by_rows=False)
        return self._norm(self.dropout(output) + residual, block.norm)

    def _linear(self, x: Tensor, layer: nn.Linear, part: Any, by_rows: bool) -> Tensor:
        values, shift = (layer.weight, layer.bias) if self._copies is None else self._copies[layer]
        return sliced_linear(x, layer, part, by_rows, values, shift)

    def _heads(self, x: Tensor, n_heads: int) -> Tensor:
        """``(n, length, heads * size)`` to ``(n, heads, length, size)``."""
        return x.view(*x.shape[:2], n_heads, self.dims.head_size).transpose(1, 2)

    def _norm(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
        return functional.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)

    def dropout(self, x: Tensor) -> Tensor:
        """Drop out hidden states in training, by the present step's :attr:`noise`."""
        return x if self.noise is None else self.noise.dropout(x, self.adapter.hidden_dropout)

    # -- the masked pass ---------------------------------------------------------------------------------------------

    def masked(
        self, batch: Batch, subnetwork: SubNetwork | None = None,
        head_mask: Tensor | None = None, unit_mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The same logits from the full-size stock model with masks over heads and units. Always fp32.

        Args:
            subnetwork: which blocks exist at all; those without a head or unit are skipped.
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
                layer = cast(Any, self.adapter.layers[i])
                if self.adapter.attention(i) is not None:
                    scale = head_mask[i].repeat_interleave(self.dims.head_size)
                    _mask_block(hooks, layer.attention.output, scale, skip=not subnetwork.heads[i].any())
                if self.adapter.feed_forward(i) is not None:
                    _mask_block(hooks, layer.output, unit_mask[i], skip=not subnetwork.units[i].any())
            return self.stock_logits(batch)

    def stock_logits(self, batch: Batch) -> Tensor:
        """Logits of the stock model as it stands."""
        inputs = {"input_ids": batch.input_ids, "token_type_ids": batch.token_type_ids}
        inputs["attention_mask"] = (
            torch.ones_like(batch.input_ids) if batch.attention_mask is None else batch.attention_mask.long()
        )
        if self.adapter.is_multiple_choice:
            inputs = {name: value.view(-1, self.n_choices, value.shape[-1]) for name, value in inputs.items()}
        return cast(Tensor, self.model(**inputs).logits)

    # -- the extracted network ---------------------------------------------------------------------------------------

    def extract(self, subnetwork: SubNetwork, name: str | None = None) -> SuperNetwork:
        """A physically smaller copy: a stock model that holds this sub-network only.

        Its parameters are copies; ``sum(p.numel())`` equals ``subnetwork.n_params(dims)``.
        """
        subnetwork.check(self.dims)
        if self.is_extracted:
            raise ValueError("extract from the full network, not from an extracted one")
        smaller = copy.deepcopy(self.model)
        shrink(Adapter(smaller), subnetwork, self.dims.head_size)
        network = SuperNetwork(smaller, self.precision, name or self.name, subnetwork, self.dims)
        network.n_choices = self.n_choices
        return network

    def scaled(self, head_scales: FloatArray, unit_scales: FloatArray, name: str) -> SuperNetwork:
        """A copy with real-valued masks folded into the output projections, so that pruned networks keep them.

        Args:
            head_scales: ``(n_layers, n_heads)``, multiplies what each head adds.
            unit_scales: ``(n_layers, n_units)``, multiplies each unit's activation.
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
        """An independent copy of the weights."""
        held = self.subnetwork if self.is_extracted else None
        network = SuperNetwork(copy.deepcopy(self.model), self.precision, name or self.name, held, self.dims)
        network.n_choices = self.n_choices
        return network

    def renamed(self, name: str) -> SuperNetwork:
        """The same weights under another name, for what is saved of a training that goes on."""
        network = copy.copy(self)
        network.name = name
        return network

    def parameters(self) -> Iterable[nn.Parameter]:
        """The shared weights."""
        return cast(Iterable[nn.Parameter], self.model.parameters())

    def fingerprint(self) -> int:
        """A sum over the bits of all parameters: other weights give, but for chance, another one."""
        with torch.no_grad():
            return int(torch.stack([p.contiguous().view(torch.int32).sum() for p in self.parameters()]).sum())

    def count_params(self) -> int:
        """Parameters that the model physically holds."""
        return sum(p.numel() for p in self.parameters())


def shrink(adapter: Adapter, subnetwork: SubNetwork, head_size: int) -> None:
    """Cut a stock model down to a sub-network, in place. Works on the meta device too."""
    for i in range(len(adapter.layers)):
        attention, feed_forward = adapter.attention(i), adapter.feed_forward(i)
        heads = torch.from_numpy(np.flatnonzero(subnetwork.heads[i]))
        units = torch.from_numpy(np.flatnonzero(subnetwork.units[i]))
        if attention is not None and len(heads) == 0:
            adapter.skip_attention(i)
        elif attention is not None:
            rows = head_rows(heads, head_size)
            for projection in (attention.query, attention.key, attention.value):
                _keep(projection, rows, dim=0)
            _keep(attention.output, rows, dim=1)
        if feed_forward is not None and len(units) == 0:
            adapter.skip_feed_forward(i)
        elif feed_forward is not None:
            _keep(feed_forward.intermediate, units, dim=0)
            _keep(feed_forward.output, units, dim=1)


def _keep(layer: nn.Linear, indices: Tensor, dim: int) -> None:
    indices = indices.to(layer.weight.device)
    layer.weight = nn.Parameter(layer.weight.detach().index_select(dim, indices))
    if dim == 0:
        layer.bias = nn.Parameter(layer.bias.detach().index_select(0, indices))
    layer.out_features, layer.in_features = layer.weight.shape


def _mask_block(hooks: ExitStack, block: nn.Module, scale: Tensor, skip: bool) -> None:
    """Hook a stock output block: scale what enters its projection, or pass its residual input through unchanged."""
    if skip:
        handle = block.register_forward_hook(lambda _module, inputs, _output: inputs[1])
    else:
        dense = cast(nn.Module, block.dense)
        handle = dense.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * scale, *inputs[1:]))
    hooks.callback(handle.remove)


class _LowPrecisionCopies:
    """bf16 copies of all linear layers' weights and biases, cast once a step instead of once a pass and slice."""

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
        """Whether a parameter was changed or replaced since the last refresh, as far as autograd knows."""
        return self._versions() != self._seen

    def _versions(self) -> list[tuple[int, int]]:
        return [(id(p), p._version) for m in self._copies for p in (m.weight, m.bias)]

    def __getitem__(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        return self._copies[layer]
