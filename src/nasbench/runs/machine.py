"""What else a machine does during a run: how long the run waits for a core, and which number of threads suits it.

A budget in seconds measures the neighbours, too, if other work shares the machine. The operating system counts the time
that threads were ready and had to wait.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nasbench.records.schema import work_times

DISTURBED = 0.1
"""A run is disturbed if other work took more than this share of its time."""
SHORTEST_S = 30.0
"""A shorter run is not judged: starting and loading weigh too much in it."""
SAMPLE_S = 60.0
"""Least seconds between two samples of the machine's speed during a run."""
SLOW = 0.2
"""A run is told if the machine computed this much more slowly, on average, than at its best."""
FEWEST_SAMPLES = 5
_WORK_SHAPE = (512, 384, 1536)
_N_WORK_REPEATS = 5
_TASKS = Path("/proc/self/task")
_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class _Reading:
    """Clocks at one moment, in seconds.

    Attributes:
        waited_s: time that the threads of this process were ready to run and waited for a core; by thread.
        stolen: time that a virtual machine's host gave to others, and all time, over all cores.
    """

    wall_s: float
    cpu_s: float
    waited_s: dict[str, float]
    stolen: tuple[float, float]

    @classmethod
    def now(cls) -> _Reading:
        return cls(time.monotonic(), time.process_time(), _waited_s(), _stolen())


class Watch:
    """Measures the conditions of a run from now on."""

    def __init__(self) -> None:
        self._start = _Reading.now()
        self._load = _load()
        self._sampled_s = self._start.wall_s
        self._samples: list[float | None] = []

    def sample_speed(self) -> bool:
        """Measure the machine's speed, if the last time is :data:`SAMPLE_S` ago. It takes 40 ms; call it off the clock.

        Other work can slow a run without taking its core: it shares caches, memory and the units of one physical core.

        Returns:
            Whether it was measured.
        """
        is_due = time.monotonic() - self._sampled_s >= SAMPLE_S
        if is_due:
            self._samples.append(work_s())
            self._sampled_s = time.monotonic()
        return is_due

    def conditions(self) -> dict[str, Any]:
        """JSON values for the record.

        Returns:
            ``wall_s`` and ``cpu_s`` (of all threads together), ``waited_s`` (threads ready to run but without a core,
            None if the operating system does not tell), ``stolen`` (share of the machine's time that its host gave to
            others), ``load`` (average of one minute, at the start and now), ``threads``, ``work_during_s`` (seconds of
            the fixed piece of work, about once a minute).
        """
        start, now = self._start, _Reading.now()
        waited = [value - start.waited_s.get(thread, 0.0) for thread, value in now.waited_s.items()]
        stolen, total = (b - a for a, b in zip(start.stolen, now.stolen, strict=True))
        return {
            "threads": torch.get_num_threads(),
            "load": [self._load, _load()],
            "wall_s": round(now.wall_s - start.wall_s, 3),
            "cpu_s": round(now.cpu_s - start.cpu_s, 3),
            "waited_s": round(sum(waited), 3) if now.waited_s else None,
            "stolen": round(stolen / total, 4) if total > 0 else None,
            "work_during_s": list(self._samples),
        }


def disturbance(conditions: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of a run's time that other work took, over all attempts; None for a run that is too short to tell.

    The share of the machine's own neighbours is the time waited for a core, divided by the time waited and computed.
    """

    wall_s, cpu_s, waited_s = (
        sum(_number(each, name) for each in conditions) for name in ("wall_s", "cpu_s", "waited_s")
    )
    if wall_s < SHORTEST_S:
        return None
    busy_s = waited_s + cpu_s
    stolen = sum(_number(each, "stolen") * _number(each, "wall_s") for each in conditions) / wall_s
    return float(1 - (1 - (waited_s / busy_s if busy_s > 0 else 0.0)) * (1 - stolen))


def slowness(conditions: Sequence[Mapping[str, Any]]) -> float | None:
    """Share by which the machine computed more slowly during a run, on average, than at its best in the same run.

    Work that shares the run's core, caches or memory all the time is not noticed. None with fewer than
    :data:`FEWEST_SAMPLES` samples: a single one can be slow by chance.
    """
    times = work_times(conditions)
    return 1 - sum(min(times) / each for each in times) / len(times) if len(times) >= FEWEST_SAMPLES else None


def _number(conditions: Mapping[str, Any], name: str) -> float:
    """A value that may be missing, since not every operating system has it."""
    value = conditions.get(name)
    return max(0.0, float(value)) if isinstance(value, (int, float)) else 0.0


def work_s() -> float:
    """Seconds of a fixed piece of work, the smallest of five: two matrix products of a small encoder's layer.

    Records hold it before and after a run, so that runs of different machines and moments can be compared.
    """
    n, d, units = _WORK_SHAPE
    x, w = torch.ones(n, d), torch.ones(units, d)
    times = []
    with torch.inference_mode():
        for _ in range(_N_WORK_REPEATS):
            begin = time.perf_counter()
            (x @ w.t()) @ w
            times.append(time.perf_counter() - begin)
    return min(times)


def better_threads() -> int:
    """One thread if it does the fixed work in less time than all threads, else torch's present number.

    With other work on the machine, two threads of a pass wait for each other; they were measured five times slower than
    one.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        return 1
    together = work_s()
    torch.set_num_threads(1)
    try:
        alone = work_s()
    finally:
        torch.set_num_threads(n_threads)
    return 1 if alone < together else n_threads


def _waited_s() -> dict[str, float]:
    waited = {}
    for path in _TASKS.glob("*/schedstat"):
        try:
            waited[path.parent.name] = int(path.read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # the thread has ended, or the kernel does not count
            continue
    return waited


def _stolen() -> tuple[float, float]:
    try:
        ticks = [float(value) for value in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0, 0.0
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else (0.0, 0.0)


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Compute with ``n`` threads inside; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if n is None else n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def current(device: str) -> Iterator[None]:
    """Make a GPU torch's current one inside: its streams, graphs and random state are then those of the run's GPU."""
    with torch.cuda.device(device) if device.startswith("cuda") else nullcontext():
        yield
