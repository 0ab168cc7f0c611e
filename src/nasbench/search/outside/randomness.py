"""The global random generators, for libraries that draw from them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_from(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch from a generator, and put them back afterwards."""
    before, state, seed = random.getstate(), np.random.get_state(), int(rng.integers(2**31))  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(state)  # noqa: NPY002
