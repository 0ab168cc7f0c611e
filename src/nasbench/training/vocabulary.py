"""Training of only those word embeddings that occur in the training data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class ActiveVocabulary:
    """The rows of a word embedding that occur in the training data, as a separate parameter.

    A small data set uses a third of the vocabulary or less. The other rows never get a gradient, so AdamW only decays
    them, by a factor of 1 - lr * weight_decay per step. :meth:`write_back` applies the product of these factors once.
    The result equals optimising the whole table, with a fraction of the memory traffic (the table holds half of
    MiniLM's parameters).

    Args:
        embedding: its table is updated by :meth:`write_back` only.
        tokens: all token ids of the training data, any shape.
        pad_id: id of the padding token, which also counts as used.

    Attributes:
        rows: the parameter to train, ``(n_active, d)``.
    """

    def __init__(self, embedding: nn.Embedding, tokens: Any, pad_id: int) -> None:
        self._table = embedding.weight
        device = self._table.device
        active = np.union1d(np.asarray(tokens), [pad_id]).astype(np.int64)
        self._active = torch.from_numpy(active).to(device)
        # Positions, not a mask: to index with a mask, a GPU would have to be waited for.
        self._inactive = torch.from_numpy(np.setdiff1d(np.arange(len(self._table)), active)).to(device)
        self._place = torch.zeros(len(self._table), dtype=torch.int64, device=device)
        self._place[self._active] = torch.arange(len(active), device=device)
        self.rows = nn.Parameter(self._table.detach()[self._active])
        self._pending_decay = 1.0
        self._last_lookup: Tensor | None = None

    def look_up(self, input_ids: Tensor) -> Tensor:
        """Word vectors ``(..., d)``. Their backward pass adds to the gradient of :attr:`rows`."""
        self._last_lookup = self._place[input_ids]
        looked_up: Tensor = _LookUp.apply(self.rows, self._last_lookup)  # type: ignore[no-untyped-call]
        return looked_up

    def clear_gradient(self, only_last: bool = True) -> None:
        """Zero the gradient of the rows in the last look-up, or of all rows."""
        if not only_last and self.rows.grad is not None:
            self.rows.grad.zero_()
        elif self._last_lookup is not None and self.rows.grad is not None:
            self.rows.grad.index_fill_(0, self._last_lookup.flatten(), 0.0)

    def decay_others(self, factor: float) -> None:
        """Record the weight decay of one step for the unused rows; :meth:`write_back` applies it."""
        self._pending_decay *= factor

    def write_back(self) -> None:
        """Copy the trained rows into the table and apply the pending decay to the other rows."""
        with torch.no_grad():
            if self._pending_decay != 1.0:
                self._table[self._inactive] *= self._pending_decay
                self._pending_decay = 1.0
            self._table[self._active] = self.rows

    def state(self) -> dict[str, Any]:
        """State for :meth:`restore`; the table itself is saved with the model."""
        return {"rows": self.rows.detach(), "pending_decay": self._pending_decay}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the rows and the pending decay of an earlier :meth:`state`."""
        with torch.no_grad():
            self.rows.copy_(state["rows"])
        self._pending_decay = state["pending_decay"]


class WholeVocabulary:
    """The whole word embedding, with the interface of :class:`ActiveVocabulary`.

    A language model's head has a logit for every word, so every row gets a gradient.

    Attributes:
        rows: the table, ``(n_words, d)``.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        self.rows = embedding.weight

    def look_up(self, input_ids: Tensor) -> Tensor:
        """Word vectors ``(..., d)``."""
        return nn.functional.embedding(input_ids, self.rows)

    def clear_gradient(self, only_last: bool = True) -> None:  # noqa: ARG002
        """Zero the gradient of all rows."""
        if self.rows.grad is not None:
            self.rows.grad.zero_()

    def decay_others(self, factor: float) -> None:
        """There are no other rows."""

    def write_back(self) -> None:
        """The table is trained itself."""

    def state(self) -> dict[str, Any]:
        """The table is saved with the model."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""


class _LookUp(torch.autograd.Function):
    """Look up rows of a table; backward adds directly to the table's ``grad``."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor) -> Tensor:
        ctx.rows, ctx.places = rows, places
        return nn.functional.embedding(places, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None]:
        gradient = gradients[0]
        add_rows(ctx.rows.grad, ctx.places, gradient)
        return None, None


def add_rows(total: Tensor, places: Tensor, values: Tensor) -> None:
    """Add values to rows of a table, in place. The same arguments give the same bits, on a GPU too.

    Args:
        total: ``(n_rows, d)``.
        places: row of each value, any shape; a row may occur several times.
        values: ``(*places.shape, d)``.
    """
    if total.device.type == "cpu":
        total.index_add_(0, places.flatten(), values.flatten(0, -2))
    else:  # there, index_add_ adds the values of a row in any order
        total.add_(torch.ops.aten.embedding_dense_backward(values, places, len(total), -1, False))
