"""Finds tasks, models, methods and searchers by name.

The plugin rule: leaves import the engine, the engine finds the leaves. In-tree leaves are the modules of the packages
below, an outsider's are entry points (groups ``nasbench.methods``, ``nasbench.searchers``, ``nasbench.tasks``) or a
file named with ``--plugin``; all are held to the same contract.

Every function here answers with a :class:`Catalogue`: names first, the things behind them only when asked for. An entry
point is imported when its name is looked up and not before, so a broken package takes down nothing but itself.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from nasbench.declarations.model import Model
from nasbench.declarations.task import Task
from nasbench.errors import NasbenchError, UnknownName, UserError
from nasbench.networks.space import SPACES
from nasbench.plugins.method import Method
from nasbench.search.searcher import Searcher

T = TypeVar("T")
DECLARATIONS = "nasbench.benchmark"
_LEAVES = ("nasbench.methods", "nasbench.baselines")


class PluginError(NasbenchError):
    """A plugin that cannot be imported or does not define what it promises."""


@dataclass(frozen=True)
class _Source(Generic[T]):
    """Where a name comes from, for messages, and how to get at the thing."""

    place: str
    load: Callable[[], T]


class Catalogue(Mapping[str, T]):
    """Things of one kind by name. A look-up imports what it has to and raises :class:`PluginError` if that fails."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._sources: dict[str, list[_Source[T]]] = {}

    def add(self, name: str, place: str, load: Callable[[], T]) -> None:
        """Enter a name. Two things of one name are an error, but only for who asks for it."""
        self._sources.setdefault(name, []).append(_Source(place, load))

    def place(self, name: str) -> str:
        """Where that name comes from: a module, an entry point, a file."""
        return " and ".join(source.place for source in self._sources[name])

    def __getitem__(self, name: str) -> T:
        sources = self._sources[name]
        if len(sources) > 1:
            raise PluginError(f"{len(sources)} {self.kind}s are called {name!r}: {self.place(name)}; rename one")
        return sources[0].load()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._sources))

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def __repr__(self) -> str:
        return f"<{self.kind}s: {', '.join(self)}>"


def tasks() -> Catalogue[Task]:
    """All declared tasks by name, plugins' included."""
    found = Catalogue[Task]("task")
    for task in suite_tasks():
        found.add(task.name, DECLARATIONS, partial(_same, task))
    for point in entry_points(group="nasbench.tasks"):
        found.add(point.name, _place(point), partial(_load_task, point))
    return found


def suite_tasks() -> tuple[Task, ...]:
    """The suite's own tasks in the order of the figures."""
    declared: tuple[Task, ...] = importlib.import_module(DECLARATIONS).TASKS
    return declared


def paper_tasks() -> tuple[Task, ...]:
    """The paper's tasks by size of the training set."""
    declared: tuple[Task, ...] = importlib.import_module(DECLARATIONS).PAPER_TASKS
    return declared


def models() -> Catalogue[Model]:
    """All declared models by name."""
    found = Catalogue[Model]("model")
    for model in importlib.import_module(DECLARATIONS).MODELS:
        found.add(model.name, DECLARATIONS, partial(_same, model))
    return found


def methods(plugins: tuple[Path, ...] = ()) -> Catalogue[type[Method]]:
    """All methods by name: in the tree, from entry points, and in the given plugin files."""
    return _classes("method", Method, "nasbench.methods", plugins)  # type: ignore[type-abstract]


def searchers(plugins: tuple[Path, ...] = ()) -> Catalogue[type[Searcher]]:
    """All searchers by name, from the same three places."""
    return _classes("searcher", Searcher, "nasbench.searchers", plugins)  # type: ignore[type-abstract]


def find(kind: str, name: str, known: Mapping[str, T]) -> T:
    """The entry of that name, or an :class:`UnknownName` with the nearest one."""
    if name not in known:
        raise UnknownName(kind, name, known)
    return known[name]


def ships(thing: type[object] | Task) -> bool:
    """Whether a method, searcher or task is part of the suite; what is not can be run but not ranked."""
    if isinstance(thing, Task):
        return thing in suite_tasks()
    return thing.__module__.startswith("nasbench.")


