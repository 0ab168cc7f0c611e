"""Text for language models: passages of a given number of bytes, the same for every tokenizer.

The error of a language model is counted in bits per byte, so that networks with different tokenizers compare. A passage
is a row of a task, and its label is its number of bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


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


def marked_tokens(context: Sequence[str], continuation: Sequence[str], tokenizer: Any) -> Iterator[tuple[Any, int]]:
    """Token ids of each context and continuation, and how many come before the continuation.

    Each sequence begins with the token that begins a text, or else with that which ends one, so that a language model
    gives a probability to the first token of a continuation without context.
    """
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    backend = tokenizer.backend_tokenizer
    for before, after in zip(
        backend.encode_batch_fast(list(context), add_special_tokens=False),
        backend.encode_batch_fast(list(continuation), add_special_tokens=False),
        strict=True,
    ):
        yield [start, *before.ids, *after.ids], 1 + len(before.ids)


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
