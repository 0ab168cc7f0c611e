"""Padded batches from flat token arrays. Batches hold examples of similar length, so that there is little padding."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nasbench.arrays import IntArray

if TYPE_CHECKING:
    from nasbench.data.splits import Split


@dataclass(frozen=True)
class Batch:
    """Padded examples on a device.

    Attributes:
        input_ids: ``(n_sequences, length)``. The sequences of an example are adjacent.
        token_type_ids: ``(n_sequences, length)``.
        attention_mask: ``(n_sequences, length)``, True = a token; None if nothing is padded.
        labels: ``(n_examples,)``.
        index: positions of the examples in the split, ``(n_examples,)``.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    attention_mask: Tensor | None
    labels: Tensor
    index: IntArray

    def halves(self) -> tuple[Batch, Batch]:
        """The first and the other examples, as two batches of the same length. There must be two examples or more."""
        n, n_sequences = len(self.index), len(self.input_ids)
        middle = n // 2
        cut = middle * n_sequences // n

        def part(examples: slice, sequences: slice) -> Batch:
            mask = None if self.attention_mask is None else self.attention_mask[sequences]
            ids, types = self.input_ids[sequences], self.token_type_ids[sequences]
            return Batch(ids, types, mask, self.labels[examples], self.index[examples])

        return part(slice(middle), slice(cut)), part(slice(middle, None), slice(cut, None))

    def to(self, device: torch.device) -> Batch:
        """The batch on a device. The copy to a GPU is asynchronous."""
        if device.type == "cpu":
            return self

        def move(x: Tensor) -> Tensor:
            return x.pin_memory().to(device, non_blocking=True)

        mask = None if self.attention_mask is None else move(self.attention_mask)
        return Batch(move(self.input_ids), move(self.token_type_ids), mask, move(self.labels), self.index)


