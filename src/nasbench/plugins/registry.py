"""Finds tasks, models, methods and searchers by name.

The plugin rule: leaves import the engine, and the engine finds the leaves by name. The suite's own leaves are the
modules of the packages below. Other leaves are entry points (groups ``nasbench.methods``, ``nasbench.searchers``,
``nasbench.tasks``) or files named with ``--plugin``. All follow the same contract.

``tasks``, ``models``, ``methods`` and ``searchers`` return a :class:`Catalogue` of names. A catalogue imports an entry
point only when its name is looked up, so a broken package does not affect the others.
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
from nasbench.declarations.section import Section
from nasbench.declarations.task import Task
from nasbench.errors import NasbenchError, UnknownName, UserError
from nasbench.networks.space import EVERY_SPACE
from nasbench.plugins.method import Method
from nasbench.search.searcher import Searcher

T = TypeVar("T")
DECLARATIONS = "nasbench.benchmark"
LEAVES = ("nasbench.methods", "nasbench.baselines")
"""The packages of the suite's own methods and searchers, one file each."""


class PluginError(NasbenchError):
    """A plugin cannot be imported, or does not define what it advertises."""


@dataclass(frozen=True)
class _Source(Generic[T]):
    """The place that defines a name, for messages, and a function that loads the object."""

    place: str
    load: Callable[[], T]


class Catalogue(Mapping[str, T]):
    """Objects of one kind by name. A look-up imports the object and raises :class:`PluginError` if that fails."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._sources: dict[str, list[_Source[T]]] = {}

    def add(self, name: str, place: str, load: Callable[[], T]) -> None:
        """Add a name. If two objects have the same name, only looking up that name is an error."""
        self._sources.setdefault(name, []).append(_Source(place, load))

    def place(self, name: str) -> str:
        """The place that defines a name: a module, an entry point or a file."""
        return " and ".join(source.place for source in self._sources[name])

    def is_of_suite(self, name: str) -> bool:
        """Whether a name is a part of the suite. Nothing is imported for the answer."""
        return name in self._sources and self.place(name).startswith("nasbench.")

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
    """All declared tasks by name, including those of plugins."""
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


def sections() -> tuple[Section, ...]:
    """The declared sections of the leaderboard, in the order in which the leaderboard shows them."""
    declared: tuple[Section, ...] = importlib.import_module(DECLARATIONS).SECTIONS
    return declared


def models() -> Catalogue[Model]:
    """All declared models by name."""
    found = Catalogue[Model]("model")
    for model in importlib.import_module(DECLARATIONS).MODELS:
        found.add(model.name, DECLARATIONS, partial(_same, model))
    return found


def methods(plugins: tuple[Path, ...] = ()) -> Catalogue[type[Method]]:
    """All methods by name, from the suite, entry points and the given plugin files."""
    return _classes("method", Method, "nasbench.methods", plugins)  # type: ignore[type-abstract]


def searchers(plugins: tuple[Path, ...] = ()) -> Catalogue[type[Searcher]]:
    """All searchers by name, from the suite, entry points and the given plugin files."""
    return _classes("searcher", Searcher, "nasbench.searchers", plugins)  # type: ignore[type-abstract]


def find(kind: str, name: str, known: Mapping[str, T]) -> T:
    """The object of that name. Raises :class:`UnknownName`, with the nearest known name, if there is none."""
    if name not in known:
        raise UnknownName(kind, name, known)
    return known[name]


def find_method(name: str, plugins: tuple[Path, ...] = ()) -> type[Method]:
    """The method of that name. Errors as :func:`find`; a :class:`UserError` names a plugin that lacks the class."""
    return _find_class("method", name, methods(plugins), plugins)


def find_searcher(name: str, plugins: tuple[Path, ...] = ()) -> type[Searcher]:
    """The searcher of that name; errors as for :func:`find_method`."""
    return _find_class("searcher", name, searchers(plugins), plugins)


def _find_class(kind: str, name: str, known: Mapping[str, T], plugins: tuple[Path, ...]) -> T:
    if name not in known:
        for path in plugins:
            if (lack := what_lacks(load_file(path))) is not None:
                raise UserError(f"unknown {kind} {name!r}: plugin {path} {lack}")
    return find(kind, name, known)


def ships(thing: type[object] | Task | Model) -> bool:
    """Whether a method, searcher, task or model is part of the suite. Runs of others are not ranked."""
    if isinstance(thing, Task):
        return thing in suite_tasks()
    if isinstance(thing, Model):
        return thing in models().values()
    return thing.__module__.startswith("nasbench.")


def load_file(path: Path) -> ModuleType:
    """Import a plugin from a file. A second call with the same file returns the same module.

    Raises:
        UserError: if there is no such file, or its name does not end in ``.py``.
        PluginError: if importing the file raises.
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
    except (Exception, SystemExit) as error:  # a plugin can raise anything
        del sys.modules[name]
        raise PluginError(f"plugin {path} cannot be imported: {_in_short(error)}") from error
    return module