def load_file(path: Path) -> ModuleType:
    """Import a plugin from a file, once: the same file again is the same module.

    Raises:
        UserError: if there is no such file.
        PluginError: if importing it raises.
    """
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"no plugin file {path}: a plugin is a Python file ending in .py")
    name = f"nasbench_plugin_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path.resolve()):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None, "a .py file always has a loader"
    assert spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a stranger's module can raise anything
        del sys.modules[name]
        raise PluginError(f"plugin {path} cannot be imported: {error!r}") from error
    return module


def defined_in(module: ModuleType, base: type[T]) -> list[type[T]]:
    """The concrete subclasses of ``base`` that a module defines itself, without those named with an underscore."""
    return [
        cls
        for name, cls in vars(module).items()
        if inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module.__name__
        if not inspect.isabstract(cls) and not name.startswith("_")
    ]


def unfinished_in(module: ModuleType) -> list[str]:
    """What the abstract methods and searchers that a module defines lack, a phrase each."""
    return [
        f"has a class {name} without {min(cls.__abstractmethods__)}()"
        for name, cls in vars(module).items()
        if inspect.isclass(cls) and issubclass(cls, (Method, Searcher)) and cls.__module__ == module.__name__
        if inspect.isabstract(cls) and not name.startswith("_")
    ]


def _classes(kind: str, base: type[T], group: str, plugins: tuple[Path, ...]) -> Catalogue[type[T]]:
    found = Catalogue[type[T]](kind)
    for package in _LEAVES:
        for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
            module = importlib.import_module(f"{package}.{info.name}")
            _add_classes(found, module, base, module.__name__)
    for path in plugins:
        _add_classes(found, load_file(path), base, str(path))
    for point in entry_points(group=group):
        found.add(point.name, _place(point), partial(_load_class, point, base, kind))
    return found


def _add_classes(found: Catalogue[type[T]], module: ModuleType, base: type[T], place: str) -> None:
    for cls in defined_in(module, base):
        name = getattr(cls, "name", None)
        if not isinstance(name, str):
            raise PluginError(f"{place}: class {cls.__name__} has no name; give it one, like name = 'my-{found.kind}'")
        found.add(name, place, partial(checked_class, cls, place))


def checked_class(cls: type[T], place: str) -> type[T]:
    """The class, once what it says about itself has been looked at; in-tree classes and strangers' alike.

    Raises:
        PluginError: if a part of the declaration is missing or of no use.
    """
    what = f"{place}: class {cls.__name__}"
    summary, spaces, options = (getattr(cls, name, None) for name in ("summary", "spaces", "Options"))
    if not isinstance(summary, str):
        raise PluginError(f"{what} has no summary; say in a line what it does")
    if not isinstance(spaces, tuple) or not spaces or not set(spaces) <= set(SPACES):
        raise PluginError(f"{what} has spaces = {spaces!r}; it is a tuple of some of {', '.join(SPACES)}")
    if not (inspect.isclass(options) and dataclasses.is_dataclass(options)):
        raise PluginError(f"{what} has Options that are no dataclass")
    try:
        json.dumps(dataclasses.asdict(options()), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"{what} has Options that a record cannot hold as JSON with their defaults: {error}"
        ) from None
    return cls


def _same(thing: T) -> T:
    return thing


def _place(point: EntryPoint) -> str:
    return f"entry point {point.value}" + (f" of {point.dist.name}" if point.dist else "")


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a stranger's module can raise anything
        raise PluginError(f"plugin {point.name!r} ({_place(point)}) cannot be imported: {error!r}") from error


def _load_class(point: EntryPoint, base: type[T], kind: str) -> type[T]:
    cls = _load(point)
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise PluginError(f"plugin {point.name!r} ({_place(point)}) is not a subclass of {base.__name__}")
    if getattr(cls, "name", None) != point.name:
        raise PluginError(
            f"plugin {point.name!r} ({_place(point)}) calls itself {getattr(cls, 'name', None)!r}; "
            f"the entry point and the {kind} must have one name"
        )
    return checked_class(cls, _place(point))


def _load_task(point: EntryPoint) -> Task:
    declared = _load(point)
    if not isinstance(declared, Task):
        raise PluginError(f"plugin {point.name!r} ({_place(point)}) is not a Task")
    if declared.name != point.name:
        raise PluginError(
            f"plugin {point.name!r} ({_place(point)}) calls itself {declared.name!r}; "
            "the entry point and the task must have one name"
        )
    return declared
