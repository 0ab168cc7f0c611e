"""`make gpu-check` tried on a CPU: what it says, and that a check that fails does not keep the others from running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from benchmarks import gpu_check
from benchmarks.gpu_check import Line, Setting


def test_report_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.md"
    words = ["--device", "cpu", "--tiny", "--out", str(out), "--only"]
    assert gpu_check.main([*words, "device,numerics,evaluations,memory,profile,full-card,rows"]) == 0
    report = out.read_text()
    assert report in capsys.readouterr().out
    assert f"| nasbench, Python, torch | - | {gpu_check.nasbench.__version__}, " in report
    assert "| logits in fp32 against the CPU's | differ by 1e-3 at most | 0.0e+00 | ok |" in report
    assert "| small: 3 fresh sub-networks | about 6 to 7 ms on an H100 (estimate) | " in report
    assert "| a run on a full card | only on a GPU | left out |  |" in report
    assert report.endswith("\n0 lines differ from what is expected.\n")
    rows = [line for line in report.splitlines() if line.startswith("| ")]
    assert all(line.count("|") == 5 for line in rows)


def test_check_that_fails_is_a_line_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(setting: Setting) -> Iterator[Line]:  # noqa: ARG001
        """Breaks."""
        yield Line("first", "1", "2", False)
        raise RuntimeError("CUDA error: | of a new card\nmore")

    def runs(setting: Setting) -> Iterator[Line]:
        """Runs."""
        yield Line("last", "cpu", setting.device.type, True)

    monkeypatch.setattr(gpu_check, "CHECKS", (breaks, runs))
    out = tmp_path / "report.md"
    assert gpu_check.main(["--device", "cpu", "--tiny", "--out", str(out)]) == 1
    report = out.read_text()
    assert "| first | 1 | 2 | **DIFFERS** |" in report
    assert "CUDA error: / of a new card more | **DIFFERS** |" in report
    assert "| last | cpu | cpu | ok |" in report
    assert "2 lines differ" in report


def test_machine_without_a_gpu_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(["--out", str(tmp_path / "report.md")]) == 2
    assert "this torch sees no GPU" in capsys.readouterr().err
    assert not (tmp_path / "report.md").exists()
    with pytest.raises(SystemExit):
        gpu_check.main(["--only", "nothing"])
    assert "no check nothing; there are " in capsys.readouterr().err