@dataclass(frozen=True)
class PackedBatch:
    """Examples one after the other in one row, without padding, on a device.

    Attributes:
        input_ids: ``(n_tokens,)``. The sequences of an example are adjacent.
        token_type_ids: ``(n_tokens,)``.
        places: place of each token in its sequence, counted from 0, ``(n_tokens,)``.
        starts: where each sequence starts, and where the last one ends, int32 ``(n_sequences + 1,)``.
        ends: first and last token of each sequence, ``(2, n_sequences)``.
        from_rows: place of each token in rows of ``longest`` tokens, one row for a sequence, ``(n_tokens,)``.
        to_rows: token at each place of those rows, ``(n_sequences * longest,)``; padding repeats the last token.
        is_token: which of those places hold a token, ``(n_sequences, longest)``.
        longest: tokens of the longest sequence.
        index: positions of the examples in the split, ``(n_examples,)``.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    places: Tensor
    starts: Tensor
    ends: Tensor
    from_rows: Tensor
    to_rows: Tensor
    is_token: Tensor
    longest: int
    index: IntArray

    def to(self, device: torch.device) -> PackedBatch:
        """The batch on a device."""
        tensors: dict[str, Any] = {n: value.to(device) for n, value in vars(self).items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **tensors)


def pack(split: Split, index: IntArray) -> PackedBatch:
    """A batch of the given examples without padding."""
    sequences = (index[:, None] * split.n_choices + np.arange(split.n_choices)).ravel()
    lengths = split.lengths[sequences].astype(np.int64)
    longest = int(lengths.max())
    starts = np.concatenate(([0], np.cumsum(lengths)))
    rows = np.repeat(np.arange(len(sequences)), lengths)
    places = np.arange(starts[-1]) - starts[rows]
    source = split.offsets[sequences][rows] + places
    in_rows = np.arange(longest)
    to_rows = starts[:-1, None] + np.minimum(in_rows, lengths[:, None] - 1)
    return PackedBatch(
        input_ids=torch.from_numpy(split.tokens[source].astype(np.int64)),
        token_type_ids=torch.from_numpy(split.segments[source].astype(np.int64)),
        places=torch.from_numpy(places),
        starts=torch.from_numpy(starts.astype(np.int32)),
        ends=torch.from_numpy(np.stack((starts[:-1], starts[1:] - 1))),
        from_rows=torch.from_numpy(rows * longest + places),
        to_rows=torch.from_numpy(to_rows.ravel()),
        is_token=torch.from_numpy(in_rows < lengths[:, None]),
        longest=longest,
        index=index,
    )


def collate(split: Split, index: IntArray, pad_id: int, length: int | None = None) -> Batch:
    """A batch of the given examples, padded to their longest sequence or to ``length``."""
    sequences = (index[:, None] * split.n_choices + np.arange(split.n_choices)).ravel()
    starts, lengths = split.offsets[sequences], split.lengths[sequences]
    width = int(lengths.max()) if length is None else length
    places = np.arange(width)
    mask = places < lengths[:, None]
    source = np.where(mask, starts[:, None] + places, 0)
    input_ids = np.where(mask, split.tokens[source], pad_id)
    segments = np.where(mask, split.segments[source], 0)
    return Batch(
        input_ids=torch.from_numpy(input_ids.astype(np.int64)),
        token_type_ids=torch.from_numpy(segments.astype(np.int64)),
        attention_mask=None if mask.all() else torch.from_numpy(mask),
        labels=torch.from_numpy(split.labels[index]),
        index=index,
    )


def example_lengths(split: Split) -> IntArray:
    """Tokens of the longest sequence of each example, ``(n_examples,)``."""
    return np.asarray(split.lengths.reshape(-1, split.n_choices).max(axis=1))


def padded_lengths(split: Split, length_grid: int) -> IntArray:
    """:func:`example_lengths`, rounded up to multiples of ``length_grid`` tokens, at most to the longest of them."""
    lengths = example_lengths(split)
    return np.asarray(np.minimum(-(-lengths // length_grid) * length_grid, lengths.max()))


def evaluation_batches(
    split: Split, pad_id: int, max_tokens: int, max_padding: int | None = None, length_grid: int = 1
) -> Iterator[Batch]:
    """All examples once, in order of length, in batches as large as the limits allow. A batch has at least one example.

    Args:
        max_tokens: limit of the tokens of a batch, padding included.
        max_padding: limit of the padding of a batch in tokens (default: no limit). An example counts with the length of
            its longest sequence.
        length_grid: see :func:`padded_lengths`.
    """
    padded = padded_lengths(split, length_grid)
    lengths = padded * split.n_choices
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        # Lengths ascend: a batch of n examples costs n * (length of the last example), and the length of its first
        # example limits n. Cost and padding both rise with n.
        n_most = max(1, max_tokens // int(lengths[order[start]]))
        candidates = lengths[order[start : start + n_most]]
        cost = np.arange(1, len(candidates) + 1) * candidates
        n = int(np.searchsorted(cost, max_tokens, side="right"))
        if max_padding is not None:
            n = min(n, int(np.searchsorted(cost - np.cumsum(candidates), max_padding, side="right")))
        n = max(1, n)
        index = order[start : start + n]
        yield collate(split, index, pad_id, int(padded[index[-1]]))
        start += n


def packed_batches(split: Split, max_tokens: int) -> Iterator[PackedBatch]:
    """All examples once, in order of length, in batches without padding of at most ``max_tokens`` tokens.

    A batch has at least one example. Its sequences have similar lengths, so little is added where attention needs rows
    of equal length.
    """
    n_tokens = split.lengths.reshape(-1, split.n_choices).sum(axis=1)
    order = np.argsort(example_lengths(split), kind="stable")
    start = 0
    while start < len(order):
        n = max(1, int(np.searchsorted(np.cumsum(n_tokens[order[start:]]), max_tokens, side="right")))
        yield pack(split, order[start : start + n])
        start += n


def training_order(split: Split, batch_size: int, rng: np.random.Generator) -> list[IntArray]:
    """The batches of one epoch, as positions of examples: every example once, in random batches of similar length.

    The examples are shuffled, sorted by length within groups of 50 batches, and cut into batches; the batches are
    shuffled. So each batch is a random draw of examples of similar length, and the one shorter batch can come anywhere.
    """
    lengths = example_lengths(split)
    order = rng.permutation(len(split))
    group = 50 * batch_size
    for start in range(0, len(order), group):
        members = order[start : start + group]
        order[start : start + group] = members[np.argsort(lengths[members], kind="stable")]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def n_batches(split: Split, batch_size: int) -> int:
    """Number of batches, and hence of optimizer steps, of one epoch."""
    return -(-len(split) // batch_size)
