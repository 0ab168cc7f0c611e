"""A folder with data and a model for users' own tasks."""

from pathlib import Path

import pytest
from support.user_tasks import ROWS

from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.tasks import TINY_SINGLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny(TINY_BERT, TINY_SINGLE, tmp_path / "my model")
    lines = ["review,sentiment", *(f"{text},{label}" for text, label in ROWS)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    return tmp_path
