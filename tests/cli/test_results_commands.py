"""The commands report, leaderboard, claims, freeze, experiment, check and new-method."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench import benchmark
from nasbench.analysis.report.results_page import page
from nasbench.cli import experiment
from nasbench.records.record import find_runs
from nasbench.testing.contract import METHOD_CHECKS


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Simulated runs of two methods."""
    folder = tmp_path / "results"
    entries = (Entry("ws-nas", "random", shift=-0.05), Entry("s-nas", "random", shift=0.05))
    write_results(folder, Plan(entries, tasks=("rte",), seeds=(0, 1, 2), n_evaluations=20))
    return folder


@pytest.mark.parametrize("command", ["report", "leaderboard", "claims", "freeze"])
def test_missing_results_folder_prints_one_line(nasbench, tmp_path: Path, command: str) -> None:
    spoken = nasbench(command)
    assert spoken.code == 2
    assert spoken.err.startswith("error: ")
    assert spoken.err.count("\n") == 1
    assert "results" in spoken.err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_figures")
def test_report_and_claims_read_own_and_curated_runs(nasbench, results: Path, tmp_path: Path) -> None:
    plan = Plan((Entry("ws-nas", "ehvi"),), tasks=("rte",), seeds=(0,), n_evaluations=20, unofficial=("mine",))
    write_results(tmp_path / "runs", plan)
    assert nasbench("report", "--out", "both").code == 0
    table = (tmp_path / "both" / "tables" / "runs.csv").read_text()
    assert "results/rte/" in table
    assert "runs/rte/bert-base-cased/ws-nas+ehvi_small_gpu_seed0" in table
    assert nasbench("report", "--out", "one", "--results", str(results)).code == 0
    assert "ehvi" not in (tmp_path / "one" / "tables" / "runs.csv").read_text()
    both = nasbench("claims")
    assert both.code == 0
    assert both.out == nasbench("claims", "--results", "results", "--results", "runs").out


def test_leaderboard_ranks_curated_records_only(nasbench, results: Path, tmp_path: Path) -> None:
    plan = Plan((Entry("ws-nas", "ehvi"),), tasks=("rte",), seeds=(0,), n_evaluations=20)
    write_results(tmp_path / "runs", plan)
    assert nasbench("leaderboard").out == f"wrote leaderboard.md from the official runs in {results.name}\n"
    assert "ws-nas/ehvi" not in (tmp_path / "leaderboard.md").read_text()


@pytest.mark.usefixtures("results")
def test_leaderboard_writes_and_checks_the_file(nasbench, tmp_path: Path) -> None:
    assert nasbench("leaderboard").code == 0
    text = (tmp_path / "leaderboard.md").read_text()
    assert text.index("ws-nas/random") < text.index("s-nas/random")
    assert nasbench("leaderboard", "--check").code == 0
    (tmp_path / "leaderboard.md").write_text(text.replace("ws-nas", "my-nas"))
    spoken = nasbench("leaderboard", "--check")
    assert spoken.code == 1
    assert "nasbench leaderboard" in spoken.err
    assert "my-nas" in (tmp_path / "leaderboard.md").read_text()


@pytest.mark.usefixtures("results")
def test_report_draws_one_figure_or_names_the_missing_runs(nasbench, tmp_path: Path) -> None:
    spoken = nasbench("report", "--figure", "4")
    assert spoken.code == 0
    assert (tmp_path / "report" / "figures" / "figure_4.svg").exists()
    assert "figure_4.svg" in spoken.out
    unknown = nasbench("report", "--figure", "99")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert "unknown figure '99'" in unknown.err
    missing = nasbench("report", "--figure", "7")
    assert missing.code == 2
    assert "nasbench experiment fig7" in missing.err


