"""Tests on the pretended card. `make mock-cuda` runs them; `make test` does not come here."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mock_cuda.card import library

from nasbench.runs.loading import avoid_plans


def pytest_sessionstart() -> None:
    try:
        library()
    except AttributeError:
        pytest.exit("no pretended card in this process: `make mock-cuda` runs these tests", returncode=2)
    avoid_plans(torch.device("cuda"))  # as every run does; the pretended runtime has no cuDNN


@pytest.fixture(autouse=True)
def _free_memory() -> Iterator[None]:
    """Give the memory of a test's recordings back: it is this machine's memory."""
    yield
    gc.collect()
    torch.cuda.empty_cache()


@pytest.fixture
def on_card(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Function that runs Python code, or with ``command`` a command of nasbench, in a process with another card.

    Keyword arguments are the settings of the card without their prefix, in lower case: ``capability=75``.
    """

    def run(code: str = "", *command: str, **card: int) -> subprocess.CompletedProcess[str]:
        settings = {f"MOCK_CUDA_{name.upper()}": str(value) for name, value in card.items()}
        words = ["-c", code] if code else ["-m", "nasbench", *command]
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True
        )

    return run
