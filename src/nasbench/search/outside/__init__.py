"""Optimisers of other libraries as searchers, by name: ``optuna:NSGAIISampler``, ``pymoo:SMSEMOA``.

A run with one of them can be official only if the library has the version in :data:`PINNED`, so that others get the
same proposals.

May import: ``search``, ``errors``, ``arrays``, ``networks``.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version

from nasbench.errors import UnknownName, UserError, first_line
from nasbench.search.searcher import Searcher

LIBRARIES = {
    "optuna": "nasbench.search.outside.optuna_adapter",
    "pymoo": "nasbench.search.outside.pymoo_adapter",
    "syne-tune": "nasbench.search.outside.syne_tune_adapter",
}
"""Module of the adapter for each library. Its function ``load(name)`` makes the class of a searcher."""
PINNED = {"optuna": "5.0.0", "pymoo": "0.6.2", "syne-tune": "0.16.0"}
"""Version of each library that official runs use."""


def is_outside(name: str) -> bool:
    """Whether the name of a searcher has the form ``library:optimiser``."""
    return ":" in name


def find(name: str) -> type[Searcher]:
    """The searcher of an optimiser of another library.

    Args:
        name: ``library:optimiser``.

    Raises:
        UnknownName: for a library without adapter.
        UserError: if the library, or another package that the optimiser needs, is not installed, or the library has no
            such optimiser.
    """
    library, _, optimiser = name.partition(":")
    if library not in LIBRARIES:
        raise UnknownName("library of searchers", library, LIBRARIES)
    try:
        found: type[Searcher] = importlib.import_module(LIBRARIES[library]).load(optimiser)
    except ImportError as error:
        text, missing = first_line(error), (error.name or "").partition(".")[0]
        if missing == library.replace("-", "_"):
            remedy = f"pip install {library}=={PINNED[library]}"
            raise UserError(f"searcher {name!r} needs {library}: {remedy} ({text})") from error
        # The library is there. What the optimiser needs besides, only the library knows.
        remedy = text if "pip install" in text else f"{text}; install that package"
        raise UserError(f"searcher {name!r} needs another package beside {library}: {remedy}") from error
    return found


def other_version(name: str) -> str | None:
    """Why a run with this searcher is unofficial: the installed version is not the pinned one. None if it is.

    Args:
        name: ``library:optimiser``, of an installed library.
    """
    library = name.partition(":")[0]
    installed, pinned = version(library), PINNED[library]
    return None if installed == pinned else f"{library} {installed} is installed, official runs use {pinned}"
