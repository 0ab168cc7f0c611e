import csv
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.report import report
from nasbench.analysis.report.sections import sections
from nasbench.analysis.report.tables import make_tables, write_tables
from nasbench.analysis.scoring.quantiles import Quantiles, fit_quantiles
from nasbench.analysis.scoring.scores import score


def test_comparison_table_pairs_entries_within_track_and_device_class(tmp_path) -> None:
    a, b = Entry("rfp", space="large", shift=0.05), Entry("ws-nas", "ehvi")
    for device, n_seeds in (("gpu", 4), ("cpu", 2)):
        for track, task in (("paper", "rte"), ("demo", "demo")):
            plan = Plan([a, b], [task], seeds=range(n_seeds), device_class=device, track=track, n_evaluations=9)
            write_results(tmp_path, plan)
    results = read_results(tmp_path)
    comparison = make_tables(results, score(results), [])["comparison"]
    found = comparison[["track", "device_class", "a", "b", "n", "n_unpaired"]].to_numpy().tolist()
    names = ["rfp@large", "ws-nas/ehvi@small"]
    assert found == [
        [track, device, *names, n, 0] for track in ("demo", "paper") for device, n in (("cpu", 2), ("gpu", 4))
    ]
    # A group with a single comparison needs no correction.
    assert comparison["p_holm"].tolist() == comparison["p"].tolist()


WARNING = "tables: test hypervolumes in scenarios without frozen quantiles differ from those of the rankings"


def test_test_hypervolumes_are_those_of_the_rankings_with_frozen_quantiles(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {})
    entries = [Entry("rfp", space="large"), Entry("ws-nas", "ehvi", shift=-0.05)]
    plan = Plan(entries, ["rte"], seeds=[0], n_evaluations=9)
    write_results(tmp_path / "results", plan)
    write_results(tmp_path / "results", dataclasses.replace(plan, tasks=["mrpc"], unofficial=("disturbed",)))
    outcome = report(tmp_path / "results", tmp_path / "out")
    assert not any(text.startswith(WARNING) for text in outcome.warnings)  # no scenario has both kinds of runs
    unofficial = Plan([Entry("s-nas", "random", shift=0.1)], ["rte"], seeds=[57], unofficial=("seed 57",))
    write_results(tmp_path / "results", unofficial)
    results = read_results(tmp_path / "results")
    for quantiles, has_one_scale in ((Quantiles(), False), (fit_quantiles(results.evaluations), True)):
        boards = sections(results, quantiles)
        runs = make_tables(results, score(results, quantiles), boards)["runs"]
        ranked = boards[0].table.set_index("entry")["own_test"]  # of one run
        of_tables = runs[runs["official"]].set_index("entry")["test_hypervolume"]
        assert np.allclose(ranked, of_tables[ranked.index]) == has_one_scale
    outcome = report(tmp_path / "results", tmp_path / "out")
    assert sum(text.startswith(WARNING) for text in outcome.warnings) == 1
    assert "tables" in set(pd.read_csv(tmp_path / "out" / "tables" / "warnings.csv")["place"])


@pytest.mark.parametrize(
    ("name", "markup", "cell"),
    [
        ('=HYPERLINK("http://x")', None, '\'=HYPERLINK("http://x")'),
        ("@SUM(A1)", None, "'@SUM(A1)"),
        ("[a](javascript:x)", "[a](", "[a](javascript:x)"),
        ("<script>x</script>", "<script>", "<script>x</script>"),
        ("a\x1b[2Jb", "\x1b", "a [2Jb"),
    ],
)
def test_names_from_records_are_inert_in_csv_and_markdown(
    tmp_path: Path, name: str, markup: str | None, cell: str
) -> None:
    table = pd.DataFrame({"entry": [name], "value": [-0.5], "n": [3]})
    write_tables({"some": table}, tmp_path)
    with (tmp_path / "some.csv").open(newline="") as file:
        assert [*csv.reader(file)] == [["entry", "value", "n"], [cell, "-0.5", "3"]]
    text = (tmp_path / "some.md").read_text()
    # No spreadsheet reads Markdown, so a formula may stand there; markup and control characters may not.
    if markup is not None:
        assert markup not in text
    assert table.loc[0, "entry"] == name
