"""Attention and dropout, the two operations whose fastest form differs between devices."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_rate: float) -> Tensor:
    """Scaled dot-product attention.

    Args:
        query: ``(n, heads, n_queries, size)``.
        key, value: ``(n, heads, length, size)``.
        mask: ``(n, length)``, True = a token that may be attended to; None for all.

    Returns:
        ``(n, heads, n_queries, size)``.
    """
    allowed = None if mask is None else mask[:, None, None, :]
    return functional.scaled_dot_product_attention(query, key, value, allowed, dropout_p=dropout_rate)


def dropout(x: Tensor, rate: float) -> Tensor:
    """Zero each element with probability ``rate`` and scale the others by 1 / (1 - rate)."""
    return functional.dropout(x, rate) if rate > 0 else x
