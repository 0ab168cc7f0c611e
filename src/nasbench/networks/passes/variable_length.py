"""Attention over sequences of different lengths that are packed one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import Tensor

VariableLengthAttention = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
"""``(query, key, value, starts, longest) -> context``, with tensors ``(n_tokens, heads, size)``.

Each token attends to the tokens of its sequence, with scores divided by sqrt(size). ``starts`` are those of
:class:`~nasbench.data.batching.PackedBatch`, and the longest sequence has ``longest`` tokens.
"""


@cache
def fused_attention(device: torch.device, dtype: torch.dtype) -> VariableLengthAttention | None:
    """FlashAttention (Dao 2023) of this torch, None where it does not run.

    It needs torch 2.10, a GPU of compute capability 8.0 or later, and a data type of 16 bits.
    """
    if device.type != "cuda" or dtype == torch.float32 or torch.cuda.get_device_capability(device) < (8, 0):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.nn.attention.varlen import varlen_attn  # importing it warns
    except ImportError:
        return None

    def attention(query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int) -> Tensor:
        return cast(Tensor, varlen_attn(query, key, value, starts, starts, longest, longest))

    return attention
