"""The workflow that guards results/: its steps, as CI runs them, on small repositories and a pretended nasbench."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from nasbench.benchmark import MODELS, TASKS
from nasbench.records.record import RunFolder

ROOT = Path(__file__).parents[2]
WORKFLOW = (ROOT / ".github" / "workflows" / "results.yml").read_text(encoding="utf-8")
CHANGES, MAINTAINERS = "What the pull request changes", "What only a maintainer may change"
COMPUTE, LEAVE_OUT = "Compute every added record again", "Check what can be checked of records on local data or weights"
(LOCAL,) = re.findall(r"LOCAL: (.*)", WORKFLOW)
OLD, NEW = "results/rte/minilm-l6/old_small_cpu_seed0", "results/rte/minilm-l6/new_small_cpu_seed0"
MARK = '{\n "level": "re-scored"\n}\n'


def script(step: str) -> str:
    """The commands of a step."""
    (found,) = re.findall(rf"- name: {step}.*\n(?:        if: .*\n)?        run: \|\n((?:          .*\n)+)", WORKFLOW)
    return textwrap.dedent(found)


def write(folder: Path, files: dict[str, str | None]) -> None:
    for name, contents in files.items():
        path = folder / name
        if contents is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(contents)


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class PullRequest:
    """A repository with one record, and a commit with changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        git(folder, "init", "-q")
        record = {f"{OLD}/{name}": "{}\n" for name in ("run.json", "evaluations.jsonl", "quantization.json")}
        code = dict.fromkeys(("src/nasbench/x.py", "setup.py", "methods/old.py", "requirements.lock"), "\n")
        self.commit({**record, f"{OLD}/verification.json": MARK, **code, "leaderboard.md": "old\n"})
        self.base = git(folder, "rev-parse", "HEAD")

    def commit(self, files: dict[str, str | None]) -> None:
        write(self.folder, files)
        git(self.folder, "add", "-A", "--", *files)  # not what a step has written
        git(self.folder, "commit", "-q", "-m", "change")

    def passes(self, step: str) -> bool:
        environment = {**os.environ, "BASE": self.base, "LOCAL": LOCAL}
        done = subprocess.run(["bash", "-ec", script(step)], cwd=self.folder, env=environment, check=False)
        return done.returncode == 0

    @property
    def added(self) -> list[str]:
        return (self.folder / "added.txt").read_text().splitlines()


@pytest.fixture
def pull_request(tmp_path):
    return PullRequest(tmp_path)


SUBMITTED: dict[str, str | None] = {
    **{f"{NEW}/{name}": "{}\n" for name in ("run.json", "evaluations.jsonl", "submission.json")},
    f"{NEW}/verification.json": MARK,
    "methods/new.py": "\n",
    "tests/methods/test_new.py": "\n",
    "docs/new.md": "\n",
    "CHANGELOG.md": "\n",
    "leaderboard.md": "new\n",
    "results/README.md": "\n",
}


def test_a_method_with_its_records_passes(pull_request):
    pull_request.commit(SUBMITTED)
    assert pull_request.passes(CHANGES)
    assert pull_request.added == [NEW]
    assert pull_request.passes(MAINTAINERS)


def test_a_record_directly_in_results_is_seen(pull_request):
    pull_request.commit({"results/run.json": "{}\n"})
    assert pull_request.passes(CHANGES)
    assert pull_request.added == ["results"]


@pytest.mark.parametrize(
    "path",
    [
        *("src/nasbench/x.py", "src/nasbench/y.py", "analysis/x.py", "benchmark/x.py", "setup.py", "pyproject.toml"),
        *("requirements.lock", "constraints.txt", "Makefile", ".github/workflows/results.yml", ".gitignore"),
        "sitecustomize.py",
    ],
)
def test_records_do_not_come_with_changes_of_what_verifies_them(pull_request, path):
    pull_request.commit({path: "changed\n"})
    assert pull_request.passes(CHANGES)
    pull_request.commit(SUBMITTED)
    assert not pull_request.passes(CHANGES)


@pytest.mark.parametrize("contents", ["changed\n", None])
@pytest.mark.parametrize("name", ["run.json", "evaluations.jsonl", "quantization.json", "verification.json"])
def test_files_of_an_existing_record_stay(pull_request, name, contents):
    pull_request.commit({**SUBMITTED, f"{OLD}/{name}": contents})
    assert not pull_request.passes(MAINTAINERS)


