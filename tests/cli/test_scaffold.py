from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nasbench.cli.check import check, find_targets
from nasbench.cli.scaffold import write_method
from nasbench.errors import UserError
from nasbench.plugins import registry
from nasbench.testing.contract import METHOD_CHECKS


def test_new_method_passes_the_contract(tmp_path: Path) -> None:
    method_file, _ = write_method("lucky-dip", tmp_path)
    (cls,) = find_targets(str(method_file))
    assert (cls.name, cls.__name__) == ("lucky-dip", "LuckyDip")
    assert [line for line in check(cls) if not line[0]] == []


def test_written_test_passes_in_its_folder(tmp_path: Path) -> None:
    _, test_file = write_method("lucky-dip", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test_file.name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(METHOD_CHECKS)} passed" in result.stdout


@pytest.mark.parametrize("name", ["Lucky", "lucky_dip", "1st", "a--b", "-a", "a/b", ""])
def test_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="lower-case letters, digits and single hyphens"):
        write_method(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["lambda", "none", "true"])
def test_word_of_python_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' is a word of Python's own"):
        write_method(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["random", "torch"])
def test_name_of_a_module_is_refused(tmp_path: Path, name: str) -> None:
    """The written test imports the method by its module's name."""
    with pytest.raises(UserError, match=f"there is a Python module '{name}', which {name}.py would hide"):
        write_method(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_name_of_existing_method_is_refused(tmp_path: Path) -> None:
    taken = next(iter(registry.methods()))
    with pytest.raises(UserError, match=f"there is a method '{taken}' already"):
        write_method(taken, tmp_path)


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("precious")
    with pytest.raises(UserError, match=r"test_mine\.py exists; nothing was written"):
        write_method("mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
    assert (tmp_path / "test_mine.py").read_text() == "precious"
