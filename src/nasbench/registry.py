"""Finds tasks, models, methods and searchers by name.

The plugin rule: leaves import the engine, the engine finds the leaves. In-tree leaves are the modules of the packages
below, an outsider's are entry points (groups ``nasbench.methods``, ``nasbench.searchers``, ``nasbench.tasks``) or a file
named with ``--plugin``; all are held to the same contract.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from nasbench.errors import NasbenchError, UnknownName, UserError
from nasbench.method import Method
from nasbench.searcher import Searcher
from nasbench.task import Model, Task

T = TypeVar("T")
_LEAVES = ("nasbench.methods", "nasbench.baselines")


class PluginError(NasbenchError):
    """A plugin that cannot be imported or does not define what it promises."""


def tasks() -> dict[str, Task]:
    """All declared tasks by name, plugins' included."""
    from nasbench import benchmark

    return _with_entry_points({task.name: task for task in benchmark.TASKS}, "nasbench.tasks", Task)


def models() -> dict[str, Model]:
    """All declared models by name."""
    from nasbench import benchmark

    return {model.name: model for model in benchmark.MODELS}


def methods(plugins: tuple[Path, ...] = ()) -> dict[str, type[Method]]:
    """All methods by name: in the tree, from entry points, and in the given plugin files."""
    return _classes(Method, "nasbench.methods", plugins)


def searchers(plugins: tuple[Path, ...] = ()) -> dict[str, type[Searcher]]:
    """All searchers by name, from the same three places."""
    return _classes(Searcher, "nasbench.searchers", plugins)


def find(kind: str, name: str, known: Mapping[str, T]) -> T:
    """The entry of that name, or an :class:`UnknownName` with the nearest one."""
    if name not in known:
        raise UnknownName(kind, name, known)
    return known[name]


def _classes(base: type[T], group: str, plugins: tuple[Path, ...]) -> dict[str, type[T]]:
    found: dict[str, type[T]] = {}
    modules = [module for leaf in _LEAVES for module in _modules(leaf)] + [load_file(path) for path in plugins]
    for module in modules:
        for cls in _defined_in(module, base):
            found[cls.name] = cls  # type: ignore[attr-defined]
    for point in entry_points(group=group):
        # A broken package must not take the others down with it: it is reported when its own name is asked for.
        if point.name not in found:
            found[point.name] = _LazyEntryPoint.load(point, base)
    return found


class _LazyEntryPoint:
    """Loads an entry point and says whose fault it is if that fails."""

    @staticmethod
    def load(point: EntryPoint, base: type[T]) -> type[T]:
        try:
            cls = point.load()
        except Exception as error:  # noqa: BLE001 - a stranger's module can raise anything
            raise PluginError(f"plugin {point.name!r} ({point.value}) cannot be imported: {error!r}") from error
        if not (inspect.isclass(cls) and issubclass(cls, base)):
            raise PluginError(f"plugin {point.name!r} ({point.value}) is not a subclass of {base.__name__}")
        return cls


def _with_entry_points(found: dict[str, T], group: str, kind: type[T]) -> dict[str, T]:
    for point in entry_points(group=group):
        declared = point.load()
        if not isinstance(declared, kind):
            raise PluginError(f"entry point {point.name!r} ({point.value}) is not a {kind.__name__}")
        found.setdefault(point.name, declared)
    return found


def _modules(package: str) -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        yield importlib.import_module(f"{package}.{info.name}")


def _defined_in(module: ModuleType, base: type[T]) -> Iterator[type[T]]:
    for cls in vars(module).values():
        if inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module.__name__:
            if not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
                yield cls


def load_file(path: Path) -> ModuleType:
    """Import a plugin from a file.

    Raises:
        UserError: if there is no such file.
        PluginError: if importing it raises.
    """
    if not path.is_file():
        raise UserError(f"no plugin file {path}")
    name = f"nasbench_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - a stranger's module can raise anything
        del sys.modules[name]
        raise PluginError(f"plugin {path} cannot be imported: {error!r}") from error
    return module
