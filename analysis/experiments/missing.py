"""Which runs of the paper's figures a results folder lacks, and the command that makes them.

An experiment is held against the results where they are: for the tasks, models, seeds and device classes that have any
run. Somebody with one task and one small model is not asked for the paper's 1,600 runs.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from nasbench.analysis.experiments.definitions import BEST_STRATEGY, MODELS, SEEDS, TASKS, Experiment, RunSpecification
from nasbench.analysis.experiments.selection import option, random_samples, usual

Place = tuple[str, str, str, int]
"""Device class, task, model and seed."""
_Key = tuple[Place, str, str, str | None]
"""Place, algorithm, space and, for 100 random sub-networks, how their super-network was trained."""

_BEGINNINGS = (("demo", "demo-bert"), ("rte", "roberta-base"))
"""Task and model to begin with where nothing is there, the quickest first."""


@dataclass(frozen=True)
class Inventory:
    """What a results folder holds of the experiments' runs.

    Attributes:
        places: where any run has ended, sorted.
        complete: the complete runs that an experiment could have made.
    """

    places: tuple[Place, ...]
    complete: frozenset[_Key]

    def where(self, shows: Callable[[str], bool]) -> list[Place]:
        """The places whose model a figure shows."""
        return [place for place in self.places if shows(place[2])]


@dataclass(frozen=True)
class Shortfall:
    """What a figure lacks, in words: ``3 of 9 runs``, a command, and that it ``makes the others``."""

    has: str
    command: str
    effect: str

    def __str__(self) -> str:
        return f"{self.has}; `{self.command}` {self.effect}"


def take_inventory(runs: pd.DataFrame) -> Inventory:
    """The inventory of runs that have ended; those on users' own tasks, which no experiment has, are left out."""
    runs = runs[(runs["track"] != "user").to_numpy()].reset_index(drop=True)
    sampled = random_samples(runs)
    plain = usual(runs) & (runs["status"] == "complete").to_numpy()
    strategies = option(runs, "strategy")
    columns = ["device_class", "task", "model", "seed", "algorithm", "space"]
    rows = [(tuple(row[:4]), row[4], row[5]) for row in runs[columns].itertuples(index=False, name=None)]
    complete = {(*rows[i], strategies[i] if sampled[i] else None) for i in range(len(rows)) if sampled[i] or plain[i]}
    return Inventory(tuple(sorted({place for place, *_ in rows})), frozenset(complete))


def beginning(experiment: Experiment, shows: Callable[[str], bool]) -> Shortfall:
    """What a figure lacks that has no place among the results.

    Args:
        shows: whether the figure shows a model.
    """
    task, model = next((task, model) for task, model in _BEGINNINGS if shows(model))
    n_runs = len(experiment.runs((task,), (model,), (0,)))
    return Shortfall("no run", _command(experiment, (task,), (model,), (0,)), f"makes the first {n_runs}")


def shortfall(experiment: Experiment, inventory: Inventory, places: Sequence[Place]) -> Shortfall | None:
    """What a figure lacks that is made of an experiment's runs at these places; None where it has all of them."""
    wanted = {place: list(experiment.make(*place[1:])) for place in places}
    lacking = {
        place: n
        for place, runs in wanted.items()
        if (n := sum(_key(place[0], run) not in inventory.complete for run in runs))
    }
    if not lacking:
        return None
    n_wanted, n_lacking = sum(map(len, wanted.values())), sum(lacking.values())
    several_devices = len({device for device, *_ in places}) > 1
    command, n_made = _largest_command(experiment, lacking, several_devices)
    if n_lacking == n_wanted:
        return Shortfall(f"none of {n_wanted} runs", command, _effect("them", n_made, n_lacking))
    return Shortfall(f"{n_wanted - n_lacking} of {n_wanted} runs", command, _effect("the others", n_made, n_lacking))


def _key(device_class: str, run: RunSpecification) -> _Key:
    algorithm = run.method if run.searcher is None else f"{run.method}/{run.searcher}"
    strategy = None if run.max_evaluations is None else run.options.get("strategy", BEST_STRATEGY)
    return (device_class, run.task, run.model, run.seed), algorithm, run.space, strategy


def _effect(them: str, n_made: int, n_lacking: int) -> str:
    return f"makes {them}" if n_made == n_lacking else f"makes {n_made} of {them}"


def _largest_command(experiment: Experiment, lacking: dict[Place, int], names_device: bool) -> tuple[str, int]:
    """The command that makes most of what is lacking, and how many runs that is.

    A command makes all its tasks on all its models, so models share one only where they lack the same tasks and seeds:
    else it would make runs that nobody asked for, such as the demo's task on a large model.
    """
    by_model = defaultdict(list)
    for place in lacking:
        by_model[place[0], place[2]].append(place)
    shared = defaultdict(list)
    for (device, model), places in by_model.items():
        tasks, seeds = _ordered({place[1] for place in places}, TASKS), tuple(sorted({place[3] for place in places}))
        shared[device, tasks, seeds].append(model)
    made = {
        (device, tasks, _ordered(models, MODELS), seeds): sum(lacking[p] for m in models for p in by_model[device, m])
        for (device, tasks, seeds), models in shared.items()
    }
    largest = max(made, key=lambda key: made[key])
    device, tasks, models, seeds = largest
    command = _command(experiment, tasks, models, seeds)
    if names_device:
        command += f" --device {'cuda' if device == 'gpu' else device}"
    return command, made[largest]


def _ordered(names: Iterable[str], order: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name)))


def _command(experiment: Experiment, tasks: tuple[str, ...], models: tuple[str, ...], seeds: tuple[int, ...]) -> str:
    words = ["nasbench", "experiment", experiment.name]
    if tasks != TASKS:
        words += [word for task in tasks for word in ("--task", task)]
    if models != MODELS:
        words += [word for model in models for word in ("--model", model)]
    if seeds != SEEDS:
        words += [word for seed in seeds for word in ("--seed", str(seed))]
    return shlex.join(words)
