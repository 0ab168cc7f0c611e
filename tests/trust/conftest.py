"""A small suite of one tiny task and model, and a run of it, submitted as a bundle."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.plugins import registry
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR, TINY_REGRESSION
from nasbench.trust.bundles import Submitted, write_bundle
from nasbench.trust.expected import Loader
from nasbench.trust.files import read_files
from nasbench.trust.verifying import Verified, verify


@pytest.fixture(autouse=True)
def _small_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "suite_tasks", lambda: (TINY_PAIR, TINY_REGRESSION))
    monkeypatch.setattr(registry, "models", lambda: {TINY_BERT.name: TINY_BERT})


@dataclass(frozen=True)
class Made:
    """A complete run and what verifies it."""

    folder: Path
    bundle: Path
    loader: Loader
    subject: MethodSubject

    def verify(self, change: Callable[[dict[str, bytes]], object] = lambda _: None) -> Verified:
        """Verify the run's files after a change of their contents."""
        files = read_files(self.folder)
        change(files)
        return verify(Submitted("changed", files), self.loader)


def make(folder: Path, task: Any) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "suite_tasks", lambda: (TINY_PAIR, TINY_REGRESSION))
        return _make(folder, task)


def _make(folder: Path, task: Any) -> Made:
    subject = MethodSubject(WeightSharingNAS, folder, task=task, n_evaluations=12)
    subject.run(folder / "results")
    run = subject.request(folder / "results").folder
    bundle = folder / "bundle.zip"
    write_bundle(bundle, [run], "Ada Lovelace", "https://example.org/paper")
    return Made(run, bundle, Loader(), subject)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("made"), TINY_PAIR)


@pytest.fixture(scope="session")
def made_regression(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("made-regression"), TINY_REGRESSION)


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Made:
    """The run in a results folder of its own, to be written to."""
    folder = tmp_path / "results" / Path(*made.folder.parts[-3:])
    shutil.copytree(made.folder, folder)
    return dataclasses.replace(made, folder=folder)
