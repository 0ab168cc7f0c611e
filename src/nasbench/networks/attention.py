"""Attention and dropout, the two operations whose fastest form differs between devices.

On a CPU, drawing dropout masks with torch costs more than the matrix products they follow: its generator makes one
number at a time, and the fused attention kernel does not take a dropout rate. Numpy's SFC64 fills memory with random
bits an order of magnitude faster, and as an argument instead of a global state.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class Noise:
    """The source of dropout in training. Same seed, same masks.

    Args:
        seed: draws on a GPU come from torch's generator of the device, which the caller seeds.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.Generator(np.random.SFC64(seed))

    def dropout(self, x: Tensor, rate: float) -> Tensor:
        """Zero each element with probability ``rate`` (to 1 in 65,536) and scale the others by 1 / (1 - rate)."""
        if rate == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, rate)
        threshold = round(rate * 2**16)
        bits = np.frombuffer(self._rng.bytes(2 * x.numel()), dtype=np.int16)
        kept = torch.from_numpy(bits >= threshold - 2**15).view(x.shape)
        return x * (kept.to(x.dtype) / (1 - threshold / 2**16))


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, noise: Noise | None = None, rate: float = 0.0
) -> Tensor:
    """Scaled dot-product attention.

    Args:
        query: ``(n, heads, n_queries, size)``.
        key: ``(n, heads, length, size)``.
        value: ``(n, heads, length, size)``.
        mask: ``(n, length)``, True = a token that may be attended to; None for all.
        noise: drops attention weights at ``rate``; None in evaluation.

    Returns:
        ``(n, heads, n_queries, size)``.
    """
    allowed = None if mask is None else mask[:, None, None, :]
    if noise is None or rate == 0 or query.device.type != "cpu":
        rate = 0.0 if noise is None else rate
        return functional.scaled_dot_product_attention(query, key, value, allowed, dropout_p=rate)
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    return noise.dropout(scores.softmax(dim=-1), rate) @ value
