"""What passes add to attention scores, made once for all layers."""

from __future__ import annotations

import torch
from torch import Tensor

from nasbench.networks.adapter import Adapter
from nasbench.networks.attention import visible

MASK_ALIGNMENT = 8
"""Attention kernels need rows of a mask to start at multiples of this many elements, or copy it."""


class AddedScores:
    """What is added to attention scores: 0 where a query attends to a token, else -inf. Layers of one window share it.

    Args:
        is_token: ``(n_sequences, length)``, True = a token.
    """

    def __init__(self, adapter: Adapter, is_token: Tensor, n_passes: int, dtype: torch.dtype) -> None:
        self._adapter = adapter
        self._is_token, self._n_passes, self._dtype = is_token, n_passes, dtype
        self._made: dict[int | None, Tensor] = {}

    def depends_on_query(self, layer: int) -> bool:
        """Whether tokens of a sequence attend to different tokens in a layer."""
        return self._adapter.is_causal or self._window(layer) is not None

    def of(self, layer: int) -> Tensor:
        """Scores ``(n_passes * n_sequences, 1, length, length)``; the third axis is 1 if all queries see the same."""
        window = self._window(layer)
        if window not in self._made:
            self._made[window] = self._make(window)
        return self._made[window]

    def _window(self, layer: int) -> int | None:
        window = self._adapter.window(layer)
        return None if window is None or window >= self._is_token.shape[1] else window

    def _make(self, window: int | None) -> Tensor:
        length = self._is_token.shape[1]
        allowed = self._is_token[:, None]
        if self._adapter.is_causal or window is not None:
            places = torch.arange(length, device=self._is_token.device)
            allowed = visible(self._is_token, places[None], length, self._adapter.is_causal, window)
        n_sequences, n_rows, _ = allowed.shape
        aligned = MASK_ALIGNMENT * -(-length // MASK_ALIGNMENT)
        shape = (self._n_passes, n_sequences, 1, n_rows, aligned)
        added = torch.zeros(shape, dtype=self._dtype, device=allowed.device)[..., :length]
        return added.masked_fill_(~allowed[:, None], float("-inf")).flatten(0, 1)
