"""Optimisers of other libraries as searchers, by name: ``optuna:NSGAIISampler``, ``pymoo:SMSEMOA``.

The module of their classes is that of the library, so that runs with them are unofficial.

May import: ``search``, ``errors``, ``arrays``, ``networks``.
"""

from __future__ import annotations

import importlib

from nasbench.errors import UnknownName, UserError
from nasbench.search.searcher import Searcher

LIBRARIES = {
    "optuna": "nasbench.search.outside.optuna_adapter",
    "pymoo": "nasbench.search.outside.pymoo_adapter",
    "syne-tune": "nasbench.search.outside.syne_tune_adapter",
}
"""Module of the adapter for each library. Its function ``load(name)`` makes the class of a searcher."""


def is_outside(name: str) -> bool:
    """Whether the name of a searcher has the form ``library:optimiser``."""
    return ":" in name


def find(name: str) -> type[Searcher]:
    """The searcher of an optimiser of another library.

    Args:
        name: ``library:optimiser``.

    Raises:
        UnknownName: for a library without adapter.
        UserError: if the library is not installed or has no such optimiser.
    """
    library, _, optimiser = name.partition(":")
    if library not in LIBRARIES:
        raise UnknownName("library of searchers", library, LIBRARIES)
    try:
        found: type[Searcher] = importlib.import_module(LIBRARIES[library]).load(optimiser)
    except ImportError as error:
        raise UserError(f"searcher {name!r} needs {library}: pip install {library} ({error})") from error
    return found
