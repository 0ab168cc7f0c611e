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


def kept_model(name: str, cache: Path) -> Modelled | None:
    """The model of an objective that an earlier run has fitted on this device.

    Args:
        cache: its file, whose name tells network, device, threads and versions apart.

    Returns:
        None if the file is missing or damaged.
    """
    try:
        return Modelled.from_json(name, json.loads(cache.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fitted_model(name: str, measurer: Measurer, dims: Dimensions) -> Modelled:
    """The model of an objective, fitted to networks that are measured now."""
    return fit_model(name, dims, measurer.shapes, measurer.ratios, time.perf_counter)
