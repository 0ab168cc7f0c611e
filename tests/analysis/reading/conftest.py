from __future__ import annotations

from pathlib import Path

import pytest
from support.generated_results import write_results
from support.record_edits import PLAN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_results(tmp_path, PLAN)
    return tmp_path
