"""Carry out a request with its method in a process of its own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nasbench.data.hub import hub_caches
from nasbench.data.sources import DATA_DIR_VARIABLE
from nasbench.data.tokens import default_cache_dir
from nasbench.declarations.task import Task
from nasbench.errors import UserError
from nasbench.isolation import transfer
from nasbench.isolation.process import Child, MethodEnded, in_plain_text
from nasbench.isolation.protocol import Ended, Header, ProtocolError
from nasbench.isolation.server import Service
from nasbench.isolation.stand_in import MODULE, stand_in
from nasbench.plugins import registry
from nasbench.plugins.registry import PluginError
from nasbench.plugins.user_task import load_user_task
from nasbench.records.record import RunRecord, RunStatus
from nasbench.runs import runner
from nasbench.runs.context import RunContext
from nasbench.runs.observer import Observer
from nasbench.runs.problem import Problem
from nasbench.runs.request import RunRequest, make_request


def is_foreign(method: str | type[Any], searcher: str | type[Any] | None, plugins: Sequence[Path]) -> bool:
    """Whether a run's method or searcher comes from outside the suite, so that it runs isolated by default.

    Nothing is imported for the answer. A class is trusted: whoever has it has imported it.
    """
    if plugins:
        return isinstance(method, str)
    named = ((registry.methods, method), (registry.searchers, searcher))
    return any(
        isinstance(name, str) and name in catalogue() and not catalogue().is_of_suite(name) for catalogue, name in named
    )


@contextmanager
def prepared(
    isolate: bool | None, method: str | type[Any], task: Any, **arguments: Any
) -> Iterator[tuple[RunRequest, Callable[[Observer | None], RunRecord]]]:
    """The request of a run and the function that carries it out.

    The other arguments are those of :func:`nasbench.runs.request.make_request`.

    Args:
        isolate: whether the method gets a process of its own; None: if it or its searcher is not part of the suite.

    Raises:
        UserError, PluginError: as :func:`nasbench.runs.request.make_request`; and for a class that is to be isolated.
    """
    searcher = arguments.get("searcher")
    is_strange = is_foreign(method, searcher, arguments.get("plugins", ()))
    if isolate or (isolate is None and is_strange):
        if not (isinstance(method, str) and isinstance(searcher, str | None)):
            raise UserError("a class that is given runs in this process; to isolate it, put it in a file (--plugin)")
        with isolated(method, task, **arguments) as run:
            yield run.request, run.run
    else:
        request = make_request(method, task, **arguments)
        request = trusting(request) if is_strange else request
        yield request, partial(runner.run, request)


def trusting(request: RunRequest) -> RunRequest:
    """The request of a stranger's method that the user lets run in the harness's process. The record says so."""
    return dataclasses.replace(
        request, unofficial=(*request.unofficial, "the method shared the harness's process (--no-isolate)")
    )


class Isolated:
    """A request whose method lives in a process of its own. Close it when it is no longer needed.

    Attributes:
        request: the request; its method and searcher are stand-ins.
        notices: one line for each protection that this system does not give.
    """

    def __init__(self, request: RunRequest, child: Child) -> None:
        self.request, self._child = request, child

    @property
    def notices(self) -> list[str]:
        return [f"isolation: this system does not allow all of it: {text}" for text in self._child.protections.missing]

    def run(self, observer: Observer | None = None) -> RunRecord:
        """Carry out the request, or resume its run, as :func:`nasbench.runs.runner.run` does."""
        return runner.run(self.request, observer, carry_out=self._carry_out)

    def close(self) -> None:
        """End the method's process."""
        self._child.close()

    def _carry_out(self, request: RunRequest, problem: Problem, context: RunContext) -> tuple[RunStatus, str | None]:
        for line in self.notices:
            context.observer.notice(line)
        with context.budget.uncharged("isolation"):
            service = Service(problem, context, self._child)
            start, arrays = _start(request, problem, context)
        status, reason = service.serve(start, arrays)
        if status == "failed":
            return "failed", reason
        return runner.verdict(problem, context.folder, len(context.recorded))


