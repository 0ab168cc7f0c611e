"""What is imported by a command that does no work. How long it takes is measured in tests/benchmarks."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nasbench

HEAVY = {
    *("torch", "transformers", "datasets", "pandas", "scipy", "moocore", "pymoo", "botorch", "matplotlib", "pyarrow"),
    "pydantic",
}
REPORT = """
import sys
from nasbench.cli.main import main
try:
    main({arguments!r})
except SystemExit as exit:
    assert exit.code == 0, exit.code
print("MODULES", *{{name.partition(".")[0] for name in sys.modules}})
"""


def imported_by(*arguments: str) -> set[str]:
    """Top-level modules after a command, run in a process of its own."""
    script = REPORT.format(arguments=list(arguments))
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    return set(output.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("arguments", [(), ("--help",), ("run", "--help"), ("--version",)])
def test_help_imports_next_to_nothing(arguments: tuple[str, ...]) -> None:
    modules = imported_by(*arguments)
    assert "click" in modules
    assert not modules & (HEAVY | {"numpy", "rich"})


@pytest.mark.parametrize("arguments", [("tasks",), ("tasks", "--json"), ("models",)])
def test_listing_declarations_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not imported_by(*arguments) & HEAVY


def test_importing_the_package_does_nothing() -> None:
    script = "import sys, nasbench; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert not {name.partition(".")[0] for name in output.split()} & (HEAVY | {"numpy"})


def test_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "nasbench", "--version"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output == f"nasbench {nasbench.__version__}\n"
