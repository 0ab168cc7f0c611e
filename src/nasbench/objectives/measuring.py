"""Measure sub-networks beside the full network, as a user would run them: extracted, in fp32, without padding."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.arrays import FloatArray
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.architectures.compact import compact
from nasbench.networks.pretrained import n_positions
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.objectives.modelled import SHAPES, Shape, ratio_with_interval

QUICK_S, MOST_TURNS = 0.3, 15
"""A shape is timed in as many turns as take :data:`QUICK_S`: at least one and at most :data:`MOST_TURNS`."""
N_ROUNDS, MOST_ROUNDS, PRECISION = 9, 27, 0.025
"""A network that is recorded is timed in :data:`N_ROUNDS` rounds over all shapes, and again in as many until half of
its interval is at most :data:`PRECISION` of the ratio, or until it has had :data:`MOST_ROUNDS`."""


def inputs_of(model: Any, batch_size: int, length: int) -> dict[str, Any]:
    """Token ids without padding for a model of transformers, always the same, on its device.

    Returns:
        ``input_ids`` and ``attention_mask``, ``(batch_size, length)``, or ``(batch_size, 2, length)`` for a multiple
        choice. A language model is asked for the logits of the last token only, as in generating: those of all
        tokens take more memory than everything else (16 x 128 tokens of 49,152 words: 400 MB).
    """
    name = type(model).__name__
    shape = (batch_size, 2, length) if name.endswith("MultipleChoice") else (batch_size, length)
    ids = torch.randint(*usual_tokens(model.config), shape, generator=torch.Generator().manual_seed(0))
    ids = ids.to(next(model.parameters(), ids).device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return inputs | ({"logits_to_keep": 1} if name.endswith(("ForCausalLM", "LMHeadModel")) else {})


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
    """The shapes of :data:`~nasbench.objectives.modelled.SHAPES`, no longer than the network takes."""
    room = n_positions(model.config.to_dict())
    return tuple(dict.fromkeys((batch_size, min(length, room)) for batch_size, length in SHAPES))


class Pair:
    """A network and the full network, timed in turns after a pass of each to warm up.

    Passes in turns share what else the machine does; who goes first alternates. On a GPU, events on its stream time
    each pass, which is launched kernel by kernel, without a CUDA graph.

    Args:
        full: the full network; a module of transformers in eval mode.
        other: the network beside it.
        clock: gives seconds, on a CPU.
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
                pair_s = self._amount(self._full, inputs) + self._amount(self._other, inputs)
                self._n_turns[shape] = int(np.clip(QUICK_S / pair_s, 1, MOST_TURNS))
            return float(np.median([self._turn(inputs) for _ in range(self._n_turns[shape])]))

    def measured(self, shapes: Sequence[Shape], most_rounds: int = MOST_ROUNDS) -> dict[str, float]:
        """The ratio over all shapes with its 95 % interval: ``ratio``, ``low`` and ``high``.

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
            own = self._amount(self._other, inputs)
            return own / self._amount(self._full, inputs)
        whole = self._amount(self._full, inputs)
        return self._amount(self._other, inputs) / whole

    def _amount(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> float:
        """Seconds of a pass."""
        if self._is_on_gpu:
            return seconds_on_gpu(lambda: network(**inputs))
        started = self._clock()
        network(**inputs)
        return max(self._clock() - started, 1e-9)


def seconds_on_gpu(work: Callable[[], object]) -> float:
    """Seconds of work on the current stream, by two events on it; the stream has nothing to do before and after."""
    event: Callable[[], Any] = partial(torch.cuda.Event, enable_timing=True)
    start, end = event(), event()
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    end.synchronize()
    return max(1e-3 * float(start.elapsed_time(end)), 1e-9)


class Measurer(ABC):
    """Measures sub-networks of a stock model, extracted and without their empty layers.

    Args:
        model: the stock model of the full network, in eval mode; left unchanged.
        dims: its sizes.
    """

    def __init__(self, model: nn.Module, dims: Dimensions) -> None:
        self._model, self._dims = model, dims
        self.shapes = shapes_for(model)

    @classmethod  # noqa: B027 - time can be measured on every device
    def check(cls, device: torch.device) -> None:
        """Check that a device can be measured.

        Raises:
            UserError: if not; says why in one line.
        """

    @abstractmethod
    def ratios(self, subnetworks: Sequence[SubNetwork]) -> FloatArray:
        """Ratios to the full network for each shape, ``(n, n_shapes)``, as quickly as is good enough for a fit."""

    @abstractmethod
    def measured(self, subnetwork: SubNetwork) -> dict[str, float]:
        """The ratio over all shapes with its 95 % interval, for the record: ``ratio``, ``low`` and ``high``."""

    def extracted(self, subnetwork: SubNetwork) -> nn.Module:
        """A module of the sub-network with copies of its parameters."""
        smaller = copy.deepcopy(self._model)
        shrink(adapt(smaller), subnetwork, self._dims)
        return compact(smaller, subnetwork, ()).eval()


class SubNetworkTimer(Measurer):
    """Times sub-networks in turns with the full network."""

    pair: ClassVar[type[Pair]] = Pair

    def ratios(self, subnetworks: Sequence[SubNetwork]) -> FloatArray:
        return np.array([[pair.ratio(shape) for shape in self.shapes] for pair in map(self._beside_full, subnetworks)])

    def measured(self, subnetwork: SubNetwork) -> dict[str, float]:
        return self._beside_full(subnetwork).measured(self.shapes)

    @cached_property
    def _full(self) -> nn.Module:
        """The full network. One that was pruned before is smaller than its stock model."""
        return self.extracted(SubNetwork.full(self._dims))

    def _beside_full(self, subnetwork: SubNetwork) -> Pair:
        return self.pair(self._full, self.extracted(subnetwork))
