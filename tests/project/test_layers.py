"""The floor plan: which package may import which, and how large modules and packages may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"nasbench": ROOT / "src" / "nasbench"} | {
    f"nasbench.{leaf}": ROOT / leaf for leaf in ("benchmark", "methods", "baselines", "analysis")
}
MAX_LINES = 400
MAX_MODULES = 12
LEAVES = ("analysis", "methods", "baselines", "benchmark")
ADDED_TO = ("nasbench.methods", "nasbench.baselines")
"""Packages to which everybody may add a file: they hold any number of modules."""


def packages() -> dict[str, Path]:
    """Dotted name of every package to its folder."""
    return {
        ".".join((name, *init.parent.relative_to(folder).parts)): init.parent
        for name, folder in FOLDERS.items()
        for init in sorted(folder.rglob("__init__.py"))
    }


PACKAGES = packages()
MODULES = sorted(file for folder in PACKAGES.values() for file in folder.glob("*.py"))


def docstring(package: str) -> str:
    """The docstring of a package, read without importing it."""
    return ast.get_docstring(ast.parse((PACKAGES[package] / "__init__.py").read_text(encoding="utf-8"))) or ""


def may_import(package: str) -> str:
    """The sentence of a package's docstring that says what it may import; empty if there is none."""
    found = re.search(r"May import: (.+?)(?:\n\n|\Z)", docstring(package), flags=re.DOTALL)
    return " ".join(found.group(1).split()) if found else ""


def library(name: str) -> Any:
    """import-linter or the library that it builds on; the test is skipped without it."""
    return pytest.importorskip(name, reason="no import-linter: pip install -e '.[test]'")


@cache
def graph() -> Any:
    return library("grimp").build_graph("nasbench", exclude_type_checking_imports=True, cache_dir=None)


def room(module: str) -> str:
    """The package of the engine, module of the engine or leaf that a module belongs to; empty for nasbench itself."""
    return module.split(".")[1] if "." in module else ""


def test_imports_keep_the_contracts() -> None:
    library("importlinter")
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    checked = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_contracts_are_broken_by_an_upward_import_and_by_a_baseline_that_imports_another(tmp_path: Path) -> None:
    """The errors, the lowest layer, import the command line; a new baseline, which no list names, imports another."""
    library("importlinter")
    package = tmp_path / "nasbench"
    for name, folder in PACKAGES.items():
        for file in folder.glob("*.py"):
            copy = package.joinpath(*name.split(".")[1:], file.name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    with (package / "errors.py").open("a", encoding="utf-8") as file:
        file.write("\nimport nasbench.cli.listing\n")
    (package / "baselines" / "new.py").write_text("import nasbench.baselines.flap\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    script = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; "
        "sys.exit(lint_imports(no_cache=True))"
    )
    checked = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "nasbench.errors -> nasbench.cli.listing" in checked.stdout
    assert "nasbench.baselines.new -> nasbench.baselines.flap" in checked.stdout


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "nasbench"])
def test_package_says_what_it_holds_and_may_import(package: str) -> None:
    assert docstring(package).partition("\n\n")[0].endswith(".")
    assert may_import(package), f"the docstring of {package} has no line 'May import: ...'"


@pytest.mark.parametrize("package", [name for name in PACKAGES if name.count(".") == 1])
def test_package_imports_only_what_its_docstring_names(package: str) -> None:
    rooms = {room(child) for child in graph().find_children("nasbench")}
    sentence = may_import(package)
    named, _, excepted = sentence.partition("except")
    allowed = set(re.findall(r"``(\w+)``", named)) & rooms
    if "engine" in named:
        allowed |= rooms - set(LEAVES) - set(re.findall(r"``(\w+)``", excepted))
    if "leaves" in named:
        allowed |= set(LEAVES)
    own = {package} | graph().find_descendants(package)
    imported = {room(there) for here in own for there in graph().find_modules_directly_imported_by(here)}
    assert imported - allowed - {"", room(package)} == set(), f"{package} may import: {sentence}"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_module_is_short(file: Path) -> None:
    n_lines = len(file.read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_LINES, f"{file} has {n_lines} lines; split it"


@pytest.mark.parametrize("package", [name for name in PACKAGES if name not in ADDED_TO])
def test_package_has_few_modules(package: str) -> None:
    modules = [file.name for file in PACKAGES[package].glob("*.py") if file.name != "__init__.py"]
    assert len(modules) <= MAX_MODULES, f"{package} has {len(modules)} modules; split it"
