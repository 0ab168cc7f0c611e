"""`make gpu-check` on the pretended card: no check raises. What it sees is garbage, so lines may differ.

Processes do not share the pretended memory, so the check of a full card differs here, too (test_faults.py has it).
There is no profiler for pretended kernels.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import gpu_check


def test_no_check_raises(tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    names = [check.__name__.replace("_", "-") for check in gpu_check.CHECKS]
    gpu_check.main(["--tiny", "--out", str(out), "--only", ",".join(name for name in names if name != "profile")])
    report = out.read_text()
    assert "no error" not in report, report
    assert "recordings are kept" in report
    assert "LOST" not in report, report
