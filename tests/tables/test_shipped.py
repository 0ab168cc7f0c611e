"""The tables that come with the suite, and runs on them through the command line and from Python."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import nasbench
from nasbench.analysis.scoring.truth import Truth
from nasbench.cli.main import cli
from nasbench.export.command import command_of
from nasbench.networks import space as space_module
from nasbench.tables.table import Table, find_tables, shipped_folder

TABLES = find_tables()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_shipped_table_is_complete(table: Table) -> None:
    info = table.info
    assert table.name == f"{info.task}_{info.model}_seed{info.seed}"
    assert info.task in nasbench.tasks()
    assert info.model in nasbench.models()
    assert not np.isnan(table.values).any()
    assert len(info.super_network_sha256) == 64
    assert {"data_sha256", "weights_sha256", "hardware", "precision"} <= info.provenance.keys()
    assert not info.unofficial
    truth = Truth(table)
    assert truth.front.sum() > 10
    assert 3 < truth.hypervolume < 4


def test_shipped_tables_stay_small() -> None:
    sizes = [path.stat().st_size for path in shipped_folder().iterdir()]
    assert max(sizes) < 1e6
    assert sum(sizes) < 10e6


def test_command_line_and_python_give_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_module, "LEAST_STEPS", 96)
    arguments = ["--method", "ws-nas", "--searcher", "local", "--task", "demo", "--model", "minilm-l6", "--seed", "7"]
    arguments += ["--max-evaluations", "30", "--results", str(tmp_path / "a"), "--quiet", "--table"]
    done = CliRunner().invoke(cli, ["run", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = nasbench.run(
        "ws-nas", "demo", model="minilm-l6", searcher="local", seed=7, max_evaluations=30, table=True, quiet=True,
        results=tmp_path / "b",
    )  # fmt: skip
    typed = nasbench.api.Run(next((tmp_path / "a").rglob("run.json")).parent)
    assert found.status == "complete"
    assert found.record.simulated == "demo_minilm-l6_seed0"
    assert found.evaluations["config"].tolist() == typed.evaluations["config"].tolist()
    assert found.evaluations["error"].tolist() == typed.evaluations["error"].tolist()
    again = nasbench.run(
        "ws-nas", "demo", model="minilm-l6", searcher="local", seed=7, max_evaluations=30, table=True, quiet=True,
        results=tmp_path / "b",
    )  # fmt: skip
    assert again.record == found.record  # read from disk
    assert command_of(found.record) == (
        "nasbench run --method ws-nas --searcher local --task demo --model minilm-l6 --table --seed 7 "
        "--max-evaluations 30"
    )


@pytest.mark.parametrize("table", [None, TABLES[0].path], ids=["by names", "by path"])
def test_table_of_the_suite_does_not_answer_for_a_model_of_the_users_own(table: Path | None, tmp_path: Path) -> None:
    model = dataclasses.replace(nasbench.models()["minilm-l6"], local_folder="mine", weights_sha256=None)
    with pytest.raises(nasbench.UserError, match=r"is of the suite's demo with minilm-l6, not of a declaration"):
        nasbench.run("ws-nas", "demo", model=model, table=table or True, results=tmp_path, quiet=True)
    assert not list(tmp_path.iterdir())


def test_simulated_runs_are_in_a_scenario_of_their_own_and_unofficial(tmp_path: Path) -> None:
    nasbench.run(
        "ws-nas", "demo", model="minilm-l6", searcher="random", max_evaluations=10, table=TABLES[0].path, quiet=True,
        results=tmp_path,
    )  # fmt: skip
    runs = nasbench.results(tmp_path).runs
    assert runs["scenario"].tolist() == ["demo/minilm-l6/table"]
    assert not runs["official"].any()
