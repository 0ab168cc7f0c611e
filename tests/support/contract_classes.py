"""Which methods have a test class of their own, derived from ``MethodContract``."""

from __future__ import annotations

import ast
from pathlib import Path


def methods_with_a_class(folder: Path) -> set[str]:
    """The methods, as ``module.Class``, that a class below a folder checks in their usual space, with their searcher.

    The files are read and not imported. A class that may be skipped, or that overrides a check, does not count.
    """
    found = set()
    for file in folder.rglob("test_*.py"):
        if "(MethodContract)" not in (text := file.read_text(encoding="utf-8")):
            continue
        body = ast.parse(text).body
        places = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        found |= {places[name] for node in body if (name := _method_of(node)) in places}
    return found


def _method_of(node: ast.stmt) -> str | None:
    """The name of the method that a statement checks."""
    if not isinstance(node, ast.ClassDef) or not node.name.startswith("Test") or node.decorator_list:
        return None
    if [ast.unparse(base) for base in node.bases] != ["MethodContract"]:
        return None
    body = node.body[ast.get_docstring(node) is not None :]
    settings = {ast.unparse(each.targets[0]): each.value for each in body if isinstance(each, ast.Assign)}
    if len(settings) < len(body) or not settings.keys() <= {"method", "options"}:
        return None
    return ast.unparse(settings["method"])
