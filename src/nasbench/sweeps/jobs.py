"""The plan of a sweep: which runs it has, and which of them are already made.

A job is a run as JSON values, because another process makes its request again, perhaps on another machine.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from nasbench.errors import NasbenchError, UserError
from nasbench.isolation.running import prepared
from nasbench.plugins import registry
from nasbench.records.record import RunFolder, RunRecord
from nasbench.records.resume import check_precision
from nasbench.records.schema import RecordError
from nasbench.runs import runner
from nasbench.runs.observer import Observer
from nasbench.runs.request import RunRequest, default_model, make_request

Made = Literal["nothing", "started", "complete", "failed"]
"""What an earlier sweep or command has left of a run."""

_FLAGS = {
    "task": "--task", "model": "--model", "method": "--method", "space": "--space", "searcher": "--searcher",
    "seed": "--seed", "device": "--device", "budget_s": "--budget", "max_evaluations": "--max-evaluations",
    "objectives": "--objectives", "precision": "--precision", "data_dir": "--data-dir",
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        arguments: JSON values, the arguments of :func:`nasbench.runs.request.make_request` but ``results``, ``threads``
            and ``device``, which are decided where it runs.
        device: ``cpu`` or ``cuda``.
        name: what tells it from the other runs, for people.
        folder: of its record, below the results folder.
        budget_s: charged seconds, None if only the number of evaluations ends it.
        max_evaluations: the largest number of evaluations, None for no limit.
        super_network: jobs with the same text share a super-network: the first trains it, and the others wait for it.
            None for a run that trains its own.
        isolate: whether the method gets a process of its own; None: if it or its searcher is not part of the suite.
            An isolated run trains its own super-network.
    """

    arguments: Mapping[str, Any]
    device: str
    name: str
    folder: str
    budget_s: float | None
    max_evaluations: int | None
    super_network: str | None = None
    isolate: bool | None = None

    def command(self, results: str) -> str:
        """The command that makes this run alone, to type into a shell."""
        values = {**self.arguments, "device": self.device}
        words = ["nasbench", "run"]
        for name, flag in _FLAGS.items():
            if values.get(name) is not None:
                text = str(values[name])
                words += [flag, text.removesuffix(".0") if name == "budget_s" else text]
        for setting in self.arguments["settings"]:
            words += ["--set", setting]
        for plugin in self.arguments["plugins"]:
            words += ["--plugin", plugin]
        if self.isolate is not None:
            words.append("--isolate" if self.isolate else "--no-isolate")
        return shlex.join([*words, "--results", results])

    @contextmanager
    def prepared(
        self, results: Path, device: str, threads: int | None, shares: bool = False
    ) -> Iterator[tuple[RunRequest, Callable[[Observer | None], RunRecord]]]:
        """The request of this run, where it runs, and the function that carries it out.

        As with ``nasbench run``, a method from outside the suite gets a process of its own by default.

        Args:
            results: the folder below which the record will lie.
            device: as torch names it there.
            threads: of the CPU; None for torch's default.
            shares: whether jobs with the same ``super_network`` find each other's there.

        Raises:
            UserError: for everything that does not exist there or does not fit together.
        """
        arguments = _restored(self.arguments)
        with prepared(self.isolate, **arguments, results=results, device=device, threads=threads) as (
            request,
            carry_out,
        ):
            if shares and self.super_network is not None and request.isolation is None:
                request = dataclasses.replace(request, shares_super_networks=True)
                carry_out = partial(runner.run, request)
            yield request, carry_out

    def to_json(self) -> dict[str, Any]:
        """What another process needs to make the run."""
        return {
            "arguments": dict(self.arguments), "device": self.device, "name": self.name, "folder": self.folder,
            "budget_s": self.budget_s, "max_evaluations": self.max_evaluations, "super_network": self.super_network,
            "isolate": self.isolate,
        }  # fmt: skip


@dataclass(frozen=True)
class Earlier:
    """What is already made of a run.

    Attributes:
        made: how far an earlier attempt came.
        elapsed_s: charged seconds of it.
        reason: why it failed; empty otherwise.
    """

    made: Made
    elapsed_s: float = 0.0
    reason: str = ""


def make_job(
    arguments: Mapping[str, Any], device: str, super_network: str | None = None, isolate: bool | None = None
) -> Job:
    """Check one run and turn it into a job.

    Args:
        arguments: as for :class:`Job`; paths may be relative, the job's are absolute.
        device: ``cpu`` or ``cuda``; whether there is one is found out where the job runs.
        super_network: as for :class:`Job`; ``isolate`` likewise.

    Raises:
        UserError: for a run that cannot be made, or that nothing would end.
    """
    texts = _absolute({name: value for name, value in arguments.items() if value is not None})
    texts = {"settings": [], "plugins": [], **texts}
    request = make_request(**_restored(texts), results=Path(), device=device, check_device=False)
    limit_s = request.effective_budget_s
    if limit_s is None and request.max_evaluations is None:
        usable = default_model(request.task, request.device_class)
        raise UserError(
            f"task {request.task.name!r} has no budget for {request.model.name!r} on a {request.device_class}; give "
            f"--budget SECONDS, or choose the model of all runs with --model, for example --model {usable}"
        )
    identity = request.identity
    name = f"{identity.task} {identity.model} {identity.algorithm} {identity.space} seed {identity.seed}"
    if identity.objectives is not None:
        name += f" {','.join(identity.objectives)}"
    return Job(texts, device, name, str(request.folder), limit_s, request.max_evaluations, super_network, isolate)


