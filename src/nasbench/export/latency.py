"""Speed of an exported network beside the full network, measured on the machine that exports it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from nasbench.objectives.measuring import inputs_of

BATCH_SIZES = (1, 16)
_LEAST_PASSES = 3
_SECONDS = 1.0
"""Seconds after which no further pair of passes starts."""


@dataclass(frozen=True)
class Latency:
    """Median times of a pass on one device.

    Attributes:
        batch_size: number of examples in a pass.
        length: number of tokens of each example.
        full_ms: milliseconds of a pass of the full network.
        pruned_ms: milliseconds of a pass of the exported network.
        n_threads: number of threads of torch.
    """

    batch_size: int
    length: int
    full_ms: float
    pruned_ms: float
    n_threads: int

    @property
    def speedup(self) -> float:
        """How many times faster the exported network is."""
        return self.full_ms / self.pruned_ms


def measure(
    full: nn.Module,
    pruned: nn.Module,
    length: int,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Latency]:
    """Time passes of both networks in turn on the CPU, in fp32, without padding.

    Passes of the two networks alternate, so that other work on the machine slows both.

    Args:
        length: number of tokens of each example.
        clock: gives seconds.
    """
    found = []
    for batch_size in batch_sizes:
        inputs = inputs_of(full, batch_size, length)
        times: dict[str, list[float]] = {"full": [], "pruned": []}
        with torch.inference_mode():
            full(**inputs), pruned(**inputs)  # the first pass also allocates memory
            start = clock()
            while len(times["full"]) < _LEAST_PASSES or clock() - start < _SECONDS:
                for name, network in (("full", full), ("pruned", pruned)):
                    before = clock()
                    network(**inputs)
                    times[name].append(1000 * (clock() - before))
        full_ms, pruned_ms = (statistics.median(times[name]) for name in ("full", "pruned"))
        found.append(Latency(batch_size, length, full_ms, pruned_ms, torch.get_num_threads()))
    return found


def with_random_weights(model: Any) -> nn.Module:
    """The model with small random parameters in place of parameters without memory: speed does not depend on them.

    Args:
        model: a model of transformers. Weights that it ties stay tied.
    """
    generator = torch.Generator().manual_seed(0)
    state = {name: 0.02 * torch.randn(value.shape, generator=generator) for name, value in model.named_parameters()}
    model.load_state_dict(state, assign=True, strict=False)  # a tied weight has one name only
    model.tie_weights()
    return cast(nn.Module, model)
