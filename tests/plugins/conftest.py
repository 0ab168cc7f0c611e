"""A folder with data and a model for users' own tasks."""

from pathlib import Path

import pytest
from support.user_tasks import make_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_folder(tmp_path)
    return tmp_path
