"""Text for language models: passages of a given number of bytes, the same for every tokenizer.

The error of a language model is counted in bits per byte, so that networks with different tokenizers compare. A passage
is a row of a task, and its label is its number of bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

_AT_ONCE = re.compile(r"[.,;:!?)]|['\u2019]s\b")
"""What follows a word without a blank."""


def passages(lines: Iterable[str], most_bytes: int) -> list[str]:
    """Consecutive passages of a text. Joined, they are the text, but for passages of blanks.

    Lines go together while they fit. Longer lines are cut before a blank, if they have one.

    Args:
        lines: lines in order, with or without a line break at the end.
        most_bytes: most bytes (UTF-8) of a passage.
    """
    found: list[str] = []
    current = ""
    for line in lines:
        for piece in _pieces(line if line.endswith("\n") else line + "\n", most_bytes):
            if current and _size(current) + _size(piece) > most_bytes:
                found.append(current)
                current = ""
            current += piece
    return [passage for passage in (*found, current) if passage.strip()]


def n_bytes(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number of bytes (UTF-8) of each text, ``(n,)``: the labels of passages."""
    return np.array([_size(text) for text in texts], dtype=np.int64)


def with_blank(continuation: str, follows_name: bool = False) -> str:
    """A continuation with the blank that comes before it, unless it begins with white space.

    Args:
        follows_name: whether it goes on with a sentence after a name. A full stop or ``'s`` then comes at once. In
            other tasks, a mark at the start opens a quotation.
    """
    is_close = continuation[:1].isspace() or (follows_name and _AT_ONCE.match(continuation) is not None)
    return continuation if is_close else f" {continuation}"


def start_of_text(tokenizer: Any) -> int:
    """The token before each sequence of a language model: that which begins a text, or else that which ends one."""
    return int(tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id)


def marked_tokens(context: Sequence[str], continuation: Sequence[str], tokenizer: Any) -> Iterator[tuple[Any, int]]:
    """Token ids of each context with its continuation, and how many come before the continuation.

    Each sequence begins with :func:`start_of_text`, so that a language model gives a probability to the first token of
    a continuation without context.

    Both are encoded as one text. A tokenizer such as that of Llama 2 puts a blank before every text, also before a
    continuation by itself. If the end of the context is another token in the whole text, that token counts.
    """
    start, backend = start_of_text(tokenizer), tokenizer.backend_tokenizer
    contexts, wholes = list(context), [a + b for a, b in zip(context, continuation, strict=True)]
    for before, whole in zip(
        backend.encode_batch_fast(contexts, add_special_tokens=False),
        backend.encode_batch_fast(wholes, add_special_tokens=False),
        strict=True,
    ):
        n_same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before.ids, whole.ids, strict=False)))
        yield [start, *whole.ids], 1 + n_same


def _pieces(line: str, most_bytes: int) -> Iterator[str]:
    while _size(line) > most_bytes:
        head = line.encode()[:most_bytes].decode(errors="ignore")  # without half a character
        cut = head.rfind(" ")
        head = head[:cut] if cut > 0 else head
        yield head
        line = line[len(head) :]
    yield line


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
