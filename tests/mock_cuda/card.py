"""The pretended card as tests see it: what was counted, and what they can let go wrong."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

COUNTS = (
    "launches", "replays", "replayed", "captures", "captured", "waits", "copies_to_host", "copies_pinned",
    "copies_pageable", "copies_on_device", "allocations", "plans",
)  # fmt: skip
"""Names of the counts, in the order of ``enum Count`` in runtime/card.h, which says what each one is."""

OUT_OF_MEMORY, CAPTURE_UNSUPPORTED = 2, 900
"""Codes of CUDA errors."""


def library() -> ctypes.CDLL:
    """The runtime that is loaded in front of CUDA's.

    Raises:
        AttributeError: in a process that was started without it.
    """
    loaded = ctypes.CDLL(None)
    loaded.mock_cuda_counts.restype = ctypes.POINTER(ctypes.c_long)
    loaded.mock_cuda_memory_used.restype = ctypes.c_size_t
    loaded.mock_cuda_limit_memory.argtypes = [ctypes.c_size_t]
    loaded.mock_cuda_fail_capture.argtypes = [ctypes.c_long, ctypes.c_int]
    assert loaded.mock_cuda_n_counts() == len(COUNTS)
    return loaded


def counts() -> dict[str, int]:
    """All counts since the process began."""
    values = library().mock_cuda_counts()
    return {name: values[i] for i, name in enumerate(COUNTS)}


@dataclass
class Counted:
    """What happened inside :func:`counted`; names of :data:`COUNTS`."""

    values: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> int:
        return self.values[name]

    @property
    def nodes(self) -> int:
        """Operations that the device did: launches, nodes of replayed graphs, and copies on the device."""
        return self.launches + self.replayed + self.copies_on_device


@contextmanager
def counted() -> Iterator[Counted]:
    """Count what happens inside."""
    before, found = counts(), Counted()
    try:
        yield found
    finally:
        after = counts()
        found.values = {name: after[name] - before[name] for name in COUNTS}


@contextmanager
def limited_memory(n_bytes: int) -> Iterator[None]:
    """A card on which ``n_bytes`` more than now can be allocated inside."""
    import torch

    torch.cuda.empty_cache()
    loaded = library()
    loaded.mock_cuda_limit_memory(loaded.mock_cuda_memory_used() + n_bytes)
    try:
        yield
    finally:
        loaded.mock_cuda_limit_memory(ctypes.c_size_t(-1).value)


@contextmanager
def failing_capture(node: int, error: int) -> Iterator[None]:
    """Let the ``node``-th operation that is recorded inside fail, once."""
    library().mock_cuda_fail_capture(node, error)
    try:
        yield
    finally:
        library().mock_cuda_fail_capture(0, 0)
