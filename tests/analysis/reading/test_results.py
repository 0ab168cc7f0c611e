"""Reading a results folder: what is right in it is read, what is wrong is named."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.generated_results import DIMENSIONS, Entry, Plan, write_results

from nasbench.analysis.reading.results import RUN_LEVEL, Results, name_entries, read_results
from nasbench.analysis.scoring.scores import block_table, score
from nasbench.errors import UserError
from nasbench.records.record import Evaluation, RunFolder
from nasbench.records.schema import SCHEMA_VERSION

PLAN = Plan([Entry("ws-nas", "ehvi"), Entry("rfp", space="large")], tasks=["rte"], seeds=range(3), n_evaluations=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_results(tmp_path, PLAN)
    return tmp_path


def first_run(folder: Path) -> Path:
    return folder / "rte/bert-base-cased/rfp_large_gpu_seed0"


def edit_run(path: Path, **changes: object) -> None:
    data = json.loads((path / RunFolder.RUN).read_text())
    (path / RunFolder.RUN).write_text(json.dumps({**data, **changes}))


def edit_identity(path: Path, **changes: object) -> None:
    edit_run(path, identity={**json.loads((path / RunFolder.RUN).read_text())["identity"], **changes})


def edit_line(path: Path, line: int, **changes: object) -> None:
    lines = (path / RunFolder.EVALUATIONS).read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **changes})
    (path / RunFolder.EVALUATIONS).write_text("\n".join(lines) + "\n")


def edit_lines(path: Path, **changes: object) -> None:
    for line in range(PLAN.n_evaluations):
        edit_line(path, line, **changes)


def put_bytes(path: Path, old: bytes, new: bytes) -> None:
    file = path / RunFolder.EVALUATIONS
    assert old in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(old, new, 1))


def copy_run(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def test_frames_hold_what_the_records_say(folder: Path) -> None:
    results = read_results(folder)
    assert results.findings == ()
    assert results.exit_code == 0
    assert len(results.runs) == 6
    assert len(results.evaluations) == 6 * 8
    for row, run in enumerate(results.runs.to_dict("records")):
        record = RunFolder(folder / run["run"]).read_run()
        own = results.evaluations[results.evaluations["run_row"] == row]
        for read, written in zip(
            own.to_dict("records"), RunFolder(folder / run["run"]).read_evaluations(), strict=True
        ):
            for name in ("index", "key", "error", "params", "n_params", "elapsed_s", "status", "latency_ms"):
                assert read[name] == getattr(written, name)
            assert (written.test_error is None) == np.isnan(read["test_error"])
            assert written.test_error is None or written.test_error == read["test_error"]
            assert read["metric.accuracy"] == written.metrics["accuracy"]
            assert read["config"] == ", ".join(f"{name}={value}" for name, value in written.config.items())
            assert read["run"] == run["run"]
            assert read["seed"] == record.identity.seed
        assert run["algorithm"] == record.identity.algorithm
        assert run["elapsed_s"] == 7200.0


def test_entries_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    changed = {"strategy": "kd", "searcher": {"n": 3}}
    usual = {"strategy": "full", "searcher": {"n": 3}}
    plan = Plan(
        [
            Entry("ws-nas", "ehvi", options=usual),
            Entry("ws-nas", "ehvi", options=changed, changed_options=True),
            Entry("ws-nas", "ehvi", space="medium", options=usual),
        ],
        tasks=["rte"],
        seeds=[0],
        n_evaluations=3,
    )
    write_results(tmp_path, plan)
    write_results(tmp_path, dataclasses.replace(plan, tasks=["mrpc"], budget_s=60.0))
    found = read_results(tmp_path)
    assert sorted(found.runs["entry"].unique()) == [
        "ws-nas/ehvi@medium",
        "ws-nas/ehvi@small",
        "ws-nas/ehvi@small [strategy=kd]",
    ]
    # A budget is unusual within its own scenario only, and a limited number of evaluations always is.
    runs = found.runs.assign(max_evaluations=pd.array([5] + [None] * 5, dtype="Int64"))
    runs.loc[runs.index[-1], "budget_s"] = 30.0
    names = name_entries(runs)
    assert names[0].endswith("[max_evaluations=5]")
    assert names[-1].endswith("budget_s=30]")
    assert len(set(names[1:-1])) == 3


Damage = Callable[[Path], object]


def truncate(path: Path) -> None:
    file = path / RunFolder.EVALUATIONS
    file.write_bytes(file.read_bytes()[:-20])


WHOLE_RUN_LOST: dict[str, tuple[Damage, str]] = {
    "corrupt run": (lambda p: (p / RunFolder.RUN).write_text("{"), "run.json: not JSON (EOF while parsing"),
    "no object": (lambda p: (p / RunFolder.RUN).write_text("[]"), "run.json: not a JSON object but []"),
    "not text": (lambda p: (p / RunFolder.RUN).write_bytes(b"\xff\xfe"), "run.json: not JSON ("),
    "newer schema": (lambda p: edit_run(p, schema_version=SCHEMA_VERSION + 1), f"schema version {SCHEMA_VERSION + 1}"),
    "odd status": (lambda p: edit_run(p, status="done"), "'done'"),
    "odd track": (lambda p: edit_run(p, track=["paper"]), "['paper']"),
    "corrupt line": (
        lambda p: put_bytes(p, b'"index": 3', b'"index": oops'),
        "evaluations.jsonl, line 4: not an evaluation",
    ),
    "no dictionary": (lambda p: (p / RunFolder.EVALUATIONS).write_text("3\n"), "line 1: not an evaluation"),
    "missing field": (lambda p: edit_line(p, 2, params=None), "line 3: not an evaluation (no 'params')"),
    "wrong type": (lambda p: edit_line(p, 2, error="low"), "column 'error'"),
    "wrong index": (lambda p: edit_line(p, 2, index=7), "line 3: index 7 where 2 is due"),
    "odd evaluation status": (lambda p: edit_line(p, 2, status="fine"), "line 3: status 'fine'"),
    "params above 1": (lambda p: edit_line(p, 2, params=1.5), "line 3: params = 1.5"),
    "params nan": (lambda p: edit_line(p, 2, params=float("nan")), "line 3: params = nan"),
    "time nan": (lambda p: edit_line(p, 2, elapsed_s=float("nan")), "line 3: elapsed_s = nan"),
    "time goes back": (lambda p: edit_line(p, 2, elapsed_s=0.0), "line 3: elapsed_s goes back"),
    "odd field of the run": (lambda p: edit_run(p, provenance=None), "run.json: provenance = None"),
    "odd name of a field": (lambda p: edit_run(p, **{"\ud800": 1}), "run.json: not JSON ("),
    "deep run": (lambda p: (p / RunFolder.RUN).write_text("[" * 99_999), "nested too deep"),
    "error below 0": (lambda p: edit_line(p, 2, error=-5.0), "line 3: error = -5.0 is not between 0 and 2"),
    "error above 2": (lambda p: edit_line(p, 2, error=2.1), "line 3: error = 2.1 is not between 0 and 2"),
    "test error below 0": (lambda p: edit_line(p, 0, test_error=-0.1), "line 1: test_error = -0.1"),
    "n_params below 0": (lambda p: edit_line(p, 2, n_params=-5), "line 3: n_params = -5, but params = "),
    "n_params of another network": (lambda p: edit_line(p, 0, n_params=DIMENSIONS.n_params - 2), "line 1: n_params = "),
    "another full network": (lambda p: edit_run(p, n_params_full=0), "line 1: n_params = "),
    "key without UTF-8 form": (lambda p: edit_line(p, 2, key="\ud800"), "column 'key'"),
    "metric without UTF-8 form": (lambda p: edit_lines(p, metrics={"\ud800": 1.0}), "column 'metrics'"),
    "no UTF-8": (lambda p: put_bytes(p, b'"key": "0', b'"key": "\xff'), "line 1: not an evaluation (no UTF-8)"),
    "metrics of text": (lambda p: edit_lines(p, metrics={"f1": "high"}), "'f1' of 'metrics' holds string"),
    "metrics of dates": (lambda p: edit_lines(p, metrics={"f1": "2024-09-01"}), "'f1' of 'metrics' holds"),
    "nested metrics": (lambda p: edit_lines(p, test_metrics={"f1": {"a": 1}}), "'f1' of 'test_metrics' holds struct"),
    "no metrics": (lambda p: edit_lines(p, metrics="high"), "column 'metrics' holds string instead of objects"),
    "metrics of many types": (lambda p: edit_line(p, 2, metrics=[1]), "column 'metrics' has no type"),
    # Parsed where it lies, this would end the process.
    "deep line": (lambda p: put_bytes(p, b'"config": ', b'"config": ' + b"[" * 99_999), "line 1: not an evaluation"),
}


@pytest.mark.parametrize(("damage", "message"), WHOLE_RUN_LOST.values(), ids=WHOLE_RUN_LOST)
def test_a_damaged_record_is_named_and_the_rest_reported(folder: Path, damage: Damage, message: str) -> None:
    damage(first_run(folder))
    results = read_results(folder)
    (finding,) = results.findings
    assert finding.place == "rte/bert-base-cased/rfp_large_gpu_seed0"
    assert message in finding.message
    assert str(folder) not in str(finding)  # the same on every machine
    assert results.exit_code == 1
    assert len(results.runs) == 5
    assert len(results.evaluations) == 5 * 8
    assert results.evaluations["run_row"].max() == 4


def test_a_cut_off_last_line_is_damage_in_a_finished_run_only(folder: Path) -> None:
    truncate(first_run(folder))
    results = read_results(folder)
    assert results.warnings == [
        "rte/bert-base-cased/rfp_large_gpu_seed0: evaluations.jsonl: the last line is cut off; left out"
    ]
    assert results.exit_code == 1
    assert len(results.evaluations) == 6 * 8 - 1
    edit_run(first_run(folder), status="running")
    results = read_results(folder)
    assert results.exit_code == 0
    assert "has not ended" in results.warnings[0]
    assert len(results.finished().runs) == 5
    assert len(results.evaluations) == 6 * 8 - 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_an_error_that_is_no_number_becomes_a_failed_evaluation(folder: Path, value: float | None) -> None:
    edit_line(first_run(folder), 4, error=value)
    results = read_results(folder)
    (warning,) = results.warnings
    assert "line 5: the error is" in warning
    assert results.exit_code == 1
    own = results.evaluations[results.evaluations["run_row"] == 0]
    assert own["status"].tolist() == ["ok"] * 4 + ["failed"] + ["ok"] * 3
    assert np.isnan(own["error"].iloc[4])
    assert results.runs["n_failed"].tolist() == [1, 0, 0, 0, 0, 0]


def test_a_test_error_that_is_no_number_is_left_out(folder: Path) -> None:
    edit_line(first_run(folder), 0, test_error=float("nan"))
    results = read_results(folder)
    assert "line 1: the test error is nan" in results.warnings[0]
    assert np.isnan(results.evaluations["test_error"].iloc[0])


def test_a_failed_evaluation_is_no_damage(folder: Path) -> None:
    edit_line(first_run(folder), 4, error=None, status="failed", reason="out of memory")
    results = read_results(folder)
    assert results.findings == ()
    assert results.runs["n_failed"].iloc[0] == 1


def test_a_run_without_evaluations_is_named_and_kept(folder: Path) -> None:
    (first_run(folder) / RunFolder.EVALUATIONS).unlink()
    results = read_results(folder)
    assert results.warnings == ["rte/bert-base-cased/rfp_large_gpu_seed0: the run has no evaluations"]
    assert results.exit_code == 1
    assert len(results.runs) == 6
    assert results.runs["n_evaluations"].iloc[0] == 0


def test_two_runs_with_one_identity_are_named_and_count_once(folder: Path) -> None:
    copy_run(first_run(folder), first_run(folder).with_name("rfp_large_gpu_seed0_copy"))
    results = read_results(folder)
    (warning,) = results.warnings
    assert warning.startswith("rte/bert-base-cased/rfp_large_gpu_seed0_copy: the same identity as")
    assert results.exit_code == 1
    assert len(results.runs) == 6


def test_an_identity_does_not_depend_on_how_it_is_written(folder: Path) -> None:
    mine, theirs = (copy_run(first_run(folder), folder / owner / "run") for owner in ("mine", "theirs"))
    shutil.rmtree(first_run(folder))
    edit_identity(mine, budget_s=7200, options={"method": {"strategy": "kd"}})
    unset = {"method": {"strategy": "kd", "training_space": None}, "searcher": {"n": None}}
    edit_identity(theirs, budget_s=7200.0, options=unset)
    results = read_results(folder)
    assert results.warnings == ["theirs/run: the same identity as mine/run; left out"]
    assert len(results.runs) == 6
    assert "strategy" in results.runs["options"].iloc[0]


def named(folder: Path, *options: dict[str, object], **identity: object) -> list[str]:
    """The names of runs that differ in their options."""
    usual = first_run(folder)
    for i, own in enumerate(options):
        edit_identity(copy_run(usual, usual.with_name(f"changed_{i:02}")), options=own, **identity)
    results = read_results(folder)
    assert results.findings == ()
    changed = results.runs["run"].str.contains("changed_")
    return [name.removeprefix("rfp@large") for name in results.runs.loc[changed, "entry"]]


def test_options_that_differ_in_their_type_only_are_told_apart(folder: Path) -> None:
    for seed in PLAN.seeds:
        edit_identity(first_run(folder).with_name(f"rfp_large_gpu_seed{seed}"), options={"a": 0, "b": "usual"})
    values = [1, "1", 1.0, True, "true", None, "None", "null", "unset", [1, "x"], "two words", "é", '1, c="2"']
    names = named(folder, *({"a": value, "b": "usual"} for value in values))
    assert names == [
        " [a=1]",
        ' [a="1"]',
        " [a=1.0]",
        " [a=true]",
        ' [a="true"]',
        " [a unset]",
        " [a=None]",
        ' [a="null"]',
        " [a=unset]",
        ' [a=[1, "x"]]',
        ' [a="two words"]',
        ' [a="é"]',
        ' [a="1, c=\\"2\\""]',
    ]


def test_entry_names_read_changed_options_whatever_the_folder_is_called(tmp_path: Path) -> None:
    default = {"method": {"strategy": "sandwich", "epochs": 3}, "searcher": {"n": 10}}
    changes = [
        {"method": {}, "searcher": {}},
        {"method": {"epochs": 7}, "searcher": {}},
        {"method": {}, "searcher": {"n": 5}},
        {"method": {"strategy": None}, "searcher": {"n": 5}},
    ]
    expected = [
        "ws-nas/ehvi@small",
        "ws-nas/ehvi@small [method.epochs=7]",
        "ws-nas/ehvi@small [searcher.n=5]",
        "ws-nas/ehvi@small [method.strategy unset, searcher.n=5]",
    ]
    (plain,) = write_results(tmp_path, Plan([Entry("ws-nas", "ehvi")], tasks=["rte"], seeds=[0], n_evaluations=3))
    for i, changed in enumerate(changes):
        options = {owner: {**values, **changed[owner]} for owner, values in default.items()}
        run = copy_run(plain, plain.with_name(f"run{i}"))
        edit_identity(run, options=options)
        edit_run(run, changed_options=changed)
    shutil.rmtree(plain)
    assert read_results(tmp_path).runs["entry"].tolist() == expected
    # Without the run that changed nothing, the names stay as they are.
    shutil.rmtree(tmp_path / "rte/bert-base-cased/run0")
    assert read_results(tmp_path).runs["entry"].tolist() == expected[1:]


def test_entry_names_of_old_and_new_records_agree(folder: Path) -> None:
    for seed in PLAN.seeds:
        edit_identity(first_run(folder).with_name(f"rfp_large_gpu_seed{seed}"), options={"method": {"epochs": 3}})
    old = copy_run(first_run(folder), folder / "old")
    edit_identity(old, options={"method": {"epochs": 7}})
    for name, changed in (("changed", {"epochs": 7}), ("default", {})):
        new = copy_run(first_run(folder), folder / name)
        edit_identity(new, options={"method": {"epochs": 3, **changed}}, seed=8)
        edit_run(new, changed_options={"method": changed})
    results = read_results(folder)
    assert results.findings == ()
    names = dict(zip(results.runs["run"], results.runs["entry"], strict=True))
    assert names["old"] == names["changed"] == "rfp@large [method.epochs=7]"
    assert names["default"] == names["rte/bert-base-cased/rfp_large_gpu_seed0"] == "rfp@large"


def test_one_hundred_networks_of_differently_trained_super_networks_are_told_apart(folder: Path) -> None:
    trained = ({"method": {"strategy": "sandwich", "training_space": space}} for space in (None, "small"))
    assert named(folder, *trained, max_evaluations=103) == [
        " [method.strategy=sandwich, max_evaluations=103]",
        " [method.strategy=sandwich, method.training_space=small, max_evaluations=103]",
    ]


def test_budgets_that_differ_in_the_tenth_digit_are_told_apart(folder: Path) -> None:
    for i, budget_s in enumerate((7200.000001, 7200.000002)):
        edit_identity(copy_run(first_run(folder), folder / f"copy{i}"), budget_s=budget_s)
    results = read_results(folder)
    assert results.findings == ()
    assert results.runs["entry"].nunique() == 4


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"method": "a/b", "searcher": None}, {"method": "a", "searcher": "b"}),
        ({"options": {"a": {"b": 1}}}, {"options": {"a.b": 1}}),
        ({"options": {"a": 1, "b": 2}}, {"options": {"a=1, b": 2}}),
        ({"task": "a/b", "model": "c"}, {"task": "a", "model": "b/c"}),
    ],
)
def test_runs_that_no_name_tells_apart_are_named_and_count_once(
    folder: Path, first: dict[str, object], second: dict[str, object]
) -> None:
    for name, changes in (("x", first), ("y", second)):
        edit_identity(copy_run(first_run(folder), folder / name), **changes)
    results = read_results(folder)
    (finding,) = results.findings
    assert finding.place == "y"
    assert finding.message.startswith("cannot be told from x, another run of ")
    assert finding.damage
    assert "x" in set(results.runs["run"])
    assert len(results.runs) == 7
    assert len(results.evaluations) == 7 * 8
    block_table(score(results))  # would raise for two runs in one place


def test_evaluations_after_the_budget_are_named_and_left_out(folder: Path) -> None:
    edit_line(first_run(folder), 7, elapsed_s=7200.0 * (1 + 1e-12))  # the last one, as late as it may be
    assert read_results(folder).findings == ()
    lines = (first_run(folder) / RunFolder.EVALUATIONS).read_text().splitlines()
    late = [json.dumps({**json.loads(lines[-1]), "index": 8 + i, "elapsed_s": 7201.0 + i}) for i in range(2)]
    (first_run(folder) / RunFolder.EVALUATIONS).write_text("\n".join([*lines, *late]) + "\n")
    results = read_results(folder)
    (warning,) = results.warnings
    assert "line 9: elapsed_s = 7201.0 is past the budget of 7200 s" in warning
    assert results.exit_code == 1
    assert len(results.runs) == 6
    assert results.runs["n_evaluations"].tolist() == [8] * 6
    assert results.runs["elapsed_s"].iloc[0] == pytest.approx(7200.0)


def test_evaluations_after_the_limit_are_named_and_left_out(folder: Path) -> None:
    edit_identity(first_run(folder), max_evaluations=5, budget_s=None)
    results = read_results(folder)
    (warning,) = results.warnings
    assert "line 6: past the limit of 5 evaluations" in warning
    assert results.runs["n_evaluations"].tolist() == [5] + [8] * 5


def test_values_at_their_bounds_are_read(folder: Path) -> None:
    edit_line(first_run(folder), 0, error=-1e-16, test_error=2.0)  # a correlation can round to more than 1
    edit_line(first_run(folder), 1, error=2.0)
    params = json.loads((first_run(folder) / RunFolder.EVALUATIONS).read_text().splitlines()[2])["params"]
    edit_line(first_run(folder), 2, params=round(params, 9))
    assert read_results(folder).findings == ()


def test_configurations_may_hold_anything(folder: Path) -> None:
    edit_line(first_run(folder), 0, config={"when": "2024-09-01", "all": ["2024-09-01"], "x": {"y": 1}, "z": None})
    texts = read_results(folder).evaluations["config"]
    assert texts.iloc[0].startswith("when=2024-09-01")


@pytest.mark.parametrize("config", [None, {}])
def test_a_configuration_that_says_nothing_is_empty_text(folder: Path, config: object) -> None:
    edit_lines(first_run(folder), config=config)
    results = read_results(folder)
    assert results.findings == ()
    assert results.evaluations["config"].iloc[:8].tolist() == [""] * 8


def test_a_folder_whose_name_is_no_text_is_shown_escaped(folder: Path) -> None:
    (folder / "rte").rename(Path(os.fsdecode(bytes(folder) + b"/caf\xe9")))
    results = read_results(folder)
    assert results.findings == ()
    assert results.runs["run"].iloc[0] == r"caf\udce9/bert-base-cased/rfp_large_gpu_seed0"


def test_a_failed_run_is_named_with_its_reason_and_counts(folder: Path) -> None:
    edit_run(first_run(folder), status="failed", reason="the method raised")
    results = read_results(folder)
    assert results.warnings == ["rte/bert-base-cased/rfp_large_gpu_seed0: the run failed: the method raised"]
    assert results.exit_code == 0
    assert len(results.official().runs) == 6


def test_official_leaves_out_unofficial_runs(folder: Path) -> None:
    edit_run(first_run(folder), unofficial=["another budget"])
    results = read_results(folder)
    assert len(results.official().runs) == 5
    assert len(results.finished().runs) == 6


def test_selecting_runs_renumbers_and_leaves_the_original(folder: Path) -> None:
    results = read_results(folder)
    before = results.evaluations.copy()
    chosen = results.select(results.runs["seed"] == 1)
    assert chosen.runs["seed"].tolist() == [1, 1]
    assert chosen.evaluations["run_row"].tolist() == [0] * 8 + [1] * 8
    for row, name in enumerate(chosen.runs["run"]):
        assert set(chosen.evaluations.loc[chosen.evaluations["run_row"] == row, "run"]) == {name}
    pd.testing.assert_frame_equal(results.evaluations, before)
    with pytest.raises(ValueError, match=r"\(2,\)"):
        results.select([True, False])


def test_an_empty_folder_has_the_same_columns(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty, full = read_results(tmp_path_factory.mktemp("empty")), read_results(folder)
    assert list(empty.runs.columns) == list(full.runs.columns)
    metrics = {"metric.accuracy", "test_metric.accuracy"}
    assert set(empty.evaluations.columns) == set(full.evaluations.columns) - metrics
    assert set(RUN_LEVEL) < set(empty.evaluations.columns)


def test_no_folder_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results folder"):
        read_results(tmp_path / "missing")


def test_configurations_of_the_large_space_are_cut_short(folder: Path) -> None:
    edit_line(first_run(folder), 0, config={"heads": "ff" * 18, "units": "ab" * 4608})
    for line in range(1, 8):
        edit_line(first_run(folder), line, config={"heads": "ff", "units": "ab"})
    texts = read_results(folder).evaluations["config"]
    assert texts.iloc[0] == f"heads={'f' * 24}…, units={'ab' * 12}…"
    assert texts.iloc[1] == "heads=ff, units=ab"


def test_every_field_of_an_evaluation_is_read_or_left_out_on_purpose(folder: Path) -> None:
    columns = {name.split(".")[0] for name in read_results(folder).evaluations.columns}
    read = columns | {"metrics", "test_metrics"}
    left_out = {field.name for field in dataclasses.fields(Evaluation)} - read
    assert left_out == {"head_counts", "unit_counts", "charged_s"}


def check_runs_are_alike(a: Results, b: Results) -> None:
    pd.testing.assert_frame_equal(a.runs, b.runs)


def test_reading_twice_gives_the_same(folder: Path) -> None:
    check_runs_are_alike(read_results(folder), read_results(folder))