@contextmanager
def isolated(
    method: str,
    task: Any,
    *,
    searcher: str | None = None,
    settings: Sequence[str] = (),
    plugins: tuple[Path, ...] = (),
    data_dir: Path | None = None,
    results: Path = Path("runs"),
    memory_bytes: int | None = None,
    **arguments: Any,
) -> Iterator[Isolated]:
    """The isolated request behind ``nasbench run --isolate``. Leaving the context ends the method's process.

    The other arguments are those of :func:`nasbench.runs.request.make_request`; method and searcher are names.

    Args:
        memory_bytes: limit of the method's memory; None for most of what is free.

    Raises:
        UserError: for everything that does not exist or does not fit together.
        PluginError: for a plugin that cannot be used.
    """
    child = Child(plugins, [results, *_places_of_data(data_dir), *_own_files(task)], memory_bytes)
    try:
        described = _described(child, method, searcher, settings, plugins)
        module = MODULE if is_foreign(method, searcher, plugins) else __name__
        chosen, chosen_options = stand_in(described["method"], module)
        found, found_options = None, None
        if described["searcher"] is not None:
            found, found_options = stand_in(described["searcher"], module)
        elif chosen.default_searcher is not None:  # looking up the name could import a package of the stranger's choice
            raise PluginError(f"method {chosen.name!r} names a searcher and does not describe it")
        request = make_request(chosen, task, searcher=found, data_dir=data_dir, results=results, **arguments)
        request = dataclasses.replace(
            request,
            method_options=chosen_options,
            searcher_options=found_options,
            isolation=dataclasses.asdict(child.protections),
        )
        yield Isolated(request, child)
    finally:
        child.close()


def _places_of_data(data_dir: Path | None) -> list[Path]:
    """The folder of local data, and the caches with texts of the test split or whole data sets."""
    local = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    return [*([Path(local)] if local else []), default_cache_dir(), *hub_caches()]


def _own_files(task: Any) -> list[Path]:
    """The data of a user's own task: files and, for a pattern, the folder of those that match."""
    declared = load_user_task(Path(task))[0] if isinstance(task, str) and task.endswith(".toml") else task
    if not isinstance(declared, Task):
        return []
    paths = map(Path, declared.data.local_files.values())
    return [path if path.exists() else path.parent for path in paths]


def _described(
    child: Child, method: str, searcher: str | None, settings: Sequence[str], plugins: tuple[Path, ...]
) -> Header:
    """What the child says about method and searcher."""
    paths = [str(path.resolve()) for path in plugins]
    for path in plugins:
        if not path.is_file() or path.suffix != ".py":
            raise UserError(f"no plugin file {path}: a plugin is a Python file ending in .py")
    what = ", ".join(map(str, plugins)) or method
    try:
        child.channel.send(
            {"plugins": paths, "method": method, "searcher": searcher, "settings": list(settings)},
        )
        answer, _ = child.channel.receive()
    except Ended:
        raise PluginError(f"{what}: {child.end_reason()}") from None
    except MethodEnded as error:
        raise PluginError(f"{what}: {error}") from None
    except ProtocolError as error:
        raise PluginError(f"{what}: the method's process sent {error}") from None
    if "error" in answer:
        kind = PluginError if answer["error"] == "PluginError" else UserError
        text = in_plain_text(answer.get("message"))
        for resolved, given in zip(paths, plugins, strict=True):
            text = text.replace(resolved, str(given))
        raise kind(text)
    if not isinstance(answer.get("method"), dict) or not isinstance(answer.get("searcher"), dict | None):
        raise PluginError(f"{what}: the method's process describes no method")
    return answer


def _start(request: RunRequest, problem: Problem, context: RunContext) -> tuple[Header, list[Any]]:
    """All that the method may know of the run: no test data."""
    network = problem.pretrained()
    seconds = context.budget.seconds
    header = {
        "declarations": transfer.declarations(request.task, request.model),
        "space": request.space,
        "costs": context.costs.describe(problem.dims),
        "dims": problem.dims.to_json(),
        "seed": request.seed,
        "pad_id": problem.pad_id,
        "device": request.device,
        "threads": torch.get_num_threads(),
        "seconds": None if seconds == float("inf") else seconds,
        "folder": str(context.folder.path),
        "shortened": context.shortened,
        "trained": context.trained,
        "n_choices": problem.train.n_choices,
        "architecture": transfer.architecture(network),
        "repeating": problem.is_repeating,
        "n": problem.n_evaluations,
    }
    splits = [array for split in (problem.train, problem.validation) for array in transfer.split_arrays(split)]
    return header, [*splits, *transfer.weights_of(network)]
