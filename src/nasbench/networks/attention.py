"""Attention and dropout, the two operations whose fastest implementation depends on the device.

On a CPU, torch takes more time to draw a dropout mask than for the matrix product before it: its generator makes one
number at a time, and the fused attention kernel does not support dropout. Numpy's SFC64 draws random bits ten times
faster, and its state is an object instead of a global.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


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
    bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Scaled dot-product attention.

    Args:
        query: ``(n, heads, n_queries, size)``.
        key: ``(n, heads, length, size)``.
        value: ``(n, heads, length, size)``.
        mask: ``(n, length)``, True = a token that may be attended to; None if all may be.
        noise: source of the dropout of attention weights; None in evaluation.
        rate: dropout rate of attention weights.
        bias: what is added to the scores before the softmax, ``(heads, n_queries, length)``.

    Returns:
        ``(n, heads, n_queries, size)``.
    """
    allowed = None if mask is None else mask[:, None, None, :]
    if noise is None or rate == 0 or query.device.type != "cpu":
        rate = 0.0 if noise is None else rate
        if bias is not None:
            added = bias[None] if allowed is None else bias[None].masked_fill(~allowed, float("-inf"))
            return functional.scaled_dot_product_attention(query, key, value, added, dropout_p=rate)
        return functional.scaled_dot_product_attention(query, key, value, allowed, dropout_p=rate)
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    return noise.dropout(scores.softmax(dim=-1), rate) @ value
