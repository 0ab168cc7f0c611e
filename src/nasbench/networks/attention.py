"""Attention and dropout, the two operations whose fastest implementation depends on the device.

On a CPU, torch takes more time to draw a dropout mask than for the matrix product before it: its generator makes one
number at a time, and the fused attention kernel does not support dropout. Numpy's SFC64 draws random bits ten times
faster, and its state is an object instead of a global.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

T = TypeVar("T")


class LongestTable(Generic[T]):
    """A table of positions for the longest text so far, which shorter texts share.

    Earlier tables are kept: a recorded pass of a GPU goes on reading the one that it was recorded with.
    """

    def __init__(self) -> None:
        self._made: list[tuple[int, torch.device, T]] = []

    def of(self, length: int, device: torch.device, make: Callable[[], T]) -> T:
        """The table on a device, made anew if it is for shorter texts than ``length`` tokens."""
        if not self._made or self._made[-1][0] < length or self._made[-1][1] != device:
            with torch.inference_mode(False), torch.no_grad():  # a training may use what an evaluation has computed
                self._made.append((length, device, make()))
        return self._made[-1][2]


class Noise:
    """The source of dropout in training. The same seed gives the same masks.

    Args:
        seed: seed of dropout on a CPU. On a GPU, dropout uses torch's generator, which the caller seeds.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.Generator(np.random.SFC64(seed))

    def dropout(self, x: Tensor, rate: float) -> Tensor:
        """Zero each element with probability ``rate``, rounded to 1/65,536, and scale the others by 1 / (1 - rate)."""
        if rate == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, rate)
        threshold = round(rate * 2**16)
        bits = np.frombuffer(self._rng.bytes(2 * x.numel()), dtype=np.int16)
        kept = torch.from_numpy(bits >= threshold - 2**15).view(x.shape)
        return x * (kept.to(x.dtype) / (1 - threshold / 2**16))


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, noise: Noise | None = None, rate: float = 0.0,
    bias: Tensor | None = None, causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """Scaled dot-product attention.

    Args:
        query: ``(n, heads, n_queries, size)``.
        key: ``(n, heads, length, size)``.
        value: ``(n, heads, length, size)``.
        mask: ``(n, length)``, True = a token that may be attended to, or ``(n, n_queries, length)`` if that depends
            on the query; None if all may be.
        noise: source of the dropout of attention weights; None in evaluation.
        rate: dropout rate of attention weights.
        bias: what is added to the scores before the softmax, ``(heads, n_queries, length)``, or four axes that
            broadcast to the scores.
        causal: whether query i attends to tokens 0 to i only; not together with a mask, see :func:`seen_by`.
        scale: factor of the scores; None for 1 / sqrt(size).

    Returns:
        ``(n, heads, n_queries, size)``.
    """
    assert mask is None or not causal, "where there is a mask, it says what is causal"
    allowed = None if mask is None else mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]
    if noise is None or rate == 0 or query.device.type != "cpu":
        rate = 0.0 if noise is None else rate
        if bias is not None:
            added = bias if bias.dim() == 4 else bias[None]
            if causal:
                allowed = _not_later(query, key)
            if allowed is not None:
                added = added.masked_fill(~allowed, float("-inf"))
            return functional.scaled_dot_product_attention(query, key, value, added, dropout_p=rate, scale=scale)
        return functional.scaled_dot_product_attention(
            query, key, value, allowed, dropout_p=rate, is_causal=causal, scale=scale
        )
    scores = query * (query.shape[-1] ** -0.5 if scale is None else scale) @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    if causal:
        allowed = _not_later(query, key)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    return noise.dropout(scores.softmax(dim=-1), rate) @ value


def _not_later(query: Tensor, key: Tensor) -> Tensor:
    """Which tokens do not come after each query, ``(n_queries, length)``."""
    return torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()


