"""A plugin file that cannot be used: one clear line, and the failed record of the run that was asked for, or none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nasbench.records.record import RunFolder, find_runs

pytestmark = pytest.mark.usefixtures("tiny_world")
CLASS = "from nasbench import Method\nclass A(Method):\n    name, summary, spaces = {}\n"
RUNS = "    def run(self, problem): problem.evaluate(problem.pretrained(), problem.space.largest)\n"
GOOD = CLASS.format('"mine", "one network", ("layer",)') + RUNS
ON_TINY = ("--task", "tiny-pair", "--device", "cpu")
LIMITS = ("--set", "epochs=1", "--budget", "30", "--max-evaluations", "3")

UNUSABLE = {
    "import no_such_module": "plugin broken.py cannot be imported: ModuleNotFoundError",
    "def f(:": "plugin broken.py cannot be imported: SyntaxError: invalid syntax (broken.py, line 1)",
    "import sys; sys.exit(3)": "plugin broken.py cannot be imported: SystemExit(3)",
    "import os; os._exit(3)": "broken.py: the method's process ended before the method did (exit code 3)",
    CLASS.format('None, "s", ("small",)') + RUNS: "broken.py: class A has no name",
    CLASS.format('"ws-nas", "s", ("small",)') + RUNS: "2 methods are called 'ws-nas'",
}
"""Plugins with which no run of ``ws-nas`` can begin, and the beginning of the error's line."""


@pytest.mark.parametrize(
    ("contents", "message", "isolation"),
    [(c, m, "--isolate" if "_exit" in c else "--no-isolate") for c, m in UNUSABLE.items()],
)
def test_failed_record_is_that_of_the_run_asked_for(
    contents: str, message: str, isolation: str, nasbench, tmp_path: Path
) -> None:
    command = ("run", "--method", "ws-nas", *ON_TINY, *LIMITS, isolation, "--plugin", "broken.py")
    (tmp_path / "broken.py").write_text(contents)
    spoken = nasbench(*command)
    assert (spoken.code, spoken.err.count("\n")) == (1, 1)
    assert spoken.err.startswith(f"error: {message}")
    (folder,) = find_runs(tmp_path)
    failed = RunFolder(folder).read_run()
    assert (failed.status, f"error: {failed.reason}\n") == ("failed", spoken.err)
    assert "the run failed: " in nasbench("report", "--results", "runs", "--figure", "3").err

    # The same command replaces the record once the plugin is repaired.
    (tmp_path / "broken.py").write_text(GOOD)
    sys.modules.pop("nasbench_plugin_broken", None)  # as in a new process
    assert nasbench(*command).code == 0
    assert find_runs(tmp_path) == [folder]
    record = RunFolder(folder).read_run()
    assert (record.status, record.identity) == ("complete", failed.identity)


@pytest.mark.parametrize(
    ("contents", "message", "code"),
    [
        *((contents, message, 1) for contents, message in list(UNUSABLE.items())[:3]),  # imports that raise
        (
            "class A: name = 'mine'",
            "unknown method 'mine': plugin broken.py defines neither a Method nor a Searcher",
            2,
        ),
        (
            CLASS.format('"mine", "s", ("small",)'),
            "unknown method 'mine': plugin broken.py has a class A without run",
            2,
        ),
        (GOOD + "class B(A): pass\n", "2 methods are called 'mine': broken.py and broken.py; rename one", 1),
        (CLASS.format('"mine", "s", "small"') + RUNS, "broken.py: class A has spaces = 'small'", 1),
        (CLASS.format('"mine", 3, ("small",)') + RUNS, "broken.py: class A has no summary", 1),
    ],
)
def test_unknown_class_leaves_no_record(contents: str, message: str, code: int, nasbench, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(contents)
    spoken = nasbench("run", "--method", "mine", *ON_TINY, *LIMITS, "--no-isolate", "--plugin", "broken.py")
    assert (spoken.code, spoken.err.count("\n")) == (code, 1)
    assert spoken.err.startswith(f"error: {message}")
    assert not (tmp_path / "runs").exists()


def test_isolated_plugin_without_the_class_says_the_same(nasbench, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("class A: name = 'mine'")
    spoken = nasbench("run", "--method", "mine", *ON_TINY, "--plugin", "broken.py")
    assert spoken.err == "error: unknown method 'mine': plugin broken.py defines neither a Method nor a Searcher\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("option", [("--set", "no_such_option=1"), ("--space", "tiny"), ("--searcher", "mine")])
def test_command_that_fits_no_run_leaves_no_record(option: tuple[str, str], nasbench, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    spoken = nasbench("run", "--method", "ws-nas", *ON_TINY, *option, "--no-isolate", "--plugin", "broken.py")
    assert (spoken.code, spoken.err) == (
        1,
        "error: plugin broken.py cannot be imported: ZeroDivisionError('division by zero')\n",
    )
    assert not (tmp_path / "runs").exists()


def test_unusable_plugin_keeps_earlier_record(nasbench, tmp_path: Path) -> None:
    command = ("run", "--method", "ws-nas", *ON_TINY, *LIMITS)
    assert nasbench(*command).code == 0
    (folder,) = find_runs(tmp_path)
    before = RunFolder(folder).read_run()
    (tmp_path / "broken.py").write_text("1 / 0")
    assert nasbench(*command, "--no-isolate", "--plugin", "broken.py").code == 1
    assert find_runs(tmp_path) == [folder]
    assert RunFolder(folder).read_run() == before
