import csv
from pathlib import Path

import pandas as pd
import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.tables import make_tables, write_tables
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
