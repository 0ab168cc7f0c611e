from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the user's cache and data from the tests."""
    monkeypatch.setenv("NASBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("NASBENCH_DATA_DIR", raising=False)


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub cannot be reached, and no test asks whether it can."""
    monkeypatch.setattr("nasbench.data.hub._reachable", lambda _endpoint: False)


@dataclass(frozen=True)
class Spoken:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def nasbench(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Spoken]:
    """Function that runs a command in an empty folder."""
    from nasbench.cli import main as cli

    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str) -> Spoken:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        signal.signal(signal.SIGTERM, handler)
        assert isinstance(exit_.value.code, int)
        return Spoken(exit_.value.code, *capfd.readouterr())

    return call


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch computes with one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


_CHOSEN_DATA = os.environ.get("NASBENCH_DATA_DIR")


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder with real data sets; without it, the tests that need it are skipped. A wrong path fails them."""
    folder = Path(_CHOSEN_DATA or Path(__file__).parents[2] / "shared" / "data")
    if folder.is_dir():
        return folder
    if _CHOSEN_DATA:
        pytest.fail(f"NASBENCH_DATA_DIR is {_CHOSEN_DATA}, and no folder is there")
    pytest.skip("no real data: set NASBENCH_DATA_DIR")


@pytest.fixture
def exact_least_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both implementations of mask tuning solve their equations exactly, in place of LSMR.

    LSMR stops at a tolerance, and mask values in nearly flat directions are then as much rounding as result: they
    differ between machines. Exact solutions compare the equations and not the place where the solver stops.
    """
    import numpy as np
    from support import published_rfp

    from nasbench.masks import tuning

    def solve(matrix, right, damp, maxiter):  # noqa: ARG001
        augmented = np.vstack([matrix, damp * np.eye(len(right))])
        return np.linalg.lstsq(augmented, np.concatenate([right, np.zeros(len(right))]), rcond=None)[0], 2

    monkeypatch.setattr(tuning, "lsmr", solve)
    monkeypatch.setattr(published_rfp, "lsmr", solve)
