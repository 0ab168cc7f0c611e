"""What people install: the wheel, in an environment of its own, with a plugin package beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the files that git knows, so that what is not committed is not packed."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if not name.startswith(("results/", "tests/")) and (ROOT / name).is_file():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    build(copy, out)
    (built,) = out.glob("*.whl")
    return built


def build(project: Path, out: Path) -> None:
    """A wheel of a project. The build backend is the environment's own: nothing is downloaded."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(project)]
    subprocess.run(command, check=True, capture_output=True)


class Environment:
    """A virtual environment that sees the libraries of this one, and what is installed into it first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.packages = next((folder / "lib").iterdir()) / "site-packages"
        # Libraries come from here, but not this checkout: its editable install is a .pth file, which is not read.
        (self.packages / "libraries.pth").write_text(
            f"import sys; sys.path.append({sysconfig.get_paths()['purelib']!r})\n"
        )

    def install(self, wheel: Path) -> None:
        """Unpack a wheel, as installers do, without its dependencies."""
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run ``nasbench`` from a folder that has nothing to do with the checkout."""
        script = "import sys; from nasbench.cli.main import main; main(sys.argv[1:])"
        return self._process(script, *arguments, cwd=cwd)

    def python(self, script: str, cwd: Path) -> str:
        """What a script prints."""
        process = self._process(script, cwd=cwd)
        assert process.returncode == 0, process.stderr
        return process.stdout

    def _process(self, script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(
            [str(self.folder / "bin" / "python"), "-c", script, *arguments],
            cwd=cwd,
            env={**variables, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp("environment") / "venv")
    made.install(wheel)
    return made


def committed(pattern: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return {name for name in listed if re.fullmatch(pattern, name)}


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    expected = {name.removeprefix("src/") for name in committed(r"src/nasbench/.*\.(py|typed)")}
    for leaf in ("benchmark", "methods", "baselines", "analysis"):
        expected |= {f"nasbench/{name}" for name in committed(rf"{leaf}/[^/]+")}
    assert expected - packed == set()
    assert {name for name in packed if name.startswith("nasbench/")} == expected
    assert any(name.endswith("licenses/LICENSE") for name in packed)


@pytest.mark.slow
def test_the_wheel_works_elsewhere(environment: Environment, tmp_path: Path) -> None:
    imported = environment.python("import nasbench.analysis; print(nasbench.analysis.__file__)", cwd=tmp_path)
    assert Path(imported.strip()).is_relative_to(environment.packages)
    methods = environment.run("methods", "--json", cwd=tmp_path)
    assert methods.returncode == 0, methods.stderr
    assert '"ws-nas"' in methods.stdout
    (tmp_path / "results").mkdir()
    report = environment.run("report", cwd=tmp_path)
    assert (tmp_path / "report" / "report.html").exists(), report.stderr


SAVE_TINY_MODEL = """
from pathlib import Path
from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.tasks import TINY_SINGLE
save_tiny(TINY_BERT, TINY_SINGLE, Path("my-model"))
"""
"""A classifier as a user has it: a folder that transformers saved."""


def code_blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a document."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.slow
def test_the_plugin_of_the_guide_is_found_checked_run_and_reported(environment: Environment, tmp_path: Path) -> None:
    """A newcomer types what CONTRIBUTING.md shows into a package of their own, and nothing else."""
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
    assert '"first-layers"' in environment.run("methods", "--json", cwd=home).stdout
    for target in ("first-layers", "climber"):
        checked = environment.run("check", target, cwd=home)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    rows = "".join(f"{'good' if i % 2 else 'bad'} film number {i},{i % 2}\n" for i in range(80))
    (home / "films.csv").write_text("review,sentiment\n" + rows)
    environment.python(SAVE_TINY_MODEL, cwd=home)
    (home / "films.toml").write_text(
        'budget_s = 30\n[data]\ntrain = "films.csv"\ntext = "review"\nlabel = "sentiment"\n'
        '[model]\nfolder = "my-model"\nfine_tuning = {epochs = 1, batch_size = 16, learning_rate = 1e-3}\n'
    )
    ran = environment.run("run", "--method", "first-layers", "--task", "films.toml", "--device", "cpu", cwd=home)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "is not part of the suite" in ran.stdout
    reported = environment.run("report", cwd=home)
    assert reported.returncode == 0, reported.stderr
    assert "first-layers" in (home / "report" / "report.html").read_text(encoding="utf-8")