def defined_in(module: ModuleType, base: type[T]) -> list[type[T]]:
    """The concrete, public subclasses of ``base`` that a module defines itself."""
    return [
        cls
        for name, cls in vars(module).items()
        if inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module.__name__
        if not inspect.isabstract(cls) and not name.startswith("_")
    ]


def unfinished_in(module: ModuleType) -> list[str]:
    """A phrase for each abstract method or searcher that a module defines, saying which function it lacks."""
    return [
        f"has a class {name} without {min(cls.__abstractmethods__)}()"
        for name, cls in vars(module).items()
        if inspect.isclass(cls) and issubclass(cls, (Method, Searcher)) and cls.__module__ == module.__name__
        if inspect.isabstract(cls) and not name.startswith("_")
    ]


def what_lacks(module: ModuleType) -> str | None:
    """A phrase that says why a module has a class that cannot be used, or none at all; None for a usable module."""
    if unfinished := unfinished_in(module):
        return unfinished[0]
    if defined_in(module, Method) or defined_in(module, Searcher):  # type: ignore[type-abstract]
        return None
    return "defines neither a Method nor a Searcher"


def _classes(kind: str, base: type[T], group: str, plugins: tuple[Path, ...]) -> Catalogue[type[T]]:
    found = Catalogue[type[T]](kind)
    for package in LEAVES:
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
        found.add(_name_of(cls, place), place, partial(checked_class, cls, place))


def _name_of(cls: type[object], place: str) -> str:
    name = getattr(cls, "name", None)
    if not isinstance(name, str):
        kind = "method" if issubclass(cls, Method) else "searcher"
        raise PluginError(f"{place}: class {cls.__name__} has no name; give it one, like name = 'my-{kind}'")
    return name


def refuse_name_of_suite(cls: type[object], known: Catalogue[T]) -> None:
    """Refuse a class of a user's own with the name of one of the suite: their runs could not be told apart.

    Raises:
        UserError: for such a class.
    """
    name = getattr(cls, "name", None)
    if isinstance(name, str) and not ships(cls) and known.is_of_suite(name):
        raise UserError(f"class {cls.__name__} has the name of {known.place(name)}: {name!r}; rename your {known.kind}")


def checked_class(cls: type[T], place: str) -> type[T]:
    """The class itself, after a check of its name, summary, spaces and options.

    Raises:
        PluginError: if one of them is missing or invalid.
    """
    _name_of(cls, place)
    what = f"{place}: class {cls.__name__}"
    summary, spaces, options = (getattr(cls, name, None) for name in ("summary", "spaces", "Options"))
    if not isinstance(summary, str):
        raise PluginError(f"{what} has no summary; describe it in one line")
    if not isinstance(spaces, tuple) or not spaces or not set(spaces) <= set(EVERY_SPACE):
        raise PluginError(f"{what} has spaces = {spaces!r}; give a tuple of some of {', '.join(EVERY_SPACE)}")
    if not (inspect.isclass(options) and dataclasses.is_dataclass(options)):
        raise PluginError(f"{what} has Options that are not a dataclass")
    try:
        json.dumps(dataclasses.asdict(options()), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PluginError(f"{what} has Options whose defaults a record cannot hold as JSON: {error}") from None
    return cls


def _in_short(error: BaseException) -> str:
    return f"SyntaxError: {error}" if isinstance(error, SyntaxError) else repr(error)


def _same(thing: T) -> T:
    return thing


def _place(point: EntryPoint) -> str:
    return f"entry point {point.value}" + (f" of {point.dist.name}" if point.dist else "")


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a plugin can raise anything
        raise PluginError(f"plugin {point.name!r} ({_place(point)}) cannot be imported: {_in_short(error)}") from error


def _load_class(point: EntryPoint, base: type[T], kind: str) -> type[T]:
    cls = _load(point)
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise PluginError(f"plugin {point.name!r} ({_place(point)}) is not a subclass of {base.__name__}")
    if getattr(cls, "name", None) != point.name:
        raise PluginError(
            f"plugin {point.name!r} ({_place(point)}) calls itself {getattr(cls, 'name', None)!r}; "
            f"the entry point and the {kind} must have the same name"
        )
    return checked_class(cls, _place(point))


def _load_task(point: EntryPoint) -> Task:
    declared = _load(point)
    if not isinstance(declared, Task):
        raise PluginError(f"plugin {point.name!r} ({_place(point)}) is not a Task")
    if declared.name != point.name:
        raise PluginError(
            f"plugin {point.name!r} ({_place(point)}) calls itself {declared.name!r}; "
            "the entry point and the task must have the same name"
        )
    return declared
