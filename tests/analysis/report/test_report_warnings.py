"""What a report warns of: damaged records, other quantiles than the frozen ones, and runs that figures lack."""

import pandas as pd
import pytest

from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.analysis.report.report import report
from nasbench.errors import UserError


def test_table_of_warnings_has_all_warnings(tmp_path, write_run, monkeypatch):
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {"6": FIGURES["6"]})
    results = tmp_path / "results"
    points = [(1.0, 0.2, 0.2), (0.5, 0.3, 0.3)]
    write_run(results, "rfp", None, "large", points, status="failed", reason="out of memory")
    (write_run(results, "s-nas", "random", "small", points) / "run.json").write_text("{", encoding="utf-8")
    outcome = report(results, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "tables" / "warnings.csv")
    assert [f"{row.place}: {row.message}" for row in table.itertuples()] == list(outcome.warnings)
    assert table["damage"].sum() == 1
    for place in ("rte/bert-base-cased/rfp_large_gpu_seed0", "rte/bert-base-cased/gpu", "figure 6"):
        assert place in set(table["place"])


def test_refitted_report_says_that_its_quantiles_are_not_the_frozen_ones(tmp_path, write_run, monkeypatch):
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {"4": FIGURES["4"]})
    results = tmp_path / "results"
    write_run(results, "rfp", None, "large", [(1.0, 0.2, 0.2), (0.5, 0.3, 0.3)])
    text = "all scenarios: errors and costs are normalised by the runs of this report, not by the frozen quantiles"
    assert report(results, tmp_path / "refitted", refit=True).warnings == (text,)
    assert pd.read_csv(tmp_path / "refitted" / "tables" / "warnings.csv")["place"].tolist() == ["all scenarios"]
    assert text not in report(results, tmp_path / "frozen").warnings


def test_figure_without_an_experiment_says_what_it_needs(tmp_path, write_run):
    write_run(tmp_path / "results", "rfp", None, "large", [(1.0, 0.2, 0.2)])
    for name, message in (
        ("13", "figure 13: no run to show in figure 13, which needs quantised networks; `nasbench quantize RUN` makes"),
        ("contest", "which needs runs of two of its methods; `nasbench experiment fig8 --task rte .*` makes such runs"),
    ):
        with pytest.raises(UserError, match=message):
            report(tmp_path / "results", tmp_path / "out", figures=(name,))


@pytest.mark.parametrize(("task", "track", "is_asked"), [("rte", "paper", True), ("wikitext2", "decoder", False)])
def test_language_modelling_is_asked_for_no_run_of_the_paper(tmp_path, write_run, monkeypatch, task, track, is_asked):
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {name: FIGURES[name] for name in ("5", "6", "7")})
    write_run(tmp_path / "results", "shortgpt", None, "layer", [(1.0, 0.2, 0.2)], task=task, track=track)
    asked = [text for text in report(tmp_path / "results", tmp_path / "out").warnings if "nasbench experiment" in text]
    assert len(asked) == (3 if is_asked else 0)
