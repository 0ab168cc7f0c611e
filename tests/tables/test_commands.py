"""``nasbench tabulate``: what it asks for, where it writes, and how it shows its progress."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tables.conftest import MakeRequest

from nasbench.cli.commands.tables import _progress
from nasbench.plugins import registry
from nasbench.tables import measure
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import SteppingClock
from nasbench.testing.tasks import TINY_REGRESSION


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the command asks for. The table that it gets has 12,000 bytes."""
    monkeypatch.setattr(registry, "suite_tasks", lambda: (TINY_REGRESSION,))
    monkeypatch.setattr(registry, "models", lambda: {TINY_BERT.name: TINY_BERT})
    seen: list[tuple[Any, ...]] = []

    def tabulate(request: Any, out: Path, unit_step: Any, observer: Any, progress: Any, cpu_clock: bool) -> Any:
        seen.append((request, out, unit_step, observer, progress, cpu_clock))
        out.parent.mkdir(exist_ok=True)
        out.write_bytes(b"x" * 12_000)
        return SimpleNamespace(n_networks=1_234)

    monkeypatch.setattr(measure, "tabulate", tabulate)
    return seen


@pytest.mark.parametrize(
    ("options", "out", "strategy", "unit_step", "cpu_clock"),
    [
        ((), "tables/tiny-regression_tiny-bert_seed2.parquet", "full", None, False),
        (("--strategy", "kd"), "tables/tiny-regression_tiny-bert_seed2_kd.parquet", "kd", None, False),
        (("--out", "mine.parquet", "--unit-step", "8", "--cpu-clock"), "mine.parquet", "full", 8, True),
    ],
)
def test_command_asks_for_a_table_of_a_super_network(
    nasbench: Any, asked: list[Any], options: tuple[str, ...], out: str, strategy: str, unit_step: Any, cpu_clock: bool
) -> None:
    command = ("tabulate", "--task", "tiny-regression", "--model", "tiny-bert", "--seed", "2", "--device", "cpu")
    spoken = nasbench(*command, "--set", "epochs=3", "--quiet", *options)
    assert (spoken.code, spoken.err) == (0, "")
    assert spoken.out == f"unfinished parts: {out}.work\nwrote {out}: 1,234 configurations, 12 kB\n"
    ((request, path, *others),) = asked
    assert (request.task, request.model, request.seed, request.space) == (TINY_REGRESSION, TINY_BERT, 2, "small")
    assert (request.method.name, request.method_options.strategy, request.method_options.epochs) == (
        "ws-nas", strategy, 3,
    )  # fmt: skip
    assert (path, others[0], others[-1]) == (Path(out), unit_step, cpu_clock)


def test_progress_is_a_line_in_half_a_minute_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show = _progress(quiet=True)
    for done, now_s in ((1, 0.0), (2, 10.0), (3, 40.0), (4, 60.0), (241, 65.0)):
        monkeypatch.setattr(time, "monotonic", lambda now_s=now_s: now_s)
        show(done, 241)
    assert capsys.readouterr().out.splitlines() == [
        "pass 1 of 241", "pass 3 of 241, 79 min left", "pass 241 of 241, 0 min left",
    ]  # fmt: skip


def test_progress_is_shown_in_place_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    show = _progress(quiet=False)
    show(1, 2)
    show(2, 2)
    assert capsys.readouterr().out == "\rpass 1 of 2\x1b[K\rpass 2 of 2, 0 min left\x1b[K\n"


def test_cpu_clock_counts_the_seconds_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(time, "process_time", SteppingClock())
    clock = measure._cpu_clock()
    assert [clock(), clock()] == [0.25, 0.5]


def test_a_table_by_the_cpu_clock_says_so(
    make_request: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "_cpu_clock", SteppingClock)
    info = measure.tabulate(make_request(tmp_path), tmp_path / "small.parquet", unit_step=48, cpu_clock=True)
    assert info.clock == "cpu"
    assert info.training_s > 0
    assert info.training_s == int(info.training_s)  # readings of whole seconds


def test_option_that_a_table_has_no_use_for_is_refused(nasbench) -> None:
    for option in (("--precision", "bf16"), ("--threads", "2")):
        seen = nasbench("run", "--method", "ws-nas", "--task", "demo", "--model", "minilm-l6", "--table", *option)
        assert (seen.code, seen.err) == (2, f"error: --table computes nothing; leave out {' '.join(option)}\n")


@pytest.mark.parametrize("option", ["--isolate", "--no-isolate", "--data-dir"])
def test_option_about_data_is_refused_with_a_table(
    nasbench: Any, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASBENCH_DATA_DIR", str(tmp_path))  # of other commands, so it may stay
    command = ("run", "--method", "ws-nas", "--task", "demo", "--model", "minilm-l6", "--table", "none.parquet")
    assert "--table none.parquet: no such file" in nasbench(*command).err
    seen = nasbench(*command, option, *([str(tmp_path)] if option == "--data-dir" else []))
    assert seen.code == 2
    assert f"{option} has no use with --table: the searcher of such a run sees no data" in seen.err
