"""Griffe extension: the roles in docstrings, as in :func:`name`, become links of the API reference.

A name that does not exist in the package fails the strict build.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Alias, Extension, GriffeLoader, Module, NameResolutionError, Object

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([\w.]+)`")


class Roles(Extension):
    """Replaces roles once the whole package is loaded, so that every name can be found."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: Any) -> None:
        """Replace the roles in all docstrings of a package."""
        if pkg.path == "nasbench":
            self._replace(pkg, loader)

    def _replace(self, owner: Object, loader: GriffeLoader) -> None:
        if owner.docstring is not None:
            owner.docstring.value = ROLE.sub(lambda role: link(role[1], owner, loader), owner.docstring.value)
        for member in owner.members.values():
            if not isinstance(member, Alias):
                self._replace(member, loader)


def link(name: str, owner: Object, loader: GriffeLoader) -> str:
    """A reference for mkdocstrings to what a docstring's name means; code only if the site does not document it."""
    short = name.rpartition(".")[2]
    try:
        path = name if name.startswith("nasbench.") else owner.resolve(name)
        path = loader.modules_collection[path].canonical_path
    except NameResolutionError:  # of Python or another library
        return f"`{short}`"
    except KeyError:
        pass  # the build reports it
    private = any(part.startswith("_") for part in path.split("."))
    return f"`{short}`" if private or not path.startswith("nasbench") else f"[`{short}`][{path}]"
