"""From flat token arrays to padded batches: sorted by length, so that little is padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
        input_ids, token_type_ids: ``(n_sequences, length)``; for multiple choice the choices of an example follow
            one another.
        attention_mask: the same shape, True = a token; None where nothing is padded.
        labels: ``(n_examples,)``.
        index: which examples of the split these are, ``(n_examples,)``.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    attention_mask: Tensor | None
    labels: Tensor
    index: IntArray

    @property
    def n_tokens(self) -> int:
        """Padding included."""
        return self.input_ids.numel()

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; the copy does not wait for the device."""
        if device.type == "cpu":
            return self

        def move(x: Tensor) -> Tensor:
            return x.pin_memory().to(device, non_blocking=True)

        mask = None if self.attention_mask is None else move(self.attention_mask)
        return Batch(move(self.input_ids), move(self.token_type_ids), mask, move(self.labels), self.index)


def collate(split: Split, index: IntArray, pad_id: int, length: int | None = None) -> Batch:
    """Pad the given examples to their longest sequence, or to ``length``."""
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


def evaluation_batches(split: Split, pad_id: int, max_tokens: int, max_padding: int | None = None) -> Iterator[Batch]:
    """All examples once, in order of length, in batches as large as the limits allow, at least one example each.

    Args:
        max_tokens: of a batch, padding included.
        max_padding: tokens of padding in a batch (default: any number), counted by examples' longest sequences.
    """
    lengths = example_lengths(split) * split.n_choices
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        # Ascending lengths: a batch of n examples costs n * (length of its last one), and no batch can hold more
        # examples than its shortest one allows. Cost and padding both rise with n.
        n_most = max(1, max_tokens // int(lengths[order[start]]))
        candidates = lengths[order[start : start + n_most]]
        cost = np.arange(1, len(candidates) + 1) * candidates
        n = int(np.searchsorted(cost, max_tokens, side="right"))
        if max_padding is not None:
            n = min(n, int(np.searchsorted(cost - np.cumsum(candidates), max_padding, side="right")))
        n = max(1, n)
        yield collate(split, order[start : start + n], pad_id)
        start += n


def training_order(split: Split, batch_size: int, rng: np.random.Generator) -> list[IntArray]:
    """One epoch: every example once, in random batches of similar length.

    Examples are shuffled, sorted by length within groups of 50 batches, cut into batches, and the batches shuffled.
    So each batch is a random draw among examples of about its length, and the last, shorter batch falls anywhere.
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
    """Optimizer steps of one epoch."""
    return -(-len(split) // batch_size)
