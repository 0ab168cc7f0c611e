"""Runs on tables have sections of their own on the leaderboard, and change no other section."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.formula_table import formula_table
from support.generated_results import Entry, Plan, write_results
from support.recomputed import fitted, hypervolumes

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.leaderboard import render
from nasbench.analysis.report.report import report
from nasbench.analysis.report.sections import NOT_DECLARED, sections, simulated_sections
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.tables.comparison import run_all

NONE_FROZEN = Quantiles()
N_EVALUATIONS = 12
TITLE = "Demo, simulated on tables"


def simulate(folder: Path, *seeds_of_tables: int) -> None:
    """Runs of two searchers with three seeds on tables, in ``folder/simulated``."""
    for seed in seeds_of_tables:
        table = formula_table(folder.with_name(f"{folder.name}-table{seed}.parquet"), seed=seed)
        run_all([table], ["random", "local"], range(3), N_EVALUATIONS, folder / "simulated")


def write_real(folder: Path) -> None:
    """Official runs of two entries on the demo and on RTE."""
    entries = [Entry("ws-nas", "ehvi", shift=-0.05), Entry("rfp", space="large", shift=0.05)]
    demo = {"tasks": ["demo"], "models": ["minilm-l6"], "track": "demo", "device_class": "cpu"}
    for plan in ({"tasks": ["rte"]}, demo):
        write_results(folder, Plan(entries, seeds=range(2), n_evaluations=9, **plan))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders: one of runs on networks, and one with simulated runs as well."""
    real, mixed = (tmp_path_factory.mktemp(name) / "results" for name in ("real", "mixed"))
    for folder in (real, mixed):
        write_real(folder)
    simulate(mixed, 0)
    return real, mixed


def test_simulated_runs_are_in_one_section_of_their_own(both: tuple[Path, Path]) -> None:
    found = read_results(both[1])
    (section,) = simulated_sections(found, NONE_FROZEN)
    assert section.title == TITLE
    assert not section.is_declared
    assert (section.scenarios, section.seeds, section.n_blocks) == (("demo/demo-bert",), (0, 1, 2), 3)
    marks = f"@small-grid [max_evaluations={N_EVALUATIONS}]"
    assert set(section.table["entry"]) == {f"ws-nas/random{marks}", f"ws-nas/local{marks}"}
    assert section.table["n_runs"].tolist() == [3, 3]
    real = [each for board in sections(found, NONE_FROZEN) for each in board.table["entry"]]
    assert not any("small-grid" in name for name in real)


def test_hypervolumes_equal_a_recomputation_from_the_raw_records(both: tuple[Path, Path]) -> None:
    (section,) = simulated_sections(read_results(both[1]), NONE_FROZEN)
    runs: dict[str, list[pd.DataFrame]] = {"random": [], "local": []}
    for path in sorted((both[1] / "simulated").rglob("run.json")):
        lines = pd.read_json(path.with_name("evaluations.jsonl"), lines=True, precise_float=True)
        runs[json.loads(path.read_text())["identity"]["searcher"]].append(lines)
    quantiles = fitted([*runs["random"], *runs["local"]])
    table = section.table.set_index(section.table["entry"].str.extract("/(.*)@", expand=False))
    for searcher, own in runs.items():
        test, validation = np.mean([hypervolumes(evaluations, quantiles) for evaluations in own], axis=0)
        assert table.loc[searcher, "test"] == pytest.approx(test, abs=1e-9)
        assert table.loc[searcher, "validation"] == pytest.approx(validation, abs=1e-9)


def test_simulated_runs_change_no_other_section(both: tuple[Path, Path]) -> None:
    before, after = (sections(read_results(folder), NONE_FROZEN) for folder in both)
    assert [section.title for section in after] == [section.title for section in before]
    assert len(before) == 2
    for one, other in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(one.table, other.table)
        pd.testing.assert_frame_equal(one.by_scenario, other.by_scenario)
    assert simulated_sections(read_results(both[0]), NONE_FROZEN) == []


def test_leaderboard_has_the_section_after_all_others(both: tuple[Path, Path]) -> None:
    before, after = (render(read_results(folder), NONE_FROZEN) for folder in both)
    heading = f"## {TITLE}\n"
    assert heading not in before
    counted = "Not counted: 0 unofficial runs, 0 unfinished runs.\n"
    assert before.endswith(counted)
    assert after.endswith(counted)
    assert after.startswith(before.removesuffix(counted))
    own = after.partition(heading)[2]
    assert "## " not in own
    assert "never with runs on a network" in own
    assert NOT_DECLARED in own
    assert NOT_DECLARED not in before
    assert own.count("| ws-nas/random@small-grid") == 3  # ranking, scenarios, origin


def test_two_tables_of_a_seed_are_two_scenarios_of_the_section(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    simulate(folder, 0, 1)
    found = read_results(folder)
    (section,) = simulated_sections(found, NONE_FROZEN)
    digests = {json.loads(path.read_text())["identity"]["table"] for path in folder.rglob("run.json")}
    assert len(digests) == 2
    assert set(section.scenarios) == {f"demo/demo-bert/table-{digest}" for digest in digests}
    assert section.n_blocks == 6
    assert section.by_scenario["n_runs"].tolist() == [3] * 4
    assert "No official run yet." in render(found, NONE_FROZEN)


def test_report_has_the_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {})
    simulate(tmp_path / "results", 0)
    report(tmp_path / "results", tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out/tables/leaderboard.csv")
    assert rows["section"].unique().tolist() == [TITLE]
    assert len(rows) == 2
    page = (tmp_path / "out/report.html").read_text()
    assert TITLE in page
    assert f"seeds 0, 1, 2. {NOT_DECLARED}</p>" in page
