from __future__ import annotations

from pathlib import Path

import pytest
from support.sweeping import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "scene").mkdir()
    return Scene(tmp_path / "scene")
