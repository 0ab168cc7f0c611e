"""The origin of a record: revision and digest of the code that ran."""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import nasbench
from nasbench.records import provenance


def _git(folder, *arguments):
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout with the layout of the repository, and its own copy of the module under test."""
    for name in list(os.environ):
        if name.startswith("GIT_"):  # set where the tests run from a hook
            monkeypatch.delenv(name)
    root = tmp_path / "checkout"
    engine = root / "src" / "nasbench"
    for folder in (engine / "records", engine / "runs", root / "methods", root / "docs"):
        folder.mkdir(parents=True)
    shutil.copyfile(provenance.__file__, engine / "records" / "provenance.py")
    for file in (engine / "__init__.py", engine / "runs" / "runner.py", root / "methods" / "mine.py"):
        file.write_text("")
    (root / "pyproject.toml").write_text("")
    (root / ".gitignore").write_text("__pycache__/\n")
    # A development install imports the engine through links to its folders.
    links = root / ".dev" / "nasbench"
    links.mkdir(parents=True)
    for path in engine.iterdir():
        (links / path.name).symlink_to(path, target_is_directory=path.is_dir())
    return root


def _module(checkout, path=".dev/nasbench/records/provenance.py"):
    spec = importlib.util.spec_from_file_location("provenance_of_a_checkout", checkout / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _commit(checkout):
    _git(checkout, "init", "-q")
    _git(checkout, "add", "src", "methods", "pyproject.toml", ".gitignore")
    _git(checkout, "commit", "-q", "-m", "first")
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=checkout, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_revision_of_a_clean_checkout_is_its_commit(checkout):
    commit = _commit(checkout)
    assert len(commit) == 40
    assert _module(checkout).git_revision() == commit


@pytest.mark.parametrize("name", ["src/nasbench/__init__.py", "methods/mine.py", "methods/new.py"])
def test_revision_of_a_checkout_with_changed_code_says_so(checkout, name):
    commit = _commit(checkout)
    (checkout / name).write_text("x = 1\n")
    assert _module(checkout).git_revision() == f"{commit}+changes"


def test_revision_ignores_changes_outside_the_code(checkout):
    commit = _commit(checkout)
    (checkout / "docs" / "page.md").write_text("words")
    assert _module(checkout).git_revision() == commit


def test_revision_is_none_outside_a_checkout(checkout):
    assert _module(checkout).git_revision() is None  # no repository yet
    _commit(checkout)
    (checkout / "pyproject.toml").unlink()  # installed below somebody else's repository
    assert _module(checkout).git_revision() is None


def test_engine_digest_changes_with_any_engine_file(checkout):
    engine, module = checkout / "src" / "nasbench", _module(checkout)
    digests = [module.engine_sha256()]
    assert len(digests[0]) == 64
    for name in ("__init__.py", "runs/runner.py", "records/provenance.py"):
        path = engine / name
        before = path.read_text()
        path.write_text(before + "# changed\n")
        digests.append(module.engine_sha256())
        path.write_text(before)
    (engine / "runs" / "runner.py").rename(engine / "runs" / "renamed.py")
    digests.append(module.engine_sha256())
    (engine / "runs" / "more.py").write_text("")
    digests.append(module.engine_sha256())
    assert len(set(digests)) == len(digests)


def test_engine_digest_ignores_other_files(checkout):
    module = _module(checkout)
    before = module.engine_sha256()
    (checkout / "methods" / "mine.py").write_text("x = 1\n")
    (checkout / "src" / "nasbench" / "notes.txt").write_text("words")
    assert module.engine_sha256() == before


def test_engine_digest_is_the_same_through_links_and_folders(checkout):
    through_links, direct = _module(checkout), _module(checkout, "src/nasbench/records/provenance.py")
    assert through_links.engine_sha256() == direct.engine_sha256()


def test_engine_digest_covers_this_engine():
    engine = Path(nasbench.__file__).resolve().parent
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(engine) for path in engine.rglob("*.py")):
        digest.update(name.as_posix().encode() + b"\0" + (engine / name).read_bytes())
    assert provenance.engine_sha256() == digest.hexdigest()


def test_describe_names_packages_and_hardware():
    found = provenance.describe(torch.device("cpu"))
    assert torch.__version__.startswith(found["packages"]["torch"])  # a wheel's metadata may lack the "+cu130"
    assert found["python"] == platform.python_version()
    assert found["git_revision"] == provenance.git_revision()
    assert found["hardware"]["n_threads"] == torch.get_num_threads()
    assert found["hardware"]["gpu"] is None
