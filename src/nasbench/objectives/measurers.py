"""What measures each modelled objective, and its model on this device."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import torch

from nasbench.networks.subnetwork import Dimensions
from nasbench.objectives.declared import is_modelled
from nasbench.objectives.energy import EnergyMeasurer
from nasbench.objectives.measuring import Measurer, SubNetworkTimer
from nasbench.objectives.memory import MemoryMeasurer
from nasbench.objectives.modelled import Modelled, fit_model

MEASURERS: dict[str, type[Measurer]] = {
    "latency": SubNetworkTimer,
    "peak_memory": MemoryMeasurer,
    "energy": EnergyMeasurer,
}


def check_measurable(names: Iterable[str], device: torch.device) -> None:
    """Check that a device can measure the modelled ones of these objectives.

    Raises:
        UserError: if not; says why in one line.
    """
    for name in filter(is_modelled, names):
        MEASURERS[name].check(device)


def fitted_model(name: str, measurer: Measurer, dims: Dimensions, cache: Path) -> Modelled:
    """The model of an objective on this device, fitted once and kept in a file.

    Args:
        cache: the file; its name tells network, device, threads and versions apart.
    """
    try:
        return Modelled.from_json(name, json.loads(cache.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged: fit it
        return fit_model(name, dims, measurer.shapes, measurer.ratios, time.perf_counter)
