"""The comparison of searchers on tables: recomputed from the raw records, and intervals of medians."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nasbench.analysis.report import table_searchers
from nasbench.analysis.report.table_searchers import compare, page
from nasbench.analysis.scoring.truth import Truth
from nasbench.cli.main import cli
from nasbench.errors import UserError
from nasbench.networks.subnetwork import Dimensions
from nasbench.tables.comparison import run_all, searchers_for_tables
from nasbench.tables.table import Table, TableInfo, grid_of, write_table
from nasbench.training.configuration import SuperNetworkOptions

DIMS = Dimensions(n_layers=4, n_heads=8, n_units=64, hidden_size=32, head_size=4, n_fixed_params=2000)
SEARCHERS = ("random", "local")
RUNS = (SEARCHERS, range(7), 30)
"""Searchers, seeds and number of evaluations of the runs."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A table of ``demo`` with ``demo-bert`` whose errors follow a formula with noise."""
    info = TableInfo(
        task="demo", model="demo-bert", seed=0, metric="accuracy", metrics=("accuracy",), unit_step=4,
        dimensions=DIMS.to_json(), options=json.loads(json.dumps(dataclasses.asdict(SuperNetworkOptions()))),
        track="demo", training_s=50.0, n_validation=100, depth_shares=(0.0, 0.3, 0.6, 0.9, 1.0), depth_0_s=0.1,
        clock="wall", suite_version="0",
    )  # fmt: skip
    shape = tuple(info.space.upper + 1)
    h, u, n = (grid_of(info.space) / info.space.upper).T
    noise = np.random.default_rng(0).normal(0, 0.01, len(h))
    accuracy = (0.5 + 0.4 * np.tanh(2 * n * (0.6 * h + 0.4 * u)) + noise).reshape(*shape, 1)
    table = Table(tmp_path_factory.mktemp("tables") / "formula.parquet")
    write_table(table.path, info, accuracy, accuracy - 0.02, np.full(shape[:2], 0.5))
    return table


@pytest.fixture(scope="module")
def results(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    run_all([table], *RUNS, folder)
    return folder


def test_numbers_follow_from_the_raw_records(table: Table, results: Path) -> None:
    """Regret and evaluations to 99 %, from nothing but the lines of the records."""
    truth = Truth(table)
    rows, _ = compare(table, results / table.name, *RUNS)
    assert {row.searcher for row in rows} == set(SEARCHERS)
    for row in rows:
        regrets, needed = [], []
        for path in (results / table.name).rglob(f"ws-nas+{row.searcher}_*/evaluations.jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found = truth.found([(line["error"], line["params"]) for line in lines])
            regrets.append(truth.hypervolume - found[-1])
            needed.append(next((i + 1 for i, value in enumerate(found) if value >= 0.99 * truth.hypervolume), np.inf))
        assert len(regrets) == row.n_runs == 7
        assert row.regret.value == pytest.approx(np.mean(regrets))
        half = 2.446912 * np.std(regrets, ddof=1) / np.sqrt(7)  # Student's quantile for 6 degrees of freedom
        assert row.regret.high - row.regret.value == pytest.approx(half, rel=1e-4)
        assert row.evaluations.value == np.sort(needed)[3]
        assert row.n_reached == np.isfinite(needed).sum()
    assert [row.regret.value for row in rows] == sorted(row.regret.value for row in rows)


def test_a_repeated_comparison_runs_nothing_again(table: Table, results: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("run.json")}
    run_all([table], *RUNS, results)
    assert {path: path.stat().st_mtime_ns for path in results.rglob("run.json")} == before


def test_page_has_a_row_for_each_searcher(table: Table, results: Path) -> None:
    text = page([table], results, *RUNS)
    assert "ran 7 times for 30 evaluations on each table" in text
    assert f"{int(Truth(table).front.sum())} are on the true front" in text
    assert all(f"| {name} | " in text for name in SEARCHERS)
    assert "nan" not in text


def test_records_of_another_version_of_the_table_are_refused(table: Table, results: Path, tmp_path: Path) -> None:
    other = Table(tmp_path / "formula.parquet")
    shape = tuple(table.space.upper + 1)
    values = np.full((*shape, 1), 0.5)
    write_table(other.path, table.info, values, values, np.ones(shape[:2]))
    with pytest.raises(UserError, match="hold runs on another table, or on another version of it"):
        compare(other, results / table.name, *RUNS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no complete run of random, local with 30 evaluations"):
        compare(table, tmp_path / "empty", *RUNS)


def test_only_the_runs_asked_for_are_compared(table: Table, results: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(results, both)
    run_all([table], SEARCHERS, range(2), 20, both)
    assert page([table], both, *RUNS) == page([table], results, *RUNS)
    (row,), _ = compare(table, both / table.name, ["local"], range(2), 20)
    assert (row.searcher, row.n_runs) == ("local", 2)
    with pytest.raises(UserError, match="no complete run of typo with 30 evaluations"):
        compare(table, both / table.name, ["typo"], range(7), 30)


def test_command_writes_the_page(table: Table, results: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    arguments = ["--table", str(table.path), "--results", str(results), "--out", str(out), "--seeds", "7"]
    arguments += ["--max-evaluations", "30", *(word for name in SEARCHERS for word in ("--searcher", name))]
    done = CliRunner().invoke(cli, ["compare-searchers", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    assert out.read_text() == page([table], results, *RUNS)


def test_every_searcher_of_the_suite_that_fits_is_compared() -> None:
    assert set(searchers_for_tables()) == {"random", "local", "morea", "nsga2", "ehvi", "ehvi-exact"}


def test_frame_has_one_row_for_each_searcher(table: Table, results: Path) -> None:
    rows, _ = compare(table, results / table.name, *RUNS)
    frame = table_searchers.frame(rows)
    assert frame["searcher"].tolist() == [row.searcher for row in rows]
    assert (frame["regret_low"] <= frame["regret"]).all()
