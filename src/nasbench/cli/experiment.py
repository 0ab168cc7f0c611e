"""``nasbench experiment``: makes the missing runs of a figure, one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.text import Text

from nasbench.analysis.experiments.definitions import MODELS, SEEDS, TASKS, RunSpecification, find_experiment
from nasbench.cli import terminal
from nasbench.errors import NasbenchError, UserError
from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.runs import runner
from nasbench.runs.request import RunRequest, default_model, make_request


def runs(
    name: str, tasks: Sequence[str] = (), models: Sequence[str] = (), seeds: Sequence[int] = ()
) -> list[RunSpecification]:
    """The runs of an experiment.

    Args:
        tasks: make only these; empty for those of the paper.
        models: likewise.
        seeds: likewise.

    Raises:
        UnknownName: for an experiment, task or model that does not exist.
        UserError: for a negative seed.
    """
    for kind, names, known in (("task", tasks, registry.tasks()), ("model", models, registry.models())):
        for asked in names:
            registry.find(kind, asked, known)
    if any(seed < 0 for seed in seeds):
        raise UserError(f"--seed is 0 or more, not {min(seeds)}")
    return find_experiment(name).runs(tuple(tasks) or TASKS, tuple(models) or MODELS, tuple(seeds) or SEEDS)


def commands(
    specifications: Sequence[RunSpecification], device: str, data_dir: Path | None, results: Path
) -> Iterator[str]:
    """The command of each run, with the options that differ from their defaults.

    The command of a complete run ends in the comment ``# complete``.
    """
    for wanted in specifications:
        # Building a request takes seconds. Without a folder for this task and model no run can be complete.
        made = (results / wanted.task / wanted.model).is_dir()
        complete = made and _is_complete(_request(wanted, device, data_dir, results))
        yield _command(wanted, device, data_dir, results) + ("  # complete" if complete else "")


def carry_out(
    specifications: Sequence[RunSpecification], quiet: bool, device: str, data_dir: Path | None, results: Path
) -> int:
    """Make the runs. Complete runs are skipped; a failed run does not stop the others.

    Returns:
        The number of failed runs.

    Raises:
        UserError: before the first run, if any of the runs is impossible.
    """
    console, n_failed = Console(highlight=False), 0
    requests = [_request(wanted, device, data_dir, results) for wanted in specifications]
    for request in requests:
        if request.effective_budget_s is None and request.max_evaluations is None:
            usable = default_model(request.task, request.device_class)
            raise UserError(
                f"task {request.task.name!r} has no budget for {request.model.name!r} on a {request.device_class}; "
                f"choose the model of all runs with --model, for example --model {usable}"
            )
    for number, (wanted, request) in enumerate(zip(specifications, requests, strict=True), start=1):
        command = _command(wanted, device, data_dir, results)
        console.print(Text(f"\n[{number} of {len(specifications)}] {command}"), soft_wrap=True)
        try:
            failure = _run(request, quiet)
        except NasbenchError as error:
            failure = str(error)
        if failure is not None:
            n_failed += 1
            console.print(Text(f"failed: {failure}", style="red"))
    return n_failed


def _command(wanted: RunSpecification, device: str, data_dir: Path | None, results: Path) -> str:
    """The command of a run, with these options unless they are the defaults of ``nasbench run``."""
    options = [("--device", device, "auto"), ("--data-dir", data_dir, None), ("--results", results, Path("runs"))]
    given = [(flag, str(value)) for flag, value, default in options if value != default]
    return wanted.command(*chain.from_iterable(given))


def _request(wanted: RunSpecification, device: str, data_dir: Path | None, results: Path) -> RunRequest:
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
    return dataclasses.replace(request, shares_super_networks=wanted.super_network is not None)


def _is_complete(request: RunRequest) -> bool:
    folder = RunFolder(request.folder)
    return folder.exists() and folder.read_run().status == "complete"


def _run(request: RunRequest, quiet: bool) -> str | None:
    """Make one run. Returns why it failed, None if it succeeded."""
    if _is_complete(request):
        Console(highlight=False).print("complete already")
        return None
    with terminal.observer(quiet) as view:
        record = runner.run(request, view)
    return record.reason or "without a reason" if record.status == "failed" else None
