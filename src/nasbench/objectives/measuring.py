"""Time sub-networks beside the full network, as a user would run them: extracted, in fp32, without padding."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.arrays import FloatArray
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.architectures.compact import compact
from nasbench.networks.pretrained import n_positions
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.objectives.latency import SHAPES, LatencyModel, Shape, fit_model, ratio_with_interval

QUICK_S, MOST_TURNS = 0.3, 15
"""A shape is timed in as many turns as take :data:`QUICK_S`: at least one and at most :data:`MOST_TURNS`."""
N_ROUNDS, MOST_ROUNDS, PRECISION = 9, 36, 0.025
"""A network that is recorded is timed in :data:`N_ROUNDS` rounds over all shapes, and again in as many until half of its
interval is at most :data:`PRECISION` of the ratio, or until it has had :data:`MOST_ROUNDS`."""


def inputs_of(model: Any, batch_size: int, length: int) -> dict[str, Tensor]:
    """Token ids without padding for a model of transformers, always the same, on its device.

    Returns:
        ``input_ids`` and ``attention_mask``, ``(batch_size, length)``, or ``(batch_size, 2, length)`` for a multiple
        choice.
    """
    shape = (batch_size, 2, length) if type(model).__name__.endswith("MultipleChoice") else (batch_size, length)
    ids = torch.randint(*usual_tokens(model.config), shape, generator=torch.Generator().manual_seed(0))
    ids = ids.to(next(model.parameters(), ids).device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def usual_tokens(config: Any) -> tuple[int, int]:
    """First and last token (exclusive) of a range of at most 100 that does not hold the padding.

    RoBERTa takes its positions from the padding. It is the last token of GPT-2, whose tokenizer has no other padding
    than its end of text; the range then lies before it.
    """
    padding = config.pad_token_id or 0
    if padding + 1 < config.vocab_size:
        return padding + 1, min(padding + 101, config.vocab_size)
    return max(0, padding - 100), padding


def shapes_for(model: Any) -> tuple[Shape, ...]:
    """The shapes of :data:`~nasbench.objectives.latency.SHAPES`, no longer than the network takes."""
    room = n_positions(model.config.to_dict())
    return tuple(dict.fromkeys((batch_size, min(length, room)) for batch_size, length in SHAPES))


class Pair:
    """A network and the full network, timed in turns after a pass of each to warm up.

    Passes in turns share what else the machine does; who goes first alternates. On a GPU, each pass is waited for.

    Args:
        full: the full network; a module of transformers in eval mode.
        other: the network beside it.
        clock: gives seconds.
    """

    def __init__(self, full: nn.Module, other: nn.Module, clock: Callable[[], float] = time.perf_counter) -> None:
        self._full, self._other, self._clock = full, other, clock
        self._is_on_gpu = next(full.parameters()).is_cuda
        self._n_turns: dict[Shape, int] = {}
        self._goes_first = True

    def ratio(self, shape: Shape) -> float:
        """Time of the network by time of the full network: the median of as many turns as take :data:`QUICK_S`."""
        inputs = inputs_of(self._full, *shape)
        with torch.inference_mode():
            if shape not in self._n_turns:  # warm up
                pair_s = self._seconds(self._full, inputs) + self._seconds(self._other, inputs)
                self._n_turns[shape] = int(np.clip(QUICK_S / pair_s, 1, MOST_TURNS))
            return float(np.median([self._turn(inputs) for _ in range(self._n_turns[shape])]))

    def measured(self, shapes: Sequence[Shape], most_rounds: int = MOST_ROUNDS) -> dict[str, float]:
        """The latency of the network with its 95 % interval: ``ratio``, ``low`` and ``high``.

        Rounds come in blocks, because a stop at the first narrow interval would pick those that are narrow by chance.

        Args:
            most_rounds: fewer than six have no interval.
        """
        rounds: list[list[float]] = []
        while True:
            n = min(N_ROUNDS, most_rounds - len(rounds))
            rounds += [[self.ratio(shape) for shape in shapes] for _ in range(n)]
            found = ratio_with_interval(np.array(rounds))
            is_narrow = found["high"] - found["low"] <= 2 * PRECISION * found["ratio"]
            if is_narrow or len(rounds) >= most_rounds:
                return found

    def _turn(self, inputs: Mapping[str, Tensor]) -> float:
        self._goes_first = not self._goes_first
        if self._goes_first:
            own = self._seconds(self._other, inputs)
            return own / self._seconds(self._full, inputs)
        whole = self._seconds(self._full, inputs)
        return self._seconds(self._other, inputs) / whole

    def _seconds(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> float:
        self._wait()
        started = self._clock()
        network(**inputs)
        self._wait()
        return max(self._clock() - started, 1e-9)

    def _wait(self) -> None:
        if self._is_on_gpu:
            torch.cuda.synchronize()


class SubNetworkTimer:
    """Times sub-networks of a stock model, extracted and without their empty layers.

    Args:
        model: the stock model of the full network, in eval mode; left unchanged.
        dims: its sizes.
    """

    def __init__(self, model: nn.Module, dims: Dimensions) -> None:
        self._model, self._dims = model, dims
        self.shapes = shapes_for(model)

    @cached_property
    def _full(self) -> nn.Module:
        """The full network. One that was pruned before is smaller than its stock model."""
        return self.extracted(SubNetwork.full(self._dims))

    def __call__(self, subnetwork: SubNetwork) -> FloatArray:
        """Median ratio for each shape, ``(n_shapes,)``, as quickly as is good enough for a fit."""
        pair = Pair(self._full, self.extracted(subnetwork))
        return np.array([pair.ratio(shape) for shape in self.shapes])

    def extracted(self, subnetwork: SubNetwork) -> nn.Module:
        """A module of the sub-network with copies of its parameters."""
        smaller = copy.deepcopy(self._model)
        shrink(adapt(smaller), subnetwork, self._dims)
        return compact(smaller, subnetwork, ()).eval()

    def measured(self, subnetwork: SubNetwork) -> dict[str, float]:
        """The latency of a network with its interval, for the record; see :meth:`Pair.measured`."""
        return Pair(self._full, self.extracted(subnetwork)).measured(self.shapes)


def fitted_latency(timer: SubNetworkTimer, dims: Dimensions, cache: Path) -> LatencyModel:
    """The latency model of a network on this device, fitted once and kept in a file.

    Args:
        cache: the file; its name tells network, device, threads and versions apart.
    """
    try:
        return LatencyModel.from_json(json.loads(cache.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged: fit it
        return fit_model(dims, timer.shapes, timer, time.perf_counter)
