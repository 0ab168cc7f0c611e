"""Figures whose runs the results of test_report.py lack: 5, 7 and 10. ``make bench`` draws all figures at full size."""

from pathlib import Path

import pytest
from support.paper_results import ENTRIES, SAMPLED, write_paper_results

from nasbench.analysis.report.report import report
from nasbench.records.record import find_runs

TASKS, MODELS, SEEDS = ("rte", "mrpc"), ("bert-base-cased", "roberta-base"), (0, 1)


@pytest.mark.slow
def test_report_draws_figures_5_7_and_10_from_complete_runs(tmp_path: Path) -> None:
    write_paper_results(tmp_path / "results", TASKS, MODELS, SEEDS, n_evaluations=30)
    n_runs = len(TASKS) * len(MODELS) * len(SEEDS) * (len(ENTRIES) + len(SAMPLED))
    assert len(find_runs(tmp_path / "results")) == n_runs
    outcome = report(tmp_path / "results", tmp_path / "out", ("5", "7", "10"))
    assert outcome.exit_code == 0
    assert {path.name for path in outcome.files} == {
        f"figure_{number}.{kind}" for number in (5, 7, 10) for kind in ("svg", "pdf", "png")
    }
    assert all(path.stat().st_size > 1000 for path in outcome.files)
    assert [warning for warning in outcome.warnings if "experiment" in warning] == []
