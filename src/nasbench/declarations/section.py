"""Declarations of the leaderboard's sections: which scenarios and seeds an entry has to run."""

from __future__ import annotations

from dataclasses import dataclass

from nasbench.declarations.model import DeviceClass, Track


@dataclass(frozen=True)
class Section:
    """A ranking of the leaderboard, over a fixed list of scenarios and seeds.

    The list is fixed before anyone runs anything. So nobody gains from leaving out a seed that went badly, or from
    adding a task that nobody else has run: a run that an entry lacks counts as the worst possible run.

    Attributes:
        name: ``<track>-<device class>``, with a version from the second one on (``compact-cpu.v2``); never edited.
        track: the track of every scenario.
        device_class: the device class of every scenario.
        scenarios: pairs of task and model, by name.
        seeds: the seeds to run in every scenario.
    """

    name: str
    track: Track
    device_class: DeviceClass
    scenarios: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...]

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """Every scenario, as ``task/model/device_class``, with every seed; sorted by scenario, then by seed."""
        names = sorted(f"{task}/{model}/{self.device_class}" for task, model in self.scenarios)
        return tuple((name, seed) for name in names for seed in sorted(self.seeds))
