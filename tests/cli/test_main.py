"""The command line as a user meets it: messages, streams and exit codes."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from support.permissions import closed_folder, read_only_folder

from nasbench.analysis.experiments.prediction import pairs, table
from nasbench.analysis.reading.results import read_results
from nasbench.plugins import registry
from nasbench.records.record import RunFolder, find_runs

pytestmark = pytest.mark.usefixtures("tiny_world")
PLUGIN = """
from nasbench.plugins.method import Method

class One(Method):
    name = "one"
    summary = "evaluates one untrained network"
    spaces = ("layer", "large")

    def run(self, problem):
        problem.evaluate(problem.pretrained(), problem.space.largest)

class Raises(Method):
    name = "raises"
    summary = "evaluates one network, then raises"

    def run(self, problem):
        problem.evaluate(problem.pretrained(), problem.space.largest)
        raise RuntimeError("out of ideas")

class Bug(Method):
    name = "bug"
    summary = "cannot be constructed"

    def __init__(self, options=None):
        raise AssertionError("never expected")

    def run(self, problem):
        pass
"""
RUN = ("run", "--method", "ws-nas", "--task", "tiny-pair", "--device", "cpu")
LONG = 300 * "x"
"""More letters than the name of a file can have."""
SHORT_RUN = (*RUN, "--max-evaluations", "3")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "plugin.py"
    file.write_text(PLUGIN)
    return file


def assert_user_error(spoken: Any, *words: str) -> None:
    """Exit code 2, one line on stderr that contains the words, no traceback."""
    assert spoken.code == 2
    assert spoken.err.startswith("error: ")
    assert spoken.err.count("\n") == 1
    assert "Traceback" not in spoken.out + spoken.err
    for word in words:
        assert word in spoken.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "tasks/mine.json"], ["tasks/mine.json is not a task", "a TOML file: --task NAME.toml"]),
        (["--task", "tiny-pear"], ["unknown task 'tiny-pear'", "did you mean 'tiny-pair'?"]),
        (["--model", "tiny-bart"], ["unknown model 'tiny-bart'", "did you mean 'tiny-bert'?"]),
        (["--method", "ws-nass"], ["unknown method 'ws-nass'", "did you mean 'ws-nas'?"]),
        (["--searcher", "randon"], ["unknown searcher 'randon'", "did you mean 'random'?"]),
        (["--space", "smal"], ["unknown search space 'smal'", "did you mean 'small'?"]),
        (["--device", "tpu"], ["--device is auto, cpu, cuda or cuda:NUMBER", "'tpu'"]),
        (["--set", "strategy=ful"], ["method 'ws-nas'", "did you mean 'full'?"]),
        (["--set", "stratgy=full"], ["did you mean 'strategy'?"]),
        (["--set", "temperature=hot"], ["'temperature'", "'hot'"]),
        (["--set", "temperature"], ["--set takes key=value, not 'temperature'"]),
        (["--set", "=3"], ["--set takes key=value, not '=3'"]),
        (["--set", "temperature=2", "--set", "temperature=3"], ["--set temperature is given twice: '2' and '3'"]),
        (["--set", "searcher.population=3"], ["unknown option of searcher", "'population'"]),
        (["--seed", "-1"], ["--seed is from 0 to 2^32 - 1, not -1"]),
        (["--seed", "9" * 20], ["--seed is from 0 to 2^32 - 1, not 99999"]),
        (["--seed", "one"], ["'--seed'", "'one'"]),
        (["--budget", "-5"], ["--budget is a positive number of seconds, not -5"]),
        (["--budget", "0"], ["--budget is a positive number of seconds, not 0"]),
        (["--budget", "nan"], ["--budget is a positive number of seconds, not nan"]),
        (["--budget", "inf"], ["--budget is a positive number of seconds, not inf"]),
        (["--max-evaluations", "0"], ["--max-evaluations is 1 or more, not 0"]),
        (["--max-evaluations", "-3"], ["--max-evaluations is 1 or more, not -3"]),
        (["--data-dir", "nowhere"], ["no data folder nowhere"]),
        (["--plugin", "nowhere.py"], ["no plugin file nowhere.py"]),
        (["--task", "nowhere.toml"], ["nowhere.toml"]),
        (["--bogus"], ["'--bogus'"]),
        (["surplus"], ["surplus"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and str(value[0]).startswith("-") else "",
)
def test_mistake_prints_one_line_and_writes_nothing(nasbench, tmp_path: Path, arguments, words) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert_user_error(nasbench(*RUN, *arguments), *words)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rum"], ["'rum'", "'run'"]),
        (["run"], ["--method"]),
        (["run", "--method", "ws-nas"], ["--task"]),
        (["--bogus"], ["--bogus"]),
        (["tasks", "surplus"], ["surplus"]),
    ],
    ids=str,
)
def test_wrong_usage_prints_one_line(nasbench, arguments, words) -> None:
    assert_user_error(nasbench(*arguments), *words)


def test_missing_gpu_prints_one_line(nasbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert_user_error(nasbench(*RUN, "--device", "cuda"), "sees no GPU", "--device cpu")


def test_help_and_missing_command_print_usage_and_exit_with_0(nasbench) -> None:
    for arguments in ([], ["--help"], ["run", "--help"], ["-h"]):
        spoken = nasbench(*arguments)
        assert (spoken.code, spoken.err) == (0, "")
        assert "Usage: nasbench" in spoken.out


def test_results_path_below_a_file_prints_one_line(nasbench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert_user_error(nasbench(*RUN, "--results", "file/results"), "cannot write", "file")
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs a POSIX system")
def test_readonly_results_folder_prints_one_line(nasbench) -> None:
    with read_only_folder() as folder:
        spoken = nasbench(*RUN, "--results", str(folder))
    assert_user_error(spoken, f"cannot write to the results folder {folder}", "Permission denied")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs a POSIX system")
def test_path_in_a_closed_folder_prints_one_line(nasbench) -> None:
    with closed_folder() as folder:
        spoken = nasbench(*RUN, "--data-dir", str(folder / "data"))
    assert_user_error(spoken, f"{folder / 'data'}: Permission denied")


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", LONG, "--out", "out"],
        ["recommend", LONG],
        ["quantize", LONG],
        ["zero-shot", LONG, "--task", "piqa"],
        ["verify", LONG],
        ["submit", LONG, "--out", "bundle.zip", "--author", "Me", "--link", "https://example.org"],
        ["run", "--method", "ws-nas", "--task", LONG],
        [*RUN, "--data-dir", LONG],
    ],
    ids=lambda arguments: arguments[0],
)
def test_path_that_no_file_can_have_prints_one_line(nasbench, tmp_path: Path, arguments: list[str]) -> None:
    assert_user_error(nasbench(*arguments), LONG)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "arguments",
    [
        ["tabulate", "--task", "tiny-regression", "--model", "tiny-bert", "--device", "cpu", "--out", "."],
        ["compare-searchers", "--out", "."],
        ["predict", "network", "."],
    ],
    ids=lambda arguments: arguments[0],
)
def test_path_without_a_name_is_refused_before_anything_runs(nasbench, tmp_path: Path, arguments: list[str]) -> None:
    assert_user_error(nasbench(*arguments), "name the", "to write")
    assert not [*tmp_path.iterdir()]


def write_rte(folder: Path, **columns: list[object]) -> None:
    (folder / "rte").mkdir(parents=True)
    for split in ("train", "validation"):
        pa.parquet.write_table(pa.table(columns), folder / "rte" / f"{split}.parquet")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("missing", ["no file data/rte/train.parquet, the train rows of task 'rte'", "leave out --data-dir"]),
        ("truncated", ["data/rte/train.parquet: cannot be read as parquet; replace it"]),
        ("columns", ["data/rte/train.parquet: no column 'sentence2'; its columns are sentence1, label"]),
        ("labels", ["data/rte/train.parquet, column 'label': label 7 of row 0 is outside 0 to 1"]),
        ("none", []),
    ],
)
def test_unusable_data_print_one_line(nasbench, tmp_path: Path, damage: str, words: list[str]) -> None:
    sentences = [f"ba be {i}" for i in range(20)]
    columns = {"sentence1": sentences, "sentence2": sentences, "label": [i % 2 for i in range(20)]}
    if damage == "columns":
        del columns["sentence2"]
    if damage == "labels":
        columns["label"] = [7] * 20
    write_rte(tmp_path / "data", **columns)
    train = tmp_path / "data" / "rte" / "train.parquet"
    if damage == "missing":
        train.unlink()
    if damage == "truncated":
        train.write_bytes(train.read_bytes()[:-20])
    arguments = ("run", "--method", "ws-nas", "--task", "rte", "--model", "tiny-bert", "--data-dir", "data")
    spoken = nasbench(*arguments, "--max-evaluations", "1", "--device", "cpu")
    if damage == "none":
        assert (spoken.code, len(find_runs(tmp_path))) == (0, 1)
        return
    assert_user_error(spoken, *words)
    assert not find_runs(tmp_path)


def test_run_prints_its_front_and_is_not_repeated(nasbench, tmp_path: Path) -> None:
    command = (*RUN, "--max-evaluations", "5", "--results", "out")
    spoken = nasbench(*command)
    assert (spoken.code, spoken.err) == (0, "")
    assert "Pareto front of ws-nas/random on tiny-pair (tiny-bert)" in spoken.out
    (folder,) = find_runs(tmp_path / "out")
    assert RunFolder(folder).read_run().status == "complete"
    assert len(RunFolder(folder).read_evaluations()) == 5
    assert (folder / "front.png").exists()

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert_user_error(nasbench(*command), "complete", str(Path("out")))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_precision_and_threads_are_chosen_on_the_command_line(nasbench, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    spoken = nasbench(*SHORT_RUN, "--precision", "bf16", "--threads", "2")
    assert spoken.code == 0
    assert torch.get_num_threads() == before
    (folder,) = find_runs(tmp_path)
    assert "Ctrl-C is safe: the same command resumes the run" in spoken.out
    provenance = RunFolder(folder).read_run().provenance
    assert (provenance["precision"], provenance["hardware"]["n_threads"]) == ("bf16", 2)
    words = ("computed in bf16, not fp32", "--results")
    assert_user_error(nasbench(*SHORT_RUN, "--precision", "fp32"), *words)
    assert_user_error(nasbench(*SHORT_RUN, "--threads", "0"), "--threads is 1 or more, not 0")
    assert nasbench(*SHORT_RUN, "--precision", "fp64").code == 2


def test_options_reach_method_and_searcher(nasbench, tmp_path: Path) -> None:
    options = ("--set", "strategy=standard", "--set", "searcher.n_initial=4", "--searcher", "ehvi-exact")
    spoken = nasbench(*RUN, *options, "--space", "layer", "--seed", "3", "--max-evaluations", "2")
    assert spoken.code == 0
    (folder,) = find_runs(tmp_path)
    identity = RunFolder(folder).read_run().identity
    assert (identity.space, identity.seed, identity.algorithm) == ("layer", 3, "ws-nas/ehvi-exact")
    assert identity.options["method"]["strategy"] == "standard"
    assert identity.options["searcher"]["n_initial"] == 4


def test_method_from_plugin_file_runs_unofficially_in_its_own_space(nasbench, plugin: Path, tmp_path: Path) -> None:
    arguments = ("run", "--method", "one", "--task", "tiny-single", "--device", "cpu", "--plugin", str(plugin))
    spoken = nasbench(*arguments)
    assert (spoken.code, spoken.err) == (0, "")
    assert "method 'one' is not part of the suite" in spoken.out
    (folder,) = find_runs(tmp_path)
    record = RunFolder(folder).read_run()
    assert record.identity.space == "layer"
    assert record.identity.searcher is None
    assert record.unofficial == ["method 'one' is not part of the suite"]

    here = (*arguments, "--no-isolate")  # without starting the method's process
    assert_user_error(nasbench(*here, "--space", "small"), "works in layer, large", "small")
    assert_user_error(nasbench(*here, "--searcher", "random"), "uses no searcher", "random")
    assert_user_error(nasbench(*here, "--set", "searcher.x=1"), "uses no searcher")


def test_raising_method_fails_its_run_and_keeps_evaluations(nasbench, plugin: Path, tmp_path: Path) -> None:
    spoken = nasbench(
        "run", "--method", "raises", "--task", "tiny-single", "--device", "cpu", "--plugin", str(plugin), "--no-isolate"
    )  # fmt: skip
    assert spoken.code == 1
    assert spoken.err.startswith("error: ")
    assert "out of ideas" in spoken.err
    assert "Traceback" not in spoken.err
    (folder,) = find_runs(tmp_path)
    record = RunFolder(folder).read_run()
    assert (record.status, len(RunFolder(folder).read_evaluations())) == ("failed", 1)
    assert "out of ideas" in str(record.reason)


def test_depth_searcher_requires_method_that_evaluates_depths(nasbench) -> None:
    spoken = nasbench(*RUN, "--searcher", "depth")
    assert_user_error(spoken, "'depth' expects the values of all depths of a pass", "'ws-nas'", "--method ws-nas-depth")


def test_multi_fidelity_searcher_requires_method_that_trains_single_networks(nasbench, tmp_path: Path) -> None:
    (tmp_path / "halving.py").write_text(
        "from nasbench.search.searcher import MultiFidelitySearcher\n"
        "class Halving(MultiFidelitySearcher):\n"
        "    name, summary, rungs = 'halving', 'stops', (1, 3)\n"
        "    def ask(self): return self.space.sample(self.rng)\n"
        "    def tell(self, config, values): pass\n"
        "    def report(self, trial, epoch, values): pass\n"
    )
    spoken = nasbench(*RUN, "--plugin", "halving.py", "--searcher", "halving", "--no-isolate")
    assert_user_error(spoken, "'halving' stops the training of single sub-networks", "'ws-nas'", "--method s-nas")


def test_experiment_trains_shared_super_network_once(nasbench, tmp_path: Path) -> None:
    spoken = nasbench(
        "experiment", "fig5-shared", "--task", "tiny-pair", "--model", "tiny-bert", "--seed", "0", "--quiet"
    )
    assert (spoken.code, spoken.err) == (0, "")
    records = [RunFolder(folder).read_run() for folder in find_runs(tmp_path)]
    assert sorted(record.identity.space for record in records) == ["large", "layer", "medium", "small"]
    assert len(list(tmp_path.rglob("super-networks/*"))) == 1
    assert len({record.charged_s["training"] for record in records}) == 1
    assert sum("trained by another run of this experiment" in note for r in records for note in r.notes) == 3


def test_study_of_weight_sharing_measures_every_network_of_layer_twice(nasbench, tmp_path: Path) -> None:
    chosen = ("--task", "tiny-pair", "--model", "tiny-bert", "--seed", "0")
    spoken = nasbench("experiment", "weight-sharing", *chosen, "--quiet")
    assert (spoken.code, spoken.err) == (0, "")
    found = pairs(read_results(tmp_path / "runs"))
    n_layers = len(found["config"].iloc[0].split(", "))
    assert len(found) == len(set(found["config"])) == 2**n_layers
    assert set(table(found)["n_networks"]) == {2**n_layers}
    again = nasbench("experiment", "weight-sharing", *chosen, "--quiet")
    assert again.out.count("complete already") == 2


def test_interrupted_listing_promises_no_record(nasbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "tasks", interrupt)
    spoken = nasbench("tasks")
    assert (spoken.code, spoken.err.strip()) == (130, "error: interrupted")


def test_bug_prints_traceback_and_asks_for_a_report(nasbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug() -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(registry, "tasks", bug)
    spoken = nasbench("tasks")
    assert spoken.code == 1
    assert "ZeroDivisionError: oops" in spoken.err
    assert spoken.err.splitlines()[-1].startswith("error: this is a bug in nasbench")


@pytest.mark.parametrize(("command", "name"), [("tasks", "rte"), ("models", "minilm-l6"), ("methods", "ws-nas"),
                                               ("searchers", "random")])  # fmt: skip
def test_table_and_json_list_the_same_names(nasbench, command: str, name: str) -> None:
    entries = json.loads(nasbench(command, "--json").out)
    names = [entry["name"] for entry in entries]
    assert name in names
    assert names == sorted(names)
    shown = [line.split()[0] for line in nasbench(command).out.splitlines()[2:] if line[:1].strip()]
    assert shown == names


def test_tasks_json_holds_the_declaration(nasbench) -> None:
    (rte,) = [entry for entry in json.loads(nasbench("tasks", "--json").out) if entry["name"] == "rte"]
    assert rte["metric"] == "accuracy"
    assert rte["budgets"]["paper/gpu"] == 7200
    assert rte["validation_fraction"] == 0.3
    assert rte["data"]["revision"] == "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"


def test_broken_plugin_package_is_listed_as_broken(nasbench, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [importlib.metadata.EntryPoint("bad", "no_such_package:Bad", "nasbench.methods")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "nasbench.methods" else [])
    spoken = nasbench("methods")
    assert spoken.code == 0
    assert "ws-nas" in spoken.out
    assert "cannot be used: plugin 'bad'" in " ".join(spoken.out.split())  # the table may wrap the line
    bad = next(entry for entry in json.loads(nasbench("methods", "--json").out) if entry["name"] == "bad")
    assert "no_such_package" in bad["broken"]
    assert nasbench(*RUN, "--method", "bad", "--no-isolate").code == 1
