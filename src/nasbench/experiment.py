"""``nasbench experiment``: the runs that a figure needs, one after the other, those that are left to make."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from nasbench import registry, runner, terminal
from nasbench.errors import NasbenchError, UserError
from nasbench.record import RunFolder
from nasbench.request import make_request


def runs(name: str, tasks: Sequence[str] = (), models: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Any]:
    """The runs of an experiment, restricted where something is given.

    Returns:
        :class:`nasbench.analysis.experiments.RunSpecification` each.

    Raises:
        UnknownName: for an experiment, task or model that does not exist.
    """
    for kind, names, known in (("task", tasks, registry.tasks()), ("model", models, registry.models())):
        for asked in names:
            registry.find(kind, asked, known)
    if any(seed < 0 for seed in seeds):
        raise UserError(f"--seed is 0 or more, not {min(seeds)}")
    module = importlib.import_module("nasbench.analysis.experiments")
    restricted = {"tasks": tuple(tasks), "models": tuple(models), "seeds": tuple(seeds)}
    found: list[Any] = module.find_experiment(name).runs(**{key: value for key, value in restricted.items() if value})
    return found


def carry_out(specifications: Sequence[Any], quiet: bool, device: str, data_dir: Path | None, results: Path) -> int:
    """Make the runs; one that is complete is passed over, one that fails does not keep the others from being made.

    Returns:
        How many failed.
    """
    console, n_failed = Console(highlight=False), 0
    for number, wanted in enumerate(specifications, start=1):
        console.print(Text(f"\n[{number} of {len(specifications)}] {wanted.command()}"), soft_wrap=True)
        try:
            failure = _run(wanted, quiet, device, data_dir, results)
        except NasbenchError as error:
            failure = str(error)
        if failure is not None:
            n_failed += 1
            console.print(Text(f"failed: {failure}", style="red"))
    return n_failed


def _run(wanted: Any, quiet: bool, device: str, data_dir: Path | None, results: Path) -> str | None:
    """Make one run; why it failed, None if it did not."""
    request = make_request(
        wanted.method,
        wanted.task,
        model=wanted.model,
        space=wanted.space,
        searcher=wanted.searcher,
        settings=[f"{name}={value}" for name, value in wanted.options.items()],
        seed=wanted.seed,
        device=device,
        data_dir=data_dir,
        results=results,
        max_evaluations=wanted.max_evaluations,
    )
    folder = RunFolder(request.folder)
    if folder.exists() and folder.read_run().status == "complete":
        Console(highlight=False).print("complete already")
        return None
    with terminal.observer(quiet) as view:
        shared = dataclasses.replace(request, shares_super_networks=wanted.super_network is not None)
        record = runner.run(shared, view)
    return record.reason or "without a reason" if record.status == "failed" else None
