from __future__ import annotations

import importlib

import pytest

from nasbench.testing.models import TINY_MODELS
from nasbench.testing.tasks import TINY_TASKS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exported networks are timed in as few passes as possible."""
    monkeypatch.setattr("nasbench.export.latency._SECONDS", 0.0)


@pytest.fixture
def tiny_world(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:  # noqa: ARG001
    """Add tiny tasks and models to the declared ones, and compute with one thread."""
    benchmark = importlib.import_module("nasbench.benchmark")
    monkeypatch.setattr(benchmark, "TASKS", (*benchmark.TASKS, *TINY_TASKS))
    monkeypatch.setattr(benchmark, "MODELS", (*benchmark.MODELS, *TINY_MODELS))


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have tables and a page only."""
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {})
