"""Energy of a pass on a GPU, by the counter that NVML reads. Nothing is estimated."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nasbench.errors import UserError, printable
from nasbench.objectives.measuring import Pair, SubNetworkTimer, inputs_of
from nasbench.objectives.modelled import Shape

LEAST_S = 0.5
"""Passes are repeated for at least so long between two steps of the counter."""
READING_S = 0.02
"""Passes go on for about so long between two readings: a counter steps every 20 to 100 ms, and a reading takes time."""
STUCK_S = 10.0
"""A counter that does not step for so long never does."""


class EnergyCounter:
    """The energy that a card has used since its driver was loaded, by all its work and while it idles.

    Args:
        device: the GPU, as torch names it.

    Raises:
        UserError: on a CPU, without pynvml, and for a card without such a counter.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise UserError(
                "objective 'energy' needs a GPU: a CPU has no counter of energy that is open to everybody, and joules "
                "are not estimated; leave it out"
            )
        try:
            import pynvml
        except ImportError as error:
            raise UserError(
                "objective 'energy' needs pynvml to read the counter of a GPU: pip install 'nasbench-plm[energy]'"
            ) from error
        properties: Any = torch.cuda.get_device_properties(device)
        try:
            if " MIG " in properties.name:
                raise UserError(f"objective 'energy' needs a whole card, not {properties.name}: a part has no counter")
            pynvml.nvmlInit()
            # torch counts the cards that it may see, NVML all cards.
            self._card = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
            self._read = pynvml.nvmlDeviceGetTotalEnergyConsumption
            self.joules()
        except pynvml.NVMLError as error:
            raise UserError(
                f"objective 'energy': NVML reads no counter of energy of {properties.name} "
                f"({printable(str(error))}); leave it out, or take a card of Volta or later with --device cuda:NUMBER"
            ) from error

    def joules(self) -> float:
        """The counter, which moves in steps."""
        return 1e-3 * float(self._read(self._card))


class EnergyPair(Pair):
    """A network and the full network, whose passes use energy in turns.

    Args:
        counter: None for that of the card of the networks.
        clock: gives seconds.
    """

    def __init__(
        self, full: nn.Module, other: nn.Module, counter: EnergyCounter | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        super().__init__(full, other, clock)
        self._counter = counter or EnergyCounter(next(full.parameters()).device)

    def ratio(self, shape: Shape) -> float:
        """Joules of a pass of the network by joules of a pass of the full network, in one turn."""
        with torch.inference_mode():
            return self._turn(inputs_of(self._full, *shape))

    def _amount(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> float:
        """Joules of a pass, from one step of the counter to another."""
        n_passes = max(1, int(READING_S / super()._amount(network, inputs)))
        before, _ = self._until_step(network, inputs, n_passes, 0.0)
        after, n = self._until_step(network, inputs, n_passes, LEAST_S)
        return (after - before) / n

    def _until_step(
        self, network: nn.Module, inputs: Mapping[str, Tensor], n_passes: int, least_s: float
    ) -> tuple[float, int]:
        """Run passes until the counter steps, after some seconds or later.

        Returns:
            The counter in joules, and the number of passes.

        Raises:
            UserError: if the counter stands still.
        """
        before, started, n = self._counter.joules(), self._clock(), 0
        while True:
            for _ in range(n_passes):
                network(**inputs)
            torch.cuda.synchronize()
            n += n_passes
            now, passed_s = self._counter.joules(), self._clock() - started
            if now > before and passed_s >= least_s:
                return now, n
            if now == before and passed_s > STUCK_S:
                raise UserError("objective 'energy': the counter of this card stands still; leave the objective out")
            before = now


class EnergyMeasurer(SubNetworkTimer):
    """Measures the energy of sub-networks in turns with the full network."""

    pair = EnergyPair

    @classmethod
    def check(cls, device: torch.device) -> None:
        EnergyCounter(device)
