"""Classes that stand for a stranger's method and searcher in the parent, which never imports the plugin.

The child describes a class in JSON; the parent makes a class with the same name, spaces and options. It can be asked
for, recorded and compared, and cannot run.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from nasbench.errors import UserError
from nasbench.networks.space import EVERY_SPACE
from nasbench.objectives.declared import MOST_OBJECTIVES
from nasbench.plugins import options
from nasbench.plugins.method import Method
from nasbench.search.searcher import MultiFidelitySearcher, Searcher

MODULE = "nasbench_isolated"
"""The module of the stand-ins; it is not one of the suite's."""
MAX_NAME = 80
_FLAGS = ("multi_fidelity", "evaluates_depths", "adds_output_biases", "expects_depths")


def describe(cls: type[Any], chosen: Any) -> dict[str, Any]:
    """A method or searcher and its chosen options, as JSON.

    Raises:
        UserError: for an option that a record cannot hold.
    """
    return {
        "name": cls.name,
        "summary": cls.summary,
        "spaces": list(cls.spaces),
        "default_searcher": getattr(cls, "default_searcher", None),
        "is_searcher": issubclass(cls, Searcher),
        "stops_early": issubclass(cls, MultiFidelitySearcher),
        **{flag: bool(getattr(cls, flag, False)) for flag in _FLAGS},
        "most_objectives": getattr(cls, "most_objectives", 2),
        "defaults": options.to_json(cls.Options()),
        "options": options.to_json(chosen),
    }


def stand_in(description: Mapping[str, Any], module: str = MODULE) -> tuple[type[Any], Any]:
    """A class that stands for the described one, and an instance of its ``Options``.

    Args:
        module: the module that the class names as its own: one of the suite's if it stands for a class of the suite.

    Raises:
        UserError: if the description is not one of a method or searcher.
    """
    name, spaces = description.get("name"), description.get("spaces")
    if not (isinstance(name, str) and re.fullmatch(r"[\w.:+-]+", name) and len(name) <= MAX_NAME):
        raise UserError(
            f"a method's or searcher's name has 1 to {MAX_NAME} letters, digits, '.', '_', '-', not "
            f"{str(name)[:MAX_NAME]!r}"
        )
    if not (isinstance(spaces, list) and spaces and set(map(str, spaces)) <= set(EVERY_SPACE)):
        raise UserError(f"{name!r} has spaces {str(spaces)[:MAX_NAME]}; give some of {', '.join(EVERY_SPACE)}")
    defaults, chosen = description.get("defaults"), description.get("options")
    if not (isinstance(defaults, dict) and isinstance(chosen, dict) and defaults.keys() == chosen.keys()):
        raise UserError(f"{name!r} describes no options")
    fields = [(key, Any, dataclasses.field(default_factory=partial(_same, value))) for key, value in defaults.items()]
    try:
        made = dataclasses.make_dataclass("Options", fields, frozen=True)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name!r} has an option whose name cannot be used: {error}") from None
    is_searcher = description.get("is_searcher") is True
    base = Method if not is_searcher else MultiFidelitySearcher if description.get("stops_early") is True else Searcher
    searcher = description.get("default_searcher")
    attributes = {
        "__module__": module,
        "name": name,
        "summary": str(description.get("summary")),
        "spaces": tuple(spaces),
        "default_searcher": searcher if isinstance(searcher, str) else None,
        "Options": made,
        "most_objectives": MOST_OBJECTIVES if description.get("most_objectives") == MOST_OBJECTIVES else 2,
        **{flag: description.get(flag) is True for flag in _FLAGS},
    }
    return type("StandIn", (base,), attributes), made(**chosen)


def _same(value: Any) -> Any:
    return value
