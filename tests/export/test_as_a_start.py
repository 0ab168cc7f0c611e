"""An exported network as the start of another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.user_tasks import BASE, ROWS, load, toml

import nasbench
from nasbench.errors import UserError
from nasbench.export.folder import export
from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.tasks import TINY_SINGLE

RunOf = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.csv").write_text("review,sentiment\n" + "".join(f"{text},{label}\n" for text, label in ROWS))
    save_tiny(TINY_BERT, TINY_SINGLE, tmp_path / "first")
    return tmp_path


def exported(folder: Path, run_of: RunOf, config: list[int], space: str) -> None:
    task, model = load(folder, {**BASE, "model": {"folder": "first"}})
    export(run_of([config], space=space, task=task, model=model), folder / "my model", 1.0)


def test_network_with_fewer_whole_layers_is_pruned_further(folder: Path, run_of: RunOf) -> None:
    exported(folder, run_of, [1, 0, 1], "layer")
    (folder / "own.toml").write_text(toml(BASE))
    run = nasbench.run(
        "layer-dropping", folder / "own.toml", results=folder / "runs", budget_s=60, max_evaluations=3, quiet=True,
        options={"epochs": 1},
    )  # fmt: skip
    assert run.status == "complete", run.record.reason
    assert run.record.dimensions["n_layers"] == 2
    assert (
        run.record.notes[0]
        == "the trained output layer is used: 'bad' is output 0 ('bad'), 'good' is output 1 ('good')"
    )
    again = run.export(folder / "again", 0.99)
    assert sum(p.numel() for p in again.parameters()) < run.record.n_params_full


def test_network_with_layers_of_different_widths_is_refused(folder: Path, run_of: RunOf) -> None:
    exported(folder, run_of, [2, 0, 4, 5, 48, 0], "medium")
    with pytest.raises(UserError, match=r"this network was pruned before, .* \(nasbench\.json names it\)$"):
        load(folder, BASE)