def visible(mask: Tensor | None, at: Tensor, length: int, causal: bool, window: int | None) -> Tensor:
    """Which tokens each query attends to: ``(n, n_queries, length)``, n = 1 if it is the same for all sequences.

    A query always attends to its own token, so that the outputs of padding are finite.

    Args:
        mask: ``(n, length)``, True = a token; None if nothing is padded.
        at: places of the queries, ``(n, n_queries)`` or ``(1, n_queries)``.
        causal: whether a query attends to no later token.
        window: a query attends to tokens less than this many places away; None for all.
    """
    distance = at[:, :, None] - torch.arange(length, device=at.device)
    allowed = torch.ones_like(distance, dtype=torch.bool) if mask is None else mask[:, None, :]
    if causal:
        allowed = allowed & (distance >= 0)
    if window is not None:
        allowed = allowed & (distance.abs() < window)
    return allowed | (distance == 0)


def seen_by(
    mask: Tensor | None, at: Tensor | None, length: int, causal: bool, window: int | None, device: torch.device
) -> tuple[Tensor | None, bool]:
    """The mask that :func:`attend` needs for queries at places ``at`` (None for all places), and whether it is causal.

    No token of a causal network attends to padding that comes after it, so such padding needs no mask.
    The other arguments are those of :func:`visible`.

    Args:
        at: ``(n, n_queries)`` or ``(1, n_queries)``; of a causal network the last place of each sequence.
    """
    if window is not None and window >= length:
        window = None
    if window is None and (at is not None or not causal):  # no token comes after the last one
        return mask, False
    if window is None and (mask is None or _is_padded_at_the_end(mask)):
        return None, True  # what padding attends to does not matter
    queries = torch.arange(length, device=device)[None] if at is None else at
    return visible(mask, queries, length, causal, window), False


def _is_padded_at_the_end(mask: Tensor) -> bool:
    """Whether all padding comes after the tokens. On a GPU, the answer would have to be waited for: it is False."""
    return mask.device.type == "cpu" and bool((mask[:, 1:] <= mask[:, :-1]).all())


def relative_scores(query: Tensor, key: Tensor, at_query: Tensor, at_key: Tensor, places: Tensor) -> Tensor:
    """Scores of content against position and of position against content (He et al. 2021), before scaling.

    Args:
        query: ``(n, heads, n_queries, size)``: of the first ``n_queries`` tokens.
        key: ``(n, heads, length, size)``.
        at_query: queries of relative positions, ``(heads, n_positions, size)``.
        at_key: keys of relative positions, likewise.
        places: which relative position each pair of tokens has, ``(length, length)``.

    Returns:
        ``(n, heads, n_queries, length)``: ``query_i . at_key_p + key_j . at_query_p`` with p the position of (i, j).
    """
    index = places[: query.shape[2]].expand(*query.shape[:3], -1)
    # Sequences share the vectors of positions, so a head's product is one for all sequences.
    by_content = torch.einsum("nhis,hps->nhip", query, at_key).gather(-1, index)
    by_position = torch.einsum("nhjs,hps->nhjp", key, at_query).gather(-1, index.transpose(-1, -2))
    return by_content + by_position.transpose(-1, -2)


def last_place(mask: Tensor) -> Tensor:
    """Place of the last token of each sequence, ``(n, 1)``, from a mask ``(n, length)``, True = a token."""
    return (mask * torch.arange(mask.shape[1], device=mask.device)).amax(dim=1, keepdim=True)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary position embedding of queries or keys (Su et al. 2021), in the layout of transformers' Llama.

    Args:
        x: ``(n, heads, length, size)``.
        cosines: ``(length, size)``, or ``(n, 1, length, size)`` if places differ between sequences. With a smaller
            last axis, the other elements of x stay as they are.
        sines: the same shape.
    """
    n_turned = cosines.shape[-1]
    if n_turned < x.shape[-1]:
        return torch.cat((rotate(x[..., :n_turned], cosines, sines), x[..., n_turned:]), dim=-1)
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-second, first), dim=-1) * sines
