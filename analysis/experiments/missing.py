"""The runs of the paper's figures and claims that a results folder lacks, and the command that makes them.

Runs count as missing only for tasks, models, seeds and device classes that have any run. A user with one task and one
small model is thus not asked for the thousands of runs of the paper's figures.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import pandas as pd

from nasbench.analysis.experiments.definitions import (
    EXPERIMENTS,
    MODELS,
    SEEDS,
    TASKS,
    Experiment,
    RunSpecification,
)
from nasbench.analysis.experiments.selection import (
    every_layer_network,
    has_usual_objectives,
    random_samples,
    trainings,
    usual,
)
from nasbench.analysis.reading.scenarios import of_language_models
from nasbench.analysis.scoring.tracks import DEVICE_CLASSES
from nasbench.analysis.scoring.verdicts import Claim
from nasbench.declarations.model import Track
from nasbench.plugins import registry

Place = tuple[str, str, str, int]
"""Device class, task, model and seed."""
_Training = tuple[str | None, bool]
"""The training of a super-network, and whether it was in SMALL for a run in another space."""
_Key = tuple[Place, str, str, _Training | None]
"""Place, algorithm, space and, for runs of 100 random sub-networks, the training of their super-network."""

_FIRST_RUNS = (("demo", "demo-bert"), ("sst2", "minilm-l6"), ("rte", "roberta-base"))
"""Task and model to suggest if there are no runs, the quickest first."""


@dataclass(frozen=True)
class Inventory:
    """The experiments' runs in a results folder.

    Attributes:
        places: places where any run has ended, sorted.
        complete: complete runs that an experiment can make.
    """

    places: tuple[Place, ...]
    complete: frozenset[_Key]

    def where(self, shows: Callable[[str, str], bool]) -> list[Place]:
        """The places whose task and model satisfy ``shows``."""
        return [place for place in self.places if shows(place[1], place[2])]


@dataclass(frozen=True)
class Shortfall:
    """The missing runs of a figure, in words.

    Attributes:
        has: how many runs there are, such as ``3 of 9 runs``.
        command: a command that makes missing runs.
        effect: its effect, such as ``makes the others``.
    """

    has: str
    command: str
    effect: str

    def __str__(self) -> str:
        return f"{self.has}; `{self.command}` {self.effect}"


def take_inventory(runs: pd.DataFrame) -> Inventory:
    """The inventory of runs that have ended.

    Runs on users' own tasks, on language modelling, on tables and with other objectives are left out: no experiment
    contains them.
    """
    keep = (runs["track"] != "user") & runs["device_class"].isin(DEVICE_CLASSES) & has_usual_objectives(runs)
    runs = runs[keep.to_numpy() & ~of_language_models(runs)].reset_index(drop=True)
    own, shared = random_samples(runs), random_samples(runs, shared=True)
    studied = every_layer_network(runs)
    plain = usual(runs) & (runs["status"] == "complete").to_numpy()
    names = trainings(runs)
    columns = ["device_class", "task", "model", "seed", "algorithm", "space"]
    rows = [(tuple(row[:4]), row[4], row[5]) for row in runs[columns].itertuples(index=False, name=None)]
    complete: set[_Key] = set()
    for i, row in enumerate(rows):
        if own[i] or shared[i]:
            complete.add((*row, (names[i], not own[i])))
        elif studied[i] and row[1].startswith("ws-nas"):
            complete.add((*row, (names[i], False)))
        elif plain[i] or studied[i]:
            complete.add((*row, None))
    return Inventory(tuple(sorted({place for place, *_ in rows})), frozenset(complete))


def beginning(experiment: Experiment, shows: Callable[[str, str], bool]) -> Shortfall:
    """The shortfall of a figure without any place among the results.

    Args:
        experiment: the experiment that makes the figure's runs.
        shows: whether the figure shows a task and a model.
    """
    task, model = next((task, model) for task, model in _FIRST_RUNS if shows(task, model))
    n_runs = len(experiment.runs((task,), (model,), (0,)))
    return Shortfall("no run", _command(experiment, (task,), (model,), (0,)), f"makes the first {n_runs}")


def shortfall(experiment: Experiment, inventory: Inventory, places: Sequence[Place]) -> Shortfall | None:
    """The shortfall of a figure that needs an experiment's runs at these places; None if it has all of them."""
    wanted = {place: list(experiment.make(*place[1:])) for place in places}
    lacking = {
        place: n
        for place, runs in wanted.items()
        if (n := sum(_key(place[0], run) not in inventory.complete for run in runs))
    }
    if not lacking:
        return None
    n_wanted, n_lacking = sum(map(len, wanted.values())), sum(lacking.values())
    several_devices = len({device for device, *_ in inventory.places}) > 1
    command, n_made = _largest_command(experiment, lacking, several_devices)
    if n_lacking == n_wanted:
        return Shortfall(f"none of {n_wanted} runs", command, _effect("them", n_made, n_lacking))
    return Shortfall(f"{n_wanted - n_lacking} of {n_wanted} runs", command, _effect("the others", n_made, n_lacking))