@pytest.mark.parametrize("name", ["submission.json", "zero_shot.json", "predictions.safetensors", "inner/run.json"])
def test_nothing_is_added_to_an_existing_record(pull_request, name):
    pull_request.commit({**SUBMITTED, f"{OLD}/{name}": "{}\n"})
    assert not pull_request.passes(MAINTAINERS)


def test_a_file_of_an_existing_record_does_not_become_a_link(pull_request):
    (pull_request.folder / OLD / "run.json").unlink()
    (pull_request.folder / OLD / "run.json").symlink_to("evaluations.jsonl")
    git(pull_request.folder, "commit", "-q", "-a", "-m", "link")
    assert not pull_request.passes(MAINTAINERS)


@pytest.mark.parametrize("level", ["re-run", r"re\u002drun"])
def test_a_mark_that_says_re_run_is_a_maintainers(pull_request, level):
    pull_request.commit({**SUBMITTED, f"{NEW}/verification.json": MARK.replace("re-scored", level)})
    assert not pull_request.passes(MAINTAINERS)


def test_the_rules_for_others_do_not_bind_a_branch_of_the_repository():
    (rule,) = re.findall(rf"- name: {MAINTAINERS}.*\n        if: (.*)\n", WORKFLOW)
    assert rule == "github.event.pull_request.head.repo.full_name != github.repository"


def test_records_on_local_data_or_weights_are_those_that_no_hub_has():
    tasks = [task.name for task in TASKS if task.data.repository is None and task.data.generator is None]
    models = [model.name for model in MODELS if model.hub_id is None and model.generator is None]
    assert {"wikitext2", "smollm2-135m-q4_1"} <= {*tasks, *models}
    for task in TASKS:
        for model in MODELS:
            folder = f"results/{task.name}/{model.name}/ws-nas+random_small_cpu_seed0"
            assert bool(re.match(LOCAL, folder)) == (task.name in tasks or model.name in models), folder
    # The check of the folder's name looks at three levels only.
    assert not re.match(LOCAL, "results/wikitext2/rte/minilm-l6/rfp_large_cpu_seed0")


@pytest.mark.parametrize(("last", "passes"), [("2 self-reported", True), ("1 refused, 1 self-reported", False)])
def test_records_on_local_data_are_left_out_and_say_so(pull_request, capfd, last, passes):
    """The pretended nasbench notes its arguments; it fails, as verify does for a self-reported record."""
    local = [f"results/{name}_cpu_seed0" for name in ("wikitext2/gpt2/a", "imdb-lm/smollm2-135m-q4_1/b")]
    (pull_request.folder / "added.txt").write_text("\n".join([local[0], NEW, local[1]]) + "\n")
    command = pull_request.folder / ".venv" / "bin" / "nasbench"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\necho "$@" >> calls.txt\necho "{last}"\ntest "$2" = --write\n')
    command.chmod(0o755)
    assert pull_request.passes(COMPUTE)
    assert pull_request.passes(LEAVE_OUT) == passes
    calls = (pull_request.folder / "calls.txt").read_text().splitlines()
    assert calls == [f"verify --write {NEW}", f"verify {local[0]} {local[1]}"]
    printed = capfd.readouterr().out.splitlines()
    assert [f"{each}: left out, a maintainer computes it again" for each in local] == printed[1:3]
    # A pull request without records has nothing to verify.
    (pull_request.folder / "added.txt").write_text("")
    assert pull_request.passes(COMPUTE)
    assert pull_request.passes(LEAVE_OUT)
    assert len((pull_request.folder / "calls.txt").read_text().splitlines()) == 2


def test_ci_draws_a_run_that_can_be_repeated(made, tmp_path):
    record = RunFolder(made.folder).read_run()
    for name, shortened in (("can_cpu_seed0", {}), ("cannot_cpu_seed0", {"super-network": 7})):
        folder = tmp_path / "results" / "demo" / "model" / name
        folder.mkdir(parents=True)
        RunFolder(folder).write_run(dataclasses.replace(record, shortened_trainings=shortened))
    (draw,) = re.findall(r'row="\$\((.*?)\)"', WORKFLOW, re.DOTALL)
    drawn = subprocess.run(["bash", "-ec", draw], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert drawn == "results/demo/model/can_cpu_seed0\n"