def test_freeze_lists_new_scenarios_and_refuses_damaged_records(
    nasbench, results: Path, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "benchmark").mkdir()
    package = SimpleNamespace(**{**vars(benchmark), "__path__": [str(tmp_path / "benchmark")]})
    monkeypatch.setitem(sys.modules, "nasbench.benchmark", package)
    run = find_runs(results)[0] / "run.json"
    text = run.read_text()
    run.write_text("{")
    damaged = nasbench("freeze")
    assert damaged.code == 1
    assert damaged.err.startswith("error: nothing is frozen while records are damaged")
    assert str(find_runs(results)[0].name) in damaged.err
    assert not list((tmp_path / "benchmark").iterdir())
    run.write_text(text)
    other = nasbench("freeze", "--scenario", "rte/bert-base-cased/cpu")
    assert (other.code, other.err.count("\n")) == (2, 1)
    spoken = nasbench("freeze", "--scenario", "rte/bert-base-cased/gpu")
    assert (spoken.code, spoken.err) == (0, "")
    first, path = spoken.out.splitlines()
    assert first == "rte/bert-base-cased/gpu: 120 evaluations, runs: 6, methods: 2 (s-nas, ws-nas), seeds: 3"
    assert Path(path).exists()
    assert nasbench("freeze").out == f"nothing to freeze; the newest quantiles are {path}\n"


@pytest.mark.usefixtures("results")
def test_claims_without_their_runs_are_not_run(nasbench) -> None:
    spoken = nasbench("claims")
    assert spoken.code == 0
    rows = [re.split(" {2,}", line) for line in spoken.out.splitlines()]
    verdicts = [row[1] for row in rows if "rfp" in row[0]]
    assert verdicts
    assert set(verdicts) == {"not run"}


@pytest.mark.parametrize("folders", [(), ("results", "results")])
@pytest.mark.usefixtures("results")
def test_page_of_claims_is_of_exactly_one_folder(nasbench, tmp_path: Path, folders: tuple[str, ...]) -> None:
    arguments = [word for folder in folders for word in ("--results", folder)]
    spoken = nasbench("claims", "--out", "page.md", *arguments)
    assert (spoken.code, spoken.out) == (2, "")
    assert spoken.err == "error: --out describes one folder; give one --results FOLDER\n"
    assert not (tmp_path / "page.md").exists()


@pytest.mark.usefixtures("results")
def test_page_of_claims_is_written_about_the_named_folder(nasbench, tmp_path: Path) -> None:
    spoken = nasbench("claims", "--results", "results", "--out", "page.md")
    assert (spoken.code, spoken.err) == (0, "")
    assert spoken.out == "wrote page.md from the runs in results\n"
    assert (tmp_path / "page.md").read_text() == page(Path("results"))


@pytest.mark.usefixtures("results")
def test_refitted_report_does_without_frozen_quantiles(nasbench) -> None:
    words = "rte/bert-base-cased/gpu: no frozen quantiles"
    assert words in nasbench("report", "--figure", "4").err
    refitted = nasbench("report", "--figure", "4", "--refit")
    assert refitted.code == 0
    assert words not in refitted.err


def test_dry_run_lists_the_command_of_each_run(nasbench, tmp_path: Path) -> None:
    spoken = nasbench("experiment", "fig8", "--dry-run", "--task", "rte", "--model", "minilm-l6", "--seed", "3")
    assert spoken.code == 0
    lines = spoken.out.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("nasbench run --task rte --model minilm-l6 ") for line in lines)
    assert all("--seed 3" in line for line in lines)
    assert not list(tmp_path.iterdir())


def test_dry_run_marks_complete_runs(nasbench, tmp_path: Path) -> None:
    restricted = ("fig8", "--dry-run", "--task", "rte", "--model", "minilm-l6", "--device", "cpu", "--seed", "0")
    entries = [Entry("rfp", None, "large"), Entry("ws-nas", "ehvi")]
    plan = Plan(entries, tasks=("rte",), models=("minilm-l6",), seeds=(0,), n_evaluations=5, device_class="cpu")
    _, second = write_results(tmp_path / "runs", plan)
    record = json.loads((second / "run.json").read_text())
    (second / "run.json").write_text(json.dumps(record | {"status": "failed"}))
    spoken = nasbench("experiment", *restricted)
    assert (spoken.code, spoken.err) == (0, "")
    lines = spoken.out.splitlines()
    assert len(lines) == 5
    (marked,) = [line for line in lines if "#" in line]
    assert marked.endswith("--method rfp --space large --seed 0 --device cpu  # complete")


