from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither read nor fill the user's cache, and do not see the user's data."""
    monkeypatch.setenv("NASBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("NASBENCH_DATA_DIR", raising=False)


_REAL_DATA = os.environ.get("NASBENCH_DATA_DIR") or str(Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder with real data sets; tests that need it are skipped where there is none."""
    folder = Path(_REAL_DATA)
    if not folder.is_dir():
        pytest.skip("no real data: set NASBENCH_DATA_DIR")
    return folder