def command_for(claim: Claim, inventory: Inventory, places: Sequence[Place]) -> str | None:
    """The command that makes runs for a claim without a verdict; None if no runs of its section can judge it.

    Args:
        inventory: that of the whole folder: a command names the device if there are several.
        places: those of the section, one track and device class.
    """
    if not claim.experiment:
        return claim.command
    tasks = claim.contrasts if claim.task is None else (claim.task,)
    lacks = shortfall(EXPERIMENTS[claim.experiment], inventory, _on_tasks(places, tasks) if tasks else places)
    return None if lacks is None else lacks.command


def _on_tasks(places: Iterable[Place], tasks: Sequence[str]) -> list[Place]:
    """The places on these tasks with the same devices, models and seeds, unless their runs belong to another track."""
    known, models = registry.tasks(), registry.models()

    def track(task: str, model: str) -> Track | None:
        return known[task].track_of(models[model]) if task in known and model in models else None

    return sorted(
        {
            (device, task, model, seed)
            for device, own, model, seed in places
            for task in tasks
            if track(task, model) == track(own, model)
        }
    )


def _key(device_class: str, run: RunSpecification) -> _Key:
    algorithm = run.method if run.searcher is None else f"{run.method}/{run.searcher}"
    training = None
    if run.max_evaluations is not None and run.super_network is not None:
        training = (run.super_network.training, run.super_network.trained_in != run.space)
    return (device_class, run.task, run.model, run.seed), algorithm, run.space, training


def _effect(them: str, n_made: int, n_lacking: int) -> str:
    return f"makes {them}" if n_made == n_lacking else f"makes {n_made} of {them}"


def _largest_command(experiment: Experiment, lacking: dict[Place, int], names_device: bool) -> tuple[str, int]:
    """The command that makes the most missing runs, and their number.

    A command makes all its tasks on all its models with all its seeds. Tasks therefore share a command only if they
    lack the same seeds, and models only if they lack the same tasks and seeds. Otherwise the command would make
    unwanted runs, such as the demo task on a large model.
    """
    seeds_of: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    tasks_of: dict[tuple[str, str, tuple[int, ...]], list[str]] = defaultdict(list)
    models_of: dict[tuple[str, tuple[str, ...], tuple[int, ...]], list[str]] = defaultdict(list)
    for device, task, model, seed in sorted(lacking):
        seeds_of[device, model, task].append(seed)
    for (device, model, task), found in seeds_of.items():
        tasks_of[device, model, tuple(found)].append(task)
    for (device, model, seeds), names in tasks_of.items():
        models_of[device, _ordered(names, TASKS), seeds].append(model)
    made = {
        (device, tasks, _ordered(names, MODELS), seeds): sum(
            lacking[device, task, model, seed] for task, model, seed in product(tasks, names, seeds)
        )
        for (device, tasks, seeds), names in models_of.items()
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
