"""True regret over time on tables: recomputed from the lines of the records, and what the picture shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.formula_table import formula_table

from nasbench.analysis.figures import table_regrets
from nasbench.analysis.scoring.truth import Truth
from nasbench.search.pareto import hypervolume
from nasbench.tables.comparison import run_all
from nasbench.tables.table import Table

SEARCHERS = ("random", "pymoo:NSGA2")
RUNS = (SEARCHERS, range(4), 25)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Table]:
    folder = tmp_path_factory.mktemp("tables")
    return [formula_table(folder / f"formula{seed}.parquet", seed=seed) for seed in range(2)]


@pytest.fixture(scope="module")
def results(tables: list[Table], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    run_all(tables, *RUNS, folder)
    return folder


@pytest.fixture(scope="module")
def data(tables: list[Table], results: Path) -> pd.DataFrame:
    return table_regrets.data(tables, results, *RUNS)


def test_regret_is_that_of_the_lines_of_the_records(tables: list[Table], results: Path, data: pd.DataFrame) -> None:
    for table in tables:
        truth = Truth(table)
        for searcher in SEARCHERS:
            part = data[(data["table"] == table.name) & (data["searcher"] == searcher)]
            assert len(part) > 50
            runs = []
            for path in (results / table.name).rglob(f"ws-nas+{searcher.replace(':', '?')}_*/evaluations.jsonl"):
                runs.append([json.loads(line) for line in path.read_text().splitlines()])
            assert len(runs) == 4
            ends = [run[-1]["elapsed_s"] - 50 for run in runs]  # the training of the super-network took 50 s
            begins = [run[0]["elapsed_s"] - 50 for run in runs]
            assert part["time_s"].min() == pytest.approx(max(begins))
            assert part["time_s"].max() == pytest.approx(min(ends))
            for row in part.iloc[::20].to_dict("records"):
                found = []
                for run in runs:
                    known = [line for line in run if line["elapsed_s"] - 50 <= row["time_s"]]
                    values = truth.normalise([(line["error"], line["params"]) for line in known])
                    found.append(hypervolume(values, (2.0, 2.0)))
                regret = truth.hypervolume - np.array(found)
                assert row["regret"] == pytest.approx(regret.mean())
                half = stats.t.ppf(0.975, 3) * regret.std(ddof=1) / 2
                assert row["high"] - row["regret"] == pytest.approx(half)
                assert row["regret"] - row["low"] == pytest.approx(half)


def test_regret_never_rises_and_is_never_negative(data: pd.DataFrame) -> None:
    for _, part in data.groupby(["table", "searcher"]):
        assert (np.diff(part["regret"]) <= 1e-12).all()
        assert (part["regret"] >= -1e-12).all()


def test_picture_has_a_panel_for_each_table_and_a_line_for_each_searcher(data: pd.DataFrame) -> None:
    figure = table_regrets.draw(data)
    assert [ax.get_title(loc="right") for ax in figure.axes] == ["formula0", "formula1"]  # of one task and model
    for ax, (_, part) in zip(figure.axes, data.groupby("table"), strict=True):
        assert ax.get_yscale() == "log"
        lines = {str(line.get_label()): line for line in ax.lines}
        assert {name: line.get_linestyle() for name, line in lines.items()} == {"RS": "-", "pymoo:NSGA2": "--"}
        own = part[part["searcher"] == "random"]
        assert lines["RS"].get_xydata() == pytest.approx(own[["time_s", "regret"]].to_numpy())
        assert ax.get_ylim()[0] > 0


def test_single_table_is_named_by_task_and_model(data: pd.DataFrame) -> None:
    figure = table_regrets.draw(data[data["table"] == "formula0"])
    (ax,) = figure.axes
    assert ax.get_title(loc="right") == "demo BERT"


def test_runs_of_two_seeds_have_a_line_without_a_band(tables: list[Table], results: Path) -> None:
    data = table_regrets.data(tables[:1], results, ["random"], range(2), 25)
    assert data[["low", "high"]].isna().all(axis=None)
    assert data["regret"].notna().all()
    table_regrets.draw(data).draw_without_rendering()
