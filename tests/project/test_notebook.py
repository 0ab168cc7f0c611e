"""The notebook of the documentation runs from top to bottom. Here it runs on a tiny task, with a budget of seconds."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
SETTINGS = 'TASK, MODEL, BUDGET_S = "demo", "minilm-l6", 150'
TINY_SETTINGS = """
from nasbench.testing.models import TINY_BERT as MODEL
from nasbench.testing.tasks import TINY_PAIR as TASK

BUDGET_S = 10
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[nbformat.NotebookNode, Path]:
    """The notebook after a run in an empty folder, and that folder."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with_settings = [cell for cell in notebook.cells if SETTINGS in cell.source]
    assert len(with_settings) == 1
    with_settings[0].source = with_settings[0].source.replace(SETTINGS, TINY_SETTINGS)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}})
    client.execute()
    return notebook, folder


def test_notebook_runs_and_leaves_three_complete_runs(executed: tuple[nbformat.NotebookNode, Path]) -> None:
    _, folder = executed
    records = [json.loads(path.read_text()) for path in folder.glob("runs/*/*/*/run.json")]
    assert {record["identity"]["method"]: record["status"] for record in records} == {
        "ws-nas": "complete",
        "rfp": "complete",
        "top-layers": "complete",
    }
    assert (folder / "pruned" / "nasbench.json").exists()


def test_notebook_shows_two_pictures_and_tables(executed: tuple[nbformat.NotebookNode, Path]) -> None:
    notebook, _ = executed
    shown = [
        kind
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        for kind in output.get("data", {})
    ]
    assert shown.count("image/png") == 2
    assert shown.count("text/html") >= 4


def test_committed_notebook_was_executed_in_order_without_errors() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