def test_dry_run_repeats_the_options_that_were_given(nasbench) -> None:
    words = ("experiment", "fig8", "--dry-run", "--task", "rte", "--model", "minilm-l6", "--seed", "0")
    plain = nasbench(*words).out.splitlines()
    assert len(plain) == 5
    assert not any(option in line for line in plain for option in ("--device", "--data-dir", "--results"))
    given = nasbench(*words, "--device", "cpu", "--data-dir", "my data", "--results", "elsewhere").out.splitlines()
    assert given == [f"{line} --device cpu --data-dir 'my data' --results elsewhere" for line in plain]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fig99"], "unknown experiment 'fig99'"),
        (["fig5", "--task", "rtee"], "did you mean 'rte'?"),
        (["fig5", "--model", "minilm"], "did you mean 'minilm-l6'?"),
        (["fig5", "--seed", "-1"], "--seed is 0 or more"),
    ],
)
def test_mistake_in_experiment_prints_one_line(nasbench, arguments: list[str], words: str) -> None:
    spoken = nasbench("experiment", *arguments, "--dry-run")
    assert (spoken.code, spoken.err.count("\n")) == (2, 1)
    assert words in spoken.err


def test_experiment_continues_after_a_failed_run(nasbench, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--task", "demo", "--model", "demo-bert", "--seed", "0")
    wanted = experiment.runs("fig5", ("demo",), ("demo-bert",), (0,))
    made: list[str] = []

    def run(specification, *_: object) -> str | None:
        made.append(specification.space)
        return "no luck" if specification.space == "medium" else None

    monkeypatch.setattr(experiment, "_run", run)
    spoken = nasbench("experiment", "fig5", *arguments)
    assert made == [specification.space for specification in wanted]
    assert spoken.code == 1
    assert spoken.err == f"error: 1 of {len(wanted)} runs failed\n"
    assert "failed: no luck" in spoken.out


def test_experiment_skips_complete_runs(nasbench, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = SimpleNamespace(folder=find_runs(results)[0], effective_budget_s=60.0)
    monkeypatch.setattr(experiment, "_request", lambda *_: complete)
    monkeypatch.setattr(experiment.runner, "run", lambda *_: pytest.fail("a complete run was repeated"))
    spoken = nasbench("experiment", "fig7", "--task", "rte", "--model", "minilm-l6", "--seed", "0")
    assert (spoken.code, spoken.err) == (0, "")
    assert spoken.out.count("complete already") == 8


def test_experiment_refuses_runs_without_budget_before_the_first_run(nasbench) -> None:
    spoken = nasbench("experiment", "fig8", "--task", "rte", "--seed", "0", "--device", "cpu")
    assert (spoken.code, spoken.err.count("\n")) == (2, 1)
    assert "task 'rte' has no budget for 'bert-base-cased' on a cpu; choose the model" in spoken.err
    assert spoken.out == ""


BROKEN = """
from nasbench.plugins.method import Method

class Broken(Method):
    name = "broken"
    summary = "reports configurations outside the space"

    def run(self, problem):
        problem.evaluate(problem.pretrained(), problem.space.upper + 1)
"""


def test_check_prints_every_line_and_fails_if_one_check_fails(nasbench, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    spoken = nasbench("check", "broken.py")
    assert spoken.code == 1
    lines = spoken.out.splitlines()
    assert lines[0] == "broken"
    assert [line.split()[0] in ("ok", "FAIL") for line in lines[1:]] == [True] * len(METHOD_CHECKS)
    assert any("FAIL  reports only configurations inside the space" in line for line in lines)
    assert spoken.err.endswith("checks failed\n")


def test_new_method_prints_the_next_commands(nasbench, tmp_path: Path) -> None:
    spoken = nasbench("new-method", "lucky-dip")
    assert spoken.code == 0
    assert (tmp_path / "lucky_dip.py").exists()
    for command in (
        "nasbench check lucky_dip.py",
        "--plugin lucky_dip.py --method lucky-dip",
        "pytest test_lucky_dip.py",
    ):
        assert command in spoken.out
    again = nasbench("new-method", "lucky-dip")
    assert (again.code, again.err.count("\n")) == (2, 1)


def test_new_method_of_the_suite_is_no_plugin(nasbench, tmp_path: Path) -> None:
    for folder in ("methods", "tests/methods"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "methods" / "__init__.py").touch()
    spoken = nasbench("new-method", "lucky-dip", "--out", "methods")
    assert spoken.code == 0
    test_file = tmp_path / "tests" / "methods" / "test_lucky_dip.py"
    assert test_file.exists()
    assert "  nasbench check lucky-dip\n" in spoken.out
    assert "  nasbench run --method lucky-dip --task demo\n" in spoken.out
    assert f"  pytest {test_file}\n" in spoken.out
