"""``nasbench check``: runs the contract of methods and searchers and reports one line per check."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from nasbench.errors import UnknownName, UserError, in_one_line
from nasbench.plugins import registry
from nasbench.plugins.method import Method
from nasbench.search.searcher import Searcher

Line = tuple[bool, str, str]
"""Whether a check passed, the name of the check, and its observation or the reason why it failed."""


def find_targets(target: str, plugins: tuple[Path, ...] = ()) -> list[type[Method] | type[Searcher]]:
    """The classes to check.

    Args:
        target: the name of a method or searcher, or the path of a Python file that defines methods or searchers.

    Raises:
        UserError: for an unknown name, or a file that defines neither a method nor a searcher.
        PluginError: for a class whose name, summary, spaces or options nobody could use.
    """
    if target.endswith(".py"):
        module = registry.load_file(Path(target))
        found: list[type[Method] | type[Searcher]] = []
        found += registry.defined_in(module, Method)
        found += registry.defined_in(module, Searcher)
        if not found:
            raise UserError(f"{target} {registry.what_lacks(module)}")
        return [registry.checked_class(cls, target) for cls in found]
    methods, searchers = registry.methods(plugins), registry.searchers(plugins)
    named: list[type[Method] | type[Searcher]] = []
    named += [methods[target]] if target in methods else []
    named += [searchers[target]] if target in searchers else []
    if not named:
        raise UnknownName("method or searcher", target, [*methods, *searchers])
    return named


def check(cls: type[Method] | type[Searcher]) -> Iterator[Line]:
    """Run all checks of the contract in turn; a failed check does not stop the later ones."""
    with tempfile.TemporaryDirectory(prefix="nasbench-check-") as folder:
        for name, run in _contract(cls, Path(folder)).items():
            yield _carry_out(name, run, inspect.getfile(cls))


def _contract(cls: type[Method] | type[Searcher], folder: Path) -> dict[str, Callable[[], str]]:
    """The checks by name; the runs that they make are written below ``folder``."""
    from nasbench.testing.contract import METHOD_CHECKS
    from nasbench.testing.searcher_contract import SEARCHER_CHECKS, SearcherSubject
    from nasbench.testing.subject import MethodSubject

    if issubclass(cls, Method):
        method = MethodSubject(cls, folder)
        return {name: partial(run, method) for name, run in METHOD_CHECKS.items()}
    searcher = SearcherSubject(cls, folder)
    return {name: partial(run, searcher) for name, run in SEARCHER_CHECKS.items()}


def _carry_out(name: str, run: Callable[[], str], file: str) -> Line:
    try:
        return True, name, run()
    except AssertionError as error:
        return False, name, " ".join(str(error).split())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin can raise anything; the other checks still run
        return False, name, in_one_line(error, [file])
