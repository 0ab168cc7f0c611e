"""What a run of a sweep reports to the terminal."""

from __future__ import annotations

from pathlib import Path

from nasbench.sweeps.reporter import Reporter


def test_each_phase_is_reported_while_the_clock_stands_still_and_steps_once_a_second() -> None:
    reports: list[dict[str, object]] = []
    reporter = Reporter(reports.append, None, Path("run"))
    for place in (1, 2, 3):
        reporter.phase(f"measuring network {place} of 3 of the front", 7.0)
    assert [report["phase"] for report in reports] == [f"measuring network {i} of 3 of the front" for i in (1, 2, 3)]
    reports.clear()
    for step in range(40):
        reporter.training(step, 40, 10 + step / 10)
    assert [report["elapsed_s"] for report in reports] == [10.0, 11.0, 12.0, 13.0]
