"""Likelihood of tokens under a language model. Logits of a large vocabulary are computed in chunks of tokens.

With 49,152 words, the logits of one batch of 2,048 tokens take 400 MB; those of one chunk take a sixteenth of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nasbench.data.batching import Batch

CHUNK = 128
"""Tokens whose logits are in memory at the same time."""
Head = Callable[[Tensor], Tensor]
"""Gives logits ``(n, n_words)`` from hidden states ``(n, d)`` in fp32."""


def log_likelihood(head: Head, states: Tensor, batch: Batch) -> Tensor:
    """Base-2 logarithm of the probability of each sequence's marked tokens, given all tokens before each.

    Args:
        states: hidden states after the last layer, ``(n, length, d)``.
        batch: tokens of type 1 are marked. The first token of a sequence cannot be.

    Returns:
        ``(n, 1)``, fp32.
    """
    rows, places = _marked(batch)
    targets = batch.input_ids[rows, places + 1]

    def chunk(chunk_states: Tensor, chunk_targets: Tensor) -> Tensor:
        return -functional.cross_entropy(head(chunk_states.float()), chunk_targets, reduction="none")

    return _over_sequences(_over_chunks(chunk, states[rows, places], targets), batch, rows, places)


def are_likeliest(head: Head, states: Tensor, batch: Batch) -> Tensor:
    """Whether no token is likelier than any of a sequence's marked ones, given all tokens before each.

    Greedy decoding then goes on with the marked tokens.

    Args:
        states: hidden states after the last layer, ``(n, length, d)``.
        batch: as for :func:`log_likelihood`.

    Returns:
        ``(n, 1)``, fp32: 1 or 0.
    """
    rows, places = _marked(batch)
    targets = batch.input_ids[rows, places + 1]

    def chunk(chunk_states: Tensor, chunk_targets: Tensor) -> Tensor:
        return (head(chunk_states.float()).argmax(-1) != chunk_targets).float()

    missed = torch.zeros(len(states), dtype=torch.float32, device=states.device)
    missed.index_add_(0, rows, _over_chunks(chunk, states[rows, places], targets))
    return (missed == 0).float()[:, None]


def distilled_likelihood(
    head: Head, student: Tensor, teacher: Tensor, batch: Batch, temperature: float, t_squared: bool,
    teacher_head: Head | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """:func:`log_likelihood` of a student, and the mean KL divergence of the teacher's and the student's marked tokens.

    The divergence is equation (2) of the paper for every token; see
    :func:`nasbench.training.losses.distillation_loss`. Both come from the same logits: with a large vocabulary, the
    head costs about as much as the layers of a small sub-network.

    Args:
        student: hidden states ``(n, length, d)``.
        teacher: the same shape, without gradient.
        teacher_head: the teacher's head if it is not the student's.

    Returns:
        The log-likelihoods ``(n, 1)`` and the divergence, a scalar.
    """
    rows, places = _marked(batch)
    targets = batch.input_ids[rows, places + 1]

    def chunk(student_states: Tensor, chunk_targets: Tensor, teacher_states: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = functional.log_softmax((teacher_head or head)(teacher_states.float()) / temperature, dim=-1)
        logits = head(student_states.float())
        given = functional.log_softmax(logits / temperature, dim=-1)
        apart = functional.kl_div(given, wanted, reduction="none", log_target=True).sum(-1)
        return torch.stack([-functional.cross_entropy(logits, chunk_targets, reduction="none"), apart])

    found, apart = _over_chunks(chunk, student[rows, places], targets, teacher[rows, places])
    mean = apart.mean()
    return _over_sequences(found, batch, rows, places), mean * temperature**2 if t_squared else mean


def count_marked(batch: Batch) -> int:
    """Number of tokens that :func:`log_likelihood` counts."""
    return len(_marked(batch)[0])


def _marked(batch: Batch) -> tuple[Tensor, Tensor]:
    """Sequences ``(n,)`` and places ``(n,)`` of the tokens that are followed by a marked one."""
    marked = batch.token_type_ids[:, 1:] == 1
    if batch.attention_mask is not None:
        marked = marked & batch.attention_mask[:, 1:]
    rows, places = marked.nonzero(as_tuple=True)
    return rows, places


def _over_chunks(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Results ``(..., n)`` of a function of the rows of some tensors. The backward pass computes each chunk again."""
    found = []
    for chunk in zip(*(torch.split(tensor, CHUNK) for tensor in tensors), strict=True):
        found.append(checkpoint(function, *chunk, use_reentrant=False) if torch.is_grad_enabled() else function(*chunk))
    return torch.cat(found, dim=-1)


def _over_sequences(found: Tensor, batch: Batch, rows: Tensor, places: Tensor) -> Tensor:
    """Sums over each sequence, from natural to base-2 logarithms: ``(n, 1)``, fp32."""
    # Each token has a place of its own, so that a GPU adds those of a sequence in the same order every time.
    by_place = torch.zeros(batch.input_ids.shape, dtype=torch.float32, device=found.device)
    return (by_place.index_put((rows, places), found).sum(1) / math.log(2))[:, None]
