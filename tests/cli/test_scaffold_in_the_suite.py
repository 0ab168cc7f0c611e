"""A new method or searcher needs its file and its test, and no edit of any other: no list has to name it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nasbench.cli.scaffold import write_method

ROOT = Path(__file__).parents[2]
LEAVES = ("analysis", "methods", "baselines", "benchmark")
ALL_OF_A_KIND = r"registry\.(?:methods|searchers)\(\)|searchers_for_tables\(\)"
"""How a test gets at all methods or searchers; if a bracket follows, it looks up one of them."""
OF_FILES = ("test_imports_keep", "test_package_imports", "test_module_is_short", "test_package_has_few_modules")
"""Tests in ``test_layers.py``, which looks at the files of all packages."""
OWN_TEST = "(TestLuckyDip and deterministic)"
"""One check of the contract is enough to see that the written test works: ``test_scaffold.py`` makes them all."""
METHOD_TESTS = {
    "tests/baselines/test_lucky_dip.py",
    "tests/isolation/test_stand_in.py",
    "tests/methods/test_decoders.py",
    "tests/methods/test_every_method.py",
}
LIST_TESTS = {
    "tests/analysis/figures/test_families.py",
    "tests/analysis/figures/test_style.py",
    "tests/analysis/report/test_table_searchers.py",
    "tests/project/test_layers.py",
    "tests/testing/test_contract.py",  # each contract is checked there or in a test of its own
}
SEARCHER_TESTS = {"tests/methods/test_every_searcher.py", "tests/testing/test_contract.py"}


def copy_of_the_suite(folder: Path) -> Path:
    """Copy the packages and the tests into an empty folder, with a development install in ``.dev`` and the records."""
    for name in (*LEAVES, "src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "results").symlink_to(ROOT / "results")
    links = folder / ".dev" / "nasbench"
    links.mkdir(parents=True)
    for path in (*(folder / "src" / "nasbench").iterdir(), *(folder / leaf for leaf in LEAVES)):
        (links / path.name).symlink_to(path)
    return folder


def looking_at_all(text: str) -> set[str]:
    """Names of the tests in a module that look at all methods or searchers, not only at those in their parameters."""
    tree = ast.parse(text)
    constants = [
        rf"\b{target.id}\b"
        for node in tree.body
        if isinstance(node, ast.Assign) and re.search(ALL_OF_A_KIND, ast.get_source_segment(text, node) or "")
        for target in ast.walk(node)
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    ]
    looks = re.compile(rf"(?:{'|'.join([ALL_OF_A_KIND, *constants])})(?!\[)")
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if looks.search(ast.get_source_segment(text, node) or "")
    }


def test_tests_that_look_at_all_are_found_by_their_source() -> None:
    text = (
        "METHODS = registry.methods()\n"
        "def test_list():\n    assert set(registry.methods()) == {'mine'}\n"
        "def test_constant():\n    assert len(METHODS) == 1\n"
        "def test_one():\n    assert registry.methods()['mine'].summary and METHODS['mine'].summary\n"
    )
    assert looking_at_all(text) == {"test_list", "test_constant"}


@pytest.mark.slow
def test_new_files_meet_what_the_suite_asks_of_every_method_and_searcher(tmp_path: Path) -> None:
    """A baseline as ``nasbench new-method`` writes it, and the searcher of CONTRIBUTING.md among the methods."""
    suite = copy_of_the_suite(tmp_path)
    _, test_file = write_method("lucky-dip", suite / "baselines")
    assert test_file == suite / "tests" / "baselines" / "test_lucky_dip.py"
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    (searcher,) = (block for block in blocks if "class Climber" in block)
    (suite / "methods" / "climber.py").write_text(searcher, encoding="utf-8")

    files = {file: file.read_text(encoding="utf-8") for file in sorted((suite / "tests").rglob("test_*.py"))}
    files = {
        file: text
        for file, text in files.items()
        if not {"benchmarks", "mock_cuda"} & set(file.parts)
        if re.search(ALL_OF_A_KIND, text) or file.name in (test_file.name, "test_layers.py")
    }
    named = {name for text in files.values() for name in looking_at_all(text)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rpfE"]
    command += ["-k", " or ".join(["lucky-dip", OWN_TEST, "climber", *OF_FILES, *sorted(named)]), *map(str, files)]
    environment = {**os.environ, "PYTHONPATH": str(suite / ".dev"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.findall(r"^PASSED (\S+?)::(.*)$", done.stdout, flags=re.MULTILINE)
    assert {file for file, test in passed if "lucky" in file + test} >= METHOD_TESTS
    assert {file for file, test in passed if "climber" in test} >= SEARCHER_TESTS
    assert {file for file, _ in passed} >= LIST_TESTS


@pytest.mark.parametrize("leaf", ["methods", "baselines"])
def test_written_files_are_in_the_style_of_the_suite(tmp_path: Path, leaf: str) -> None:
    pytest.importorskip("ruff", reason="no ruff: pip install -e '.[check]'")
    (tmp_path / leaf).mkdir()
    shutil.copy(ROOT / leaf / "__init__.py", tmp_path / leaf)
    (tmp_path / "tests" / leaf).mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    files = write_method("lucky-dip", tmp_path / leaf)
    assert [file.relative_to(tmp_path).parent.as_posix() for file in files] == [leaf, f"tests/{leaf}"]
    assert f"from nasbench.{leaf}.lucky_dip import LuckyDip\n" in files[1].read_text()
    for check in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *check, "--no-cache", "."]
        done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
