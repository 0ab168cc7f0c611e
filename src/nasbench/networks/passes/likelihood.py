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

    found = _over_chunks(chunk, states[rows, places], targets)
    # Each token has a place of its own, so that a GPU adds those of a sequence in the same order every time.
    by_place = torch.zeros(states.shape[:2], dtype=torch.float32, device=states.device)
    return (by_place.index_put((rows, places), found).sum(1) / math.log(2))[:, None]


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


def divergence(
    head: Head, student: Tensor, teacher: Tensor, batch: Batch, temperature: float, t_squared: bool,
    teacher_head: Head | None = None,
) -> Tensor:  # fmt: skip
    """Mean KL divergence of the teacher's and the student's next marked token, as :func:`log_likelihood` counts them.

    Equation (2) of the paper for every token; see :func:`nasbench.training.losses.distillation_loss`.

    Args:
        student: hidden states ``(n, length, d)``.
        teacher: the same shape, without gradient.
        teacher_head: the teacher's head if it is not the student's.
    """
    rows, places = _marked(batch)

    def chunk(student_states: Tensor, teacher_states: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = functional.log_softmax((teacher_head or head)(teacher_states.float()) / temperature, dim=-1)
        given = functional.log_softmax(head(student_states.float()) / temperature, dim=-1)
        return functional.kl_div(given, wanted, reduction="none", log_target=True).sum(-1)

    mean = _over_chunks(chunk, student[rows, places], teacher[rows, places]).mean()
    return mean * temperature**2 if t_squared else mean


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


def _over_chunks(function: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor) -> Tensor:
    """Results ``(n,)`` of a function of the rows of two tensors. The backward pass computes each chunk again."""
    found = [torch.zeros(0, dtype=torch.float32, device=first.device)]
    for one, other in zip(torch.split(first, CHUNK), torch.split(second, CHUNK), strict=True):
        if torch.is_grad_enabled():
            found.append(checkpoint(function, one, other, use_reentrant=False))
        else:
            found.append(function(one, other))
    return torch.cat(found)
