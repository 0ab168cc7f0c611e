"""What the checks of ``make gpu-check`` run on, and the lines of their report."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from benchmarks.conftest import LENGTHS, bert, make_split

from nasbench.data.splits import Split
from nasbench.declarations.model import TrainingConfiguration
from nasbench.networks.space import make_space
from nasbench.networks.supernet import SuperNetwork
from nasbench.runs.loading import default_precision
from nasbench.training.strategies import TrainingStrategy
from nasbench.training.trainer import Trainer

MB = 1e6
TABLE = "| what | expected | seen | |\n|---|---|---|---|"


@dataclass(frozen=True)
class Line:
    """One line of the report. ``is_as_expected`` is None where there is only an estimate to compare with."""

    what: str
    expected: str
    seen: str
    is_as_expected: bool | None = None


@dataclass(frozen=True)
class Setting:
    """What the checks run on."""

    device: torch.device
    is_tiny: bool

    @property
    def n_steps(self) -> int:
        return 6 if self.is_tiny else 200

    @property
    def n_evaluations(self) -> int:
        return 3 if self.is_tiny else 20

    @cached_property
    def splits(self) -> tuple[Split, Split]:
        """Train and validation with the lengths of RTE and random tokens."""
        rng = np.random.default_rng(0)
        lengths = rng.permutation(LENGTHS)
        n, m = (48, 24) if self.is_tiny else (1743, 747)
        return make_split(lengths[:n], rng), make_split(lengths[n : n + m], rng)

    def network(self) -> SuperNetwork:
        """BERT-base with random weights on the device; with ``is_tiny``, a network of three narrow layers."""
        made = bert(128, 3) if self.is_tiny else bert()
        made.model.to(self.device)
        return SuperNetwork(made.model, default_precision(self.device))

    def trainer(self, network: SuperNetwork, space: str = "small") -> Trainer:
        strategy, the_space = TrainingStrategy("full"), make_space(space, network.dims)
        fine_tuning = TrainingConfiguration(learning_rate=2e-5, batch_size=4, epochs=5)
        return Trainer(
            network, self.splits[0], "classification", fine_tuning,
            lambda step, n, rng: strategy.step(step, n, the_space, rng), strategy, 0, seed=5,
        )  # fmt: skip

    def seconds(self, work: Callable[[], Any]) -> float:
        """Wall-clock seconds until the device has done the work."""
        self.wait()
        started = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def used_mb(self) -> float:
        gc.collect()
        if self.device.type != "cuda":
            return 0.0
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated(self.device) / MB


def as_text(line: Line) -> str:
    """A row of a Markdown table."""
    verdict = {True: "ok", False: "**DIFFERS**", None: ""}[line.is_as_expected]
    cells = (line.what, line.expected, line.seen, verdict)
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"
