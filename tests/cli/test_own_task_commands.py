"""The commands run, report and export on a user's own task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasbench import load
from nasbench.cli.main import cli
from nasbench.records.record import find_runs

TASK = """
budget_s = 60
[data]
train = "films.csv"
text = "review"
label = "sentiment"
[model]
folder = "my-model"
"""


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's own task and a finished run of a method on it."""
    from nasbench.testing.models import TINY_BERT, save_tiny
    from nasbench.testing.tasks import TINY_SINGLE

    folder = tmp_path_factory.mktemp("own")
    save_tiny(TINY_BERT, TINY_SINGLE, folder / "my-model")
    rows = "".join(f"{'ba be' if i % 2 else 'go ko'} {i},{'yes' if i % 2 else 'no'}\n" for i in range(60))
    (folder / "films.csv").write_text("review,sentiment\n" + rows)
    (folder / "films.toml").write_text(TASK)
    command = ["run", "--method", "ws-nas", "--task", "films.toml", "--device", "cpu", "--max-evaluations", "4"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NASBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        done = CliRunner().invoke(cli, [*command, "--set", "epochs=1"], catch_exceptions=False)
    assert "task 'films' is not part of the suite" in done.output
    return folder


@pytest.fixture
def run_folder(nasbench, own_run: Path, tmp_path: Path) -> Path:  # noqa: ARG001
    """The run in a copy of its folder, which is the present one."""
    shutil.copytree(own_run, tmp_path, dirs_exist_ok=True)
    (folder,) = find_runs(tmp_path / "runs")
    return folder


@pytest.mark.usefixtures("run_folder")
def test_report_of_own_runs_asks_for_no_figure_of_the_paper(nasbench, tmp_path: Path) -> None:
    spoken = nasbench("report")
    assert spoken.code == 0
    assert [line.partition(": ")[2] for line in spoken.err.splitlines()] == [
        "films/my-model/cpu: no frozen quantiles; normalised by the runs at hand, so a new run may change the scores"
    ]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "nasbench experiment" not in page


@pytest.mark.parametrize("contents", [None, b"", b"{}\n"])
def test_complete_run_says_that_its_evaluations_are_lost(contents: bytes | None, nasbench, run_folder: Path) -> None:
    path = run_folder / "evaluations.jsonl"
    record = (run_folder / "run.json").read_bytes()
    path.unlink()
    if contents is not None:
        path.write_bytes(contents)
    command = ("run", "--method", "ws-nas", "--task", "films.toml", "--device", "cpu", "--max-evaluations", "4")
    spoken = nasbench(*command, "--set", "epochs=1")
    assert (spoken.code, spoken.err.count("\n")) == (2, 1)
    assert "evaluations.jsonl" in spoken.err
    assert "this run is complete" not in spoken.err
    assert (run_folder / "run.json").read_bytes() == record
    assert path.exists() == (contents is not None)


@pytest.mark.usefixtures("without_figures")
def test_edited_task_is_a_new_run_and_the_difference_is_said(nasbench, run_folder: Path, tmp_path: Path) -> None:
    command = ("run", "--method", "ws-nas", "--task", "films.toml", "--device", "cpu", "--max-evaluations", "4")
    command = (*command, "--set", "epochs=1")
    again = nasbench(*command)
    assert again.code == 2
    assert again.err.startswith(f"error: this run is complete: {run_folder.relative_to(tmp_path)}")
    (tmp_path / "films.toml").write_text("max_length = 20\n" + TASK)
    edited = nasbench(*command)
    assert edited.code == 0
    words = f"this is a new run: the earlier run in {run_folder.relative_to(tmp_path)} has another declaration"
    assert f"{words} (task.max_length 64, now 20)" in edited.out
    assert len(find_runs(tmp_path / "runs")) == 2
    assert nasbench("report").code == 0
    table = (tmp_path / "report" / "tables" / "runs.csv").read_text()
    tasks = {path.parts[-3] for path in (run.relative_to(tmp_path) for run in find_runs(tmp_path / "runs"))}
    assert len(tasks) == 2
    assert all(f",{task}," in table for task in tasks)


def test_exported_network_can_be_loaded(nasbench, run_folder: Path, tmp_path: Path) -> None:
    spoken = nasbench("export", str(run_folder), "--max-params", "0.9", "--out", "pruned")
    assert spoken.code == 0
    assert all(word in spoken.out for word in ("wrote pruned", "\nsize: ", "\nspeed: ", "nasbench predict pruned FILE"))
    error = json.loads((tmp_path / "pruned" / "nasbench.json").read_text())["error"]
    constant_error = json.loads((run_folder / "run.json").read_text())["constant_error"]
    warning = "warning: on validation data this network is no better than giving every example the same answer\n"
    assert spoken.err == (warning if error >= constant_error - 1e-9 else "")
    full = sum(p.numel() for p in load_full(tmp_path).parameters())
    assert sum(p.numel() for p in load(tmp_path / "pruned").parameters()) <= 0.9 * full

    again = nasbench("export", str(run_folder), "--out", "pruned")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "pruned exists" in again.err
    for share in ("50", "0", "nan"):
        nonsense = nasbench("export", str(run_folder), "--max-params", share, "--out", "pruned-by-half")
        assert nonsense.code == 2
        assert "--max-params is a fraction of the parameters, 0.5 for half of them" in nonsense.err
    none = nasbench("export", str(run_folder), "--max-params", "0.01", "--out", "tiny")
    assert (none.code, none.err.count("\n")) == (2, 1)
    assert not (tmp_path / "tiny").exists()


def load_full(tmp_path: Path):
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(tmp_path / "my-model")


def test_model_of_unknown_architecture_prints_one_line(nasbench, tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "config.json").write_text('{"model_type": "xlnet"}')
    (tmp_path / "films.csv").write_text("review,sentiment\na,yes\nb,no\n")
    (tmp_path / "films.toml").write_text(TASK)
    spoken = nasbench("run", "--method", "ws-nas", "--task", "films.toml", "--device", "cpu")
    assert (spoken.code, spoken.err.count("\n")) == (2, 1)
    assert "xlnet" in spoken.err
    assert not (tmp_path / "runs").exists()
