"""``nasbench check``: the contracts of methods and searchers, a line each."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nasbench.errors import UnknownName, UserError, in_one_line
from nasbench.plugins import registry
from nasbench.plugins.method import Method
from nasbench.search.searcher import Searcher

Line = tuple[bool, str, str]
"""Whether a check passed, its name, and what was seen or why it failed."""


def find_targets(target: str, plugins: tuple[Path, ...] = ()) -> list[type[Method] | type[Searcher]]:
    """What is to be checked.

    Args:
        target: the name of a method or searcher, or the path of a file that defines some.

    Raises:
        UserError: if there is no such thing.
    """
    if target.endswith(".py"):
        module = registry.load_file(Path(target))
        found: list[type[Method] | type[Searcher]] = []
        found += registry.defined_in(module, Method)
        found += registry.defined_in(module, Searcher)
        if not found:
            lacks = next(iter(registry.unfinished_in(module)), "defines neither a Method nor a Searcher")
            raise UserError(f"{target} {lacks}")
        return found
    methods, searchers = registry.methods(plugins), registry.searchers(plugins)
    named: list[type[Method] | type[Searcher]] = []
    named += [methods[target]] if target in methods else []
    named += [searchers[target]] if target in searchers else []
    if not named:
        raise UnknownName("method or searcher", target, [*methods, *searchers])
    return named


def check(cls: type[Method] | type[Searcher]) -> Iterator[Line]:
    """Run every check of a class's contract, each in turn, whatever became of those before it."""
    with tempfile.TemporaryDirectory(prefix="nasbench-check-") as folder:
        checks, subject = _contract(cls, Path(folder))
        for name, run in checks.items():
            yield _carry_out(name, run, subject, inspect.getfile(cls))


def _contract(cls: type[Method] | type[Searcher], folder: Path) -> tuple[Mapping[str, Callable[[Any], str]], object]:
    from nasbench.testing.contract import METHOD_CHECKS
    from nasbench.testing.searcher_contract import SEARCHER_CHECKS, SearcherSubject
    from nasbench.testing.subject import MethodSubject

    if issubclass(cls, Method):
        return METHOD_CHECKS, MethodSubject(cls, folder)
    return SEARCHER_CHECKS, SearcherSubject(cls, folder)


def _carry_out(name: str, run: Callable[[Any], str], subject: object, file: str) -> Line:
    try:
        return True, name, run(subject)
    except AssertionError as error:
        return False, name, " ".join(str(error).split())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code can raise anything; the other checks still run
        return False, name, in_one_line(error, [file])
