"""Reading records and reporting work without the libraries that only runs need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
BLOCKED = ("torch", "transformers", "datasets", "botorch", "gpytorch", "pymoo", "huggingface_hub", "safetensors")
BLOCK = f"""
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocked())
"""
COMMAND = "from nasbench.cli.main import main; main(sys.argv[1:])"


def without_heavy_libraries(script: str, *arguments: str, cwd: Path) -> str:
    """Output of a script in a process in which importing a blocked library raises ImportError."""
    command = [sys.executable, "-c", BLOCK + script, *arguments]
    process = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "Agg"})
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_dependency_group_holds_all_dependencies_but_the_blocked_ones() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    dependencies, group = set(project["project"]["dependencies"]), set(project["dependency-groups"]["analysis"])
    assert group < dependencies
    names = {re.split(r"[<>=]", dependency)[0].replace("-", "_") for dependency in dependencies - group}
    assert names == set(BLOCKED) - {"gpytorch"}  # a dependency of BoTorch


@pytest.mark.parametrize("library", BLOCKED)
def test_blocked_library_cannot_be_imported(tmp_path: Path, library: str) -> None:
    script = f"try:\n    import {library}.submodule\nexcept ImportError as error:\n    print(error)"
    assert without_heavy_libraries(script, cwd=tmp_path).strip() == f"{library} is blocked"


@pytest.mark.slow
def test_report_works_without_heavy_libraries(tmp_path: Path) -> None:
    written = without_heavy_libraries(COMMAND, "report", "--results", str(RESULTS), cwd=tmp_path)
    assert (tmp_path / written.strip()).read_text(encoding="utf-8").startswith("<!")
    assert list((tmp_path / "report" / "figures").glob("*.svg"))
    assert list((tmp_path / "report" / "tables").glob("*.csv"))


def test_leaderboard_works_without_heavy_libraries(tmp_path: Path) -> None:
    for arguments in ((), ("--check",)):
        without_heavy_libraries(COMMAND, "leaderboard", "--results", str(RESULTS), *arguments, cwd=tmp_path)
    assert "ws-nas" in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")


def test_claims_work_without_heavy_libraries(tmp_path: Path) -> None:
    written = without_heavy_libraries(COMMAND, "claims", "--results", str(RESULTS), cwd=tmp_path)
    assert re.search(" {2}(confirmed|refuted|undecided) {2}", written)


def test_records_can_be_read_without_heavy_libraries(tmp_path: Path) -> None:
    script = """
import nasbench
from nasbench.records.record import RunFolder, find_runs
folders = find_runs(Path(sys.argv[1]))
runs = [RunFolder(folder).read_run() for folder in folders]
n_evaluations = sum(len(RunFolder(folder).read_evaluations()) for folder in folders)
results = nasbench.results(sys.argv[1])
print(len(runs) == len(results.runs), n_evaluations == len(results.evaluations) > 0)
"""
    script = "from pathlib import Path\n" + script
    assert without_heavy_libraries(script, str(RESULTS), cwd=tmp_path).split() == ["True", "True"]