def from_json(values: Mapping[str, Any]) -> Job:
    """The job that :meth:`Job.to_json` described."""
    return Job(**values)


def grid(
    methods: Sequence[str],
    tasks: Sequence[str],
    seeds: Sequence[int],
    device: str,
    *,
    models: Sequence[str | None] = (None,),
    spaces: Sequence[str | None] = (None,),
    searchers: Sequence[str | None] = (None,),
    isolate: bool | None = None,
    budget_of: Callable[[str, str | None], float | None] | None = None,
    **common: Any,
) -> list[Job]:
    """Every combination, the seeds slowest: the first seed alone has a run of each method on each task.

    A searcher or space that a method has no use for is left out for that method; a run that then appears twice is made
    once. At least one method must use it.

    Args:
        methods: names.
        tasks: names, or paths of TOML files.
        seeds: of the runs.
        device: ``cpu`` or ``cuda``.
        models: names; None for the task's default.
        spaces: names; None for the default.
        searchers: names; None for the method's default.
        isolate: as for :class:`Job`.
        budget_of: seconds of a run on a task with a model, where a budget has a name.
        common: further arguments of :func:`nasbench.runs.request.make_request`, the same for all runs.

    Raises:
        UserError: before anything runs, for a run that cannot be made.
    """
    plugins = tuple(Path(path) for path in common.get("plugins") or ())
    known = registry.methods(plugins)
    classes = [registry.find("method", name, known) for name in methods]
    if searchers != (None,) and all(method.default_searcher is None for method in classes):
        raise UserError(f"none of the methods {', '.join(methods)} uses a searcher; leave out --searcher")
    jobs: dict[str, Job] = {}
    for seed, task, model, method, space, searcher in product(seeds, tasks, models, classes, spaces, searchers):
        chosen = None if method.default_searcher is None else searcher
        arguments: dict[str, Any] = {
            "method": method.name,
            "task": task,
            "model": model,
            "space": space,
            "searcher": chosen,
        }
        if budget_of is not None:
            arguments["budget_s"] = budget_of(task, model)
        job = make_job({**arguments, "seed": seed, **common}, device, isolate=isolate)
        jobs.setdefault(job.folder, job)
    return list(jobs.values())


def earlier(results: Path, job: Job, *, is_whole: bool = True) -> Earlier:
    """What is already made of a job, from its record.

    A record that cannot be read counts as failed: nothing overwrites it. So does a complete one that has lost
    evaluations or that computed in another precision than the job is to.

    Args:
        is_whole: whether the folder has more than ``run.json``.
    """
    folder = RunFolder(results / job.folder)
    if not folder.exists():
        return Earlier("nothing")
    try:
        record = folder.read_run()
    except RecordError as error:
        return Earlier("failed", reason=str(error))
    elapsed_s = sum(record.charged_s.values())
    if record.status == "running":
        with suppress(RecordError):  # the run itself will say what is wrong
            elapsed_s = max((line.elapsed_s for line in folder.read_evaluations()), default=0.0)
        return Earlier("started", elapsed_s)
    if record.status == "complete":
        try:
            check_precision(record, job.arguments.get("precision"), folder.path)
            if is_whole:
                folder.read_evaluations(record)
        except NasbenchError as error:
            return Earlier("failed", elapsed_s, str(error))
    return Earlier(record.status, elapsed_s, record.reason or "")


def numbers(text: str) -> tuple[int, ...]:
    """Seeds from a text such as ``0-9`` or ``0,2,5-7``, each once, in that order.

    Raises:
        UserError: for anything else.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part, flags=re.ASCII)
        if ends is None:
            raise UserError(f"--seed is a list such as 0-9 or 0,2,5-7, not {text!r}")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if last < first or last - first >= 10_000:
            raise UserError(f"--seed {text}: {part.strip()} has no seeds, or more than 10,000")
        found.update(dict.fromkeys(range(first, last + 1)))
    return tuple(found)


def names(texts: Iterable[str]) -> tuple[str, ...]:
    """Names from texts of several, separated by commas, each once."""
    found = [name.strip() for text in texts for name in text.split(",")]
    return tuple(dict.fromkeys(name for name in found if name))


def _absolute(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with absolute paths as texts: a worker has another working folder."""
    found = dict(arguments)
    if str(found["task"]).endswith(".toml"):
        found["task"] = str(Path(found["task"]).absolute())
    if "data_dir" in found:
        found["data_dir"] = str(Path(found["data_dir"]).absolute())
    found["plugins"] = [str(Path(path).absolute()) for path in found.get("plugins", ())]
    found["settings"] = list(found.get("settings", ()))
    return found


def _restored(arguments: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(arguments)
    if "data_dir" in found:
        found["data_dir"] = Path(found["data_dir"])
    found["plugins"] = tuple(Path(path) for path in found["plugins"])
    return found
