"""Editors and type checkers see the code of the leaves in the development install, from a file outside the project."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISUSE = """\
from nasbench.analysis.scoring.tracks import section_title
from nasbench.baselines.layer_dropping import LayerDropping
from nasbench.benchmark import TASKS
from nasbench.methods.local_search import LocalSearch

section_title("paper")
LayerDropping().run()
TASKS[0].no_such_attribute
LocalSearch.ask(1, 2, 3)
"""
"""Lines 6 to 9 each misuse one of the four leaves. A checker that sees ``Any`` there reports nothing."""
MISUSED_LINES = {6, 7, 8, 9}
MYPY = """\
[mypy]
# Libraries that a leaf imports are not analysed: they take most of a minute and have no part in the test.
[mypy-torch.*,transformers.*,scipy.*,pandas.*,matplotlib.*,pyarrow.*,botorch.*,gpytorch.*,datasets.*,pydantic.*,rich.*]
follow_imports = skip
follow_imports_for_stubs = True
ignore_missing_imports = True
"""


@pytest.fixture
def outside_file(tmp_path: Path) -> Path:
    file = tmp_path / "outside.py"
    file.write_text(MISUSE)
    return file


def lines_with_errors(output: str) -> set[int]:
    """Numbers of the lines of ``outside.py`` for which a checker reports an error."""
    return {int(line) for line in re.findall(r"outside\.py:(\d+):.*\berror\b", output)}


@pytest.mark.parametrize(
    "code",
    [
        "import nasbench.methods.ws_nas\nnasbench.methods.ws_nas.WeightSharingNAS.run",
        "from nasbench.methods.ws_nas import WeightSharingNAS\nWeightSharingNAS.run",
    ],
    ids=["import", "from"],
)
def test_jedi_goes_to_the_definition_of_a_method(tmp_path: Path, code: str) -> None:
    jedi = pytest.importorskip("jedi", reason="no Jedi: pip install -e '.[test]'")
    environment = jedi.create_environment(sys.prefix, safe=False)
    script = jedi.Script(code, path=tmp_path / "outside.py", environment=environment)
    (found,) = script.goto(line=2, column=len(code.splitlines()[1]), follow_imports=True)
    file = ROOT / "methods" / "ws_nas.py"
    definition = next(
        number for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1) if "def run(" in line
    )
    assert (found.module_path.resolve(), found.line, found.type) == (file, definition, "function")


@pytest.mark.slow
def test_mypy_checks_calls_of_the_leaves(outside_file: Path) -> None:
    pytest.importorskip("mypy", reason="no mypy: pip install -e '.[check]'")
    (outside_file.parent / "mypy.ini").write_text(MYPY)
    command = [sys.executable, "-m", "mypy", "--cache-dir=/dev/null", outside_file.name]
    checked = subprocess.run(command, cwd=outside_file.parent, capture_output=True, text=True)
    assert lines_with_errors(checked.stdout) == MISUSED_LINES, checked.stdout + checked.stderr


def test_pyright_checks_calls_of_the_leaves(outside_file: Path) -> None:
    """basedpyright is pyright packed with all it needs; pyright itself downloads itself when it first runs."""
    pytest.importorskip("basedpyright", reason="no basedpyright: pip install -e '.[check]'")
    command = [sys.executable, "-m", "basedpyright", "--level", "error", "--pythonpath", sys.executable]
    checked = subprocess.run([*command, outside_file.name], cwd=outside_file.parent, capture_output=True, text=True)
    assert lines_with_errors(checked.stdout) == MISUSED_LINES, checked.stdout + checked.stderr
