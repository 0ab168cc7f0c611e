"""The wheel, installed into an environment of its own, with a plugin package beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.tasks import TINY_SINGLE

ROOT = Path(__file__).parents[2]
LEAVES = ("benchmark", "methods", "baselines", "analysis")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the files that git tracks: untracked files are not packed."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked_files():
        if not name.startswith(("results/", "tests/")):
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    build(copy, out)
    (built,) = out.glob("*.whl")
    return built


def tracked_files() -> list[str]:
    """Paths that git tracks and that exist, relative to the root of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def build(project: Path, out: Path) -> None:
    """Build a wheel with the build backend of this environment; nothing is downloaded."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(project)]
    subprocess.run(command, check=True, capture_output=True)


@dataclass(frozen=True)
class Result:
    """Exit code and output of one ``nasbench`` command."""

    code: int
    out: str
    err: str


COMMANDS = """
import contextlib, io, json, sys
from nasbench.cli.main import main
results = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as exit:
            results.append((exit.code, out.getvalue(), err.getvalue()))
print("RESULTS", json.dumps(results))
"""
"""Runs several commands in one process: each process takes seconds to import torch."""


class Environment:
    """A virtual environment that sees the libraries of the current one, but not its installation of nasbench."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.packages = next((folder / "lib").iterdir()) / "site-packages"
        # The development install of nasbench is a .pth file, and Python reads no .pth files in a folder added this way.
        (self.packages / "libraries.pth").write_text(
            f"import sys; sys.path.append({sysconfig.get_paths()['purelib']!r})\n"
        )

    def install(self, wheel: Path) -> None:
        """Unpack a wheel, as installers do, without its dependencies."""
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)

    def run(self, *commands: tuple[str, ...], cwd: Path) -> list[Result]:
        """Run ``nasbench`` commands one after the other, in one process, from a folder outside the repository."""
        printed = self.python(COMMANDS, json.dumps(commands), cwd=cwd)
        return [Result(*result) for result in json.loads(printed.rpartition("RESULTS ")[2])]

    def python(self, script: str, *arguments: str, cwd: Path) -> str:
        """Output of a script."""
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        process = subprocess.run(
            [str(self.folder / "bin" / "python"), "-c", script, *arguments],
            cwd=cwd,
            env={**variables, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp("environment") / "venv")
    made.install(wheel)
    return made


@pytest.mark.slow
def test_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    tracked = tracked_files()
    expected = {name.removeprefix("src/") for name in tracked if re.fullmatch(r"src/nasbench/.*\.(py|typed)", name)} | {
        f"nasbench/{name}" for name in tracked if name.startswith(tuple(f"{leaf}/" for leaf in LEAVES))
    }
    assert expected - packed == set()
    assert {name for name in packed if name.startswith("nasbench/")} == expected
    assert any(name.endswith("licenses/LICENSE") for name in packed)


@pytest.mark.slow
def test_wheel_works_outside_the_repository(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    imported = environment.python("import nasbench.analysis; print(nasbench.analysis.__file__)", cwd=tmp_path)
    assert Path(imported.strip()).is_relative_to(environment.packages)
    methods, report = environment.run(("methods", "--json"), ("report",), cwd=tmp_path)
    assert methods.code == 0, methods.err
    assert '"ws-nas"' in methods.out
    assert (tmp_path / "report" / "report.html").exists(), report.err


def code_blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of a document."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.slow
def test_plugin_of_the_guide_is_found_checked_run_and_reported(environment: Environment, tmp_path: Path) -> None:
    """A newcomer puts the examples of CONTRIBUTING.md into a package, and adds nothing."""
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    python = code_blocks(guide, "python")
    (method,) = [block for block in python if "class FirstLayers(Method)" in block]
    (searcher,) = [block for block in python if "class Climber(Searcher)" in block]
    (project,) = [block for block in code_blocks(guide, "toml") if "entry-points" in block]
    package = tmp_path / "my-pruning" / "my_pruning"
    package.mkdir(parents=True)
    (package.parent / "pyproject.toml").write_text(project)
    (package / "__init__.py").touch()
    (package / "first_layers.py").write_text(method)
    (package / "climber.py").write_text(searcher)
    build(package.parent, tmp_path / "dist")
    (built,) = (tmp_path / "dist").glob("*.whl")
    environment.install(built)

    home = tmp_path / "elsewhere"
    home.mkdir()
    rows = "".join(f"{'good' if i % 2 else 'bad'} film number {i},{i % 2}\n" for i in range(80))
    (home / "films.csv").write_text("review,sentiment\n" + rows)
    (home / "films.toml").write_text(
        'budget_s = 30\n[data]\ntrain = "films.csv"\ntext = "review"\nlabel = "sentiment"\n'
        '[model]\nfolder = "my-model"\nfine_tuning = {epochs = 1, batch_size = 16, learning_rate = 1e-3}\n'
    )
    save_tiny(TINY_BERT, TINY_SINGLE, home / "my-model")  # a folder written by transformers, as users have it
    listed, *checked, ran, reported = environment.run(
        ("methods", "--json"),
        ("check", "first-layers"),
        ("check", "climber"),
        ("run", "--method", "first-layers", "--task", "films.toml", "--device", "cpu"),
        ("report",),
        cwd=home,
    )
    assert '"first-layers"' in listed.out
    for result in (*checked, ran, reported):
        assert result.code == 0, result.out + result.err
    assert "is not part of the suite" in ran.out
    assert "first-layers" in (home / "report" / "report.html").read_text(encoding="utf-8")
