"""The comparison of searchers on tables: recomputed from the raw records, and intervals of medians."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.formula_table import formula_table

from nasbench.analysis.report.table_searchers import compare, page
from nasbench.analysis.scoring.truth import Truth
from nasbench.cli.main import cli
from nasbench.errors import UserError
from nasbench.tables.comparison import run_all, searchers_for_tables
from nasbench.tables.table import Table, write_table

SEARCHERS = ("random", "local")
RUNS = (SEARCHERS, range(7), 30)
"""Searchers, seeds and number of evaluations of the runs."""
WRITTEN = {"command": "nasbench compare-searchers", "picture": "page-regret.png"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return formula_table(tmp_path_factory.mktemp("tables") / "formula.parquet")


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
    text = page([table], results, *RUNS, **WRITTEN)
    assert "2 searchers ran 7 times for 30 evaluations on each table: `random`, `local`." in text
    assert "```bash\nnasbench compare-searchers\n```" in text
    assert "](page-regret.png)" in text
    assert f"{int(Truth(table).front.sum())} are on the true front" in text
    assert all(f"| {name} | " in text for name in SEARCHERS)
    assert "nan" not in text
    assert "Left out" not in text


def test_page_names_what_it_leaves_out_with_the_seconds_of_other_runs(
    table: Table, results: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    shutil.copytree(results, both)
    for n in (5, 12):
        run_all([table], ["nsga2"], range(2), n, both)
    records = [json.loads(path.read_text()) for path in both.rglob("ws-nas+nsga2_*/run.json")]
    longest = [record["charged_s"] for record in records if record["identity"]["max_evaluations"] == 12]
    assert len(longest) == 2
    own_s = np.mean([charged["search"] + charged["idle"] for charged in longest]) / 12
    text = page([table], both, *RUNS, **WRITTEN, left_out=["ehvi", "nsga2"])
    assert (
        "Left out of the suite's searchers that can run on a table: `ehvi`, `nsga2` "
        f"(it takes {own_s:.2g} s of its own per evaluation, measured over 12 of them)."
    ) in text
    assert "| nsga2 |" not in text


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
    assert page([table], both, *RUNS, **WRITTEN) == page([table], results, *RUNS, **WRITTEN)
    (row,), _ = compare(table, both / table.name, ["local"], range(2), 20)
    assert (row.searcher, row.n_runs) == ("local", 2)
    with pytest.raises(UserError, match="no complete run of typo with 30 evaluations"):
        compare(table, both / table.name, ["typo"], range(7), 30)


def test_runs_with_the_options_of_an_earlier_version_do_not_count(table: Table, results: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(results, both)
    for path in list(both.rglob("ws-nas+local_*/run.json")):
        old = path.parent.with_name(f"{path.parent.name}_0123abcd")
        shutil.copytree(path.parent, old)
        record = json.loads(path.read_text())
        record["identity"]["options"]["searcher"] = {"an_old_option": 1}
        record["started_at"] = "2020-01-01T00:00:00+00:00"
        (old / "run.json").write_text(json.dumps(record))
        (old / "evaluations.jsonl").write_text(
            "".join(
                json.dumps({**json.loads(line), "error": 0.5}) + "\n"
                for line in (path.parent / "evaluations.jsonl").open()
            )
        )
    assert page([table], both, *RUNS, **WRITTEN) == page([table], results, *RUNS, **WRITTEN)


def test_command_writes_the_page_and_its_picture(table: Table, results: Path, tmp_path: Path) -> None:
    out = tmp_path / "my page.md"
    named = ["--table", str(table.path), *(word for name in SEARCHERS for word in ("--searcher", name))]
    named += ["--seeds", "7", "--max-evaluations", "30"]
    places = ["--results", str(results), "--out", str(out)]
    done = CliRunner().invoke(cli, ["compare-searchers", *named, *places], catch_exceptions=False)
    assert done.exit_code == 0
    others = [name for name in searchers_for_tables() if name not in SEARCHERS]
    assert {"morea", "nsga2", "ehvi", "ehvi-exact"} <= set(others)
    command = shlex.join(["nasbench", "compare-searchers", *named])
    expected = page([table], results, *RUNS, command=command, picture="my page-regret.png", left_out=others)
    assert out.read_text() == expected
    assert "](my%20page-regret.png)" in expected
    assert (tmp_path / "my page-regret.png").read_bytes().startswith(b"\x89PNG")


def test_every_searcher_of_the_suite_that_fits_is_compared() -> None:
    found = set(searchers_for_tables())
    assert {"random", "local", "morea", "nsga2", "ehvi", "ehvi-exact"} <= found
    # They need decisions during a training, the depths of a pass, and the space LAYER.
    assert not {"moasha", "depth", "exhaustive"} & found
