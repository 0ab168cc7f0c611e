"""Reading a results folder: valid records are read, and every oddity becomes a finding."""

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
from support.record_edits import copy_run, edit_identity, edit_line, edit_lines, edit_run, first_run, put_bytes

from nasbench.analysis.reading.results import RUN_LEVEL, existing_folders, read_results
from nasbench.errors import UserError
from nasbench.records.record import Evaluation, RunFolder, find_runs
from nasbench.records.schema import SCHEMA_VERSION


def test_frames_equal_the_records(folder: Path) -> None:
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
    "lost lines": (
        lambda p: edit_run(p, n_evaluations=9),
        "evaluations.jsonl: 1 of 9 evaluations are lost since they were recorded",
    ),
    "changed lines": (
        lambda p: edit_run(p, n_evaluations=8, evaluations_sha256="0" * 64),
        "evaluations.jsonl: the 8 evaluations have changed since they were recorded",
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
    "metrics of many types": (lambda p: edit_line(p, 2, metrics=[1]), "column 'metrics' holds values without a"),
    # A parser that recurses into this line would crash the process.
    "deep line": (lambda p: put_bytes(p, b'"config": ', b'"config": ' + b"[" * 99_999), "line 1: not an evaluation"),
}


@pytest.mark.parametrize(("damage", "message"), WHOLE_RUN_LOST.values(), ids=WHOLE_RUN_LOST)
def test_damaged_record_becomes_a_finding_and_the_others_are_read(folder: Path, damage: Damage, message: str) -> None:
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


def test_cut_off_last_line_is_damage_only_in_a_finished_run(folder: Path) -> None:
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
def test_error_that_is_not_a_finite_number_becomes_a_failed_evaluation(folder: Path, value: float | None) -> None:
    edit_line(first_run(folder), 4, error=value)
    results = read_results(folder)
    (warning,) = results.warnings
    assert "line 5: the error is" in warning
    assert results.exit_code == 1
    own = results.evaluations[results.evaluations["run_row"] == 0]
    assert own["status"].tolist() == ["ok"] * 4 + ["failed"] + ["ok"] * 3
    assert np.isnan(own["error"].iloc[4])
    assert results.runs["n_failed"].tolist() == [1, 0, 0, 0, 0, 0]


def test_test_error_that_is_not_finite_is_left_out(folder: Path) -> None:
    edit_line(first_run(folder), 0, test_error=float("nan"))
    results = read_results(folder)
    assert "line 1: the test error is nan" in results.warnings[0]
    assert np.isnan(results.evaluations["test_error"].iloc[0])


def test_failed_evaluation_is_no_damage(folder: Path) -> None:
    edit_line(first_run(folder), 4, error=None, status="failed", reason="out of memory")
    results = read_results(folder)
    assert results.findings == ()
    assert results.runs["n_failed"].iloc[0] == 1


def test_run_without_evaluations_becomes_a_finding_and_is_kept(folder: Path) -> None:
    (first_run(folder) / RunFolder.EVALUATIONS).unlink()
    results = read_results(folder)
    assert results.warnings == ["rte/bert-base-cased/rfp_large_gpu_seed0: the run has no evaluations"]
    assert results.exit_code == 1
    assert len(results.runs) == 6
    assert results.runs["n_evaluations"].iloc[0] == 0


def test_second_run_with_the_same_identity_becomes_a_finding(folder: Path) -> None:
    copy_run(first_run(folder), first_run(folder).with_name("rfp_large_gpu_seed0_copy"))
    results = read_results(folder)
    (warning,) = results.warnings
    assert warning.startswith("rte/bert-base-cased/rfp_large_gpu_seed0_copy: the same identity as")
    assert results.exit_code == 1
    assert len(results.runs) == 6


def test_unset_options_and_number_types_do_not_change_the_identity(folder: Path) -> None:
    mine, theirs = (copy_run(first_run(folder), folder / owner / "run") for owner in ("mine", "theirs"))
    shutil.rmtree(first_run(folder))
    edit_identity(mine, budget_s=7200, options={"method": {"strategy": "kd"}})
    unset = {"method": {"strategy": "kd", "training_space": None}, "searcher": {"n": None}}
    edit_identity(theirs, budget_s=7200.0, options=unset)
    results = read_results(folder)
    assert results.warnings == ["theirs/run: the same identity as mine/run; left out"]
    assert len(results.runs) == 6
    assert "strategy" in results.runs["options"].iloc[0]


def test_evaluations_after_the_budget_are_left_out_with_a_finding(folder: Path) -> None:
    edit_line(first_run(folder), 7, elapsed_s=7200.0 * (1 + 1e-12))  # the latest time that the budget allows
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


def test_evaluations_after_the_limit_are_left_out_with_a_finding(folder: Path) -> None:
    edit_identity(first_run(folder), max_evaluations=5, budget_s=None)
    results = read_results(folder)
    (warning,) = results.warnings
    assert "line 6: past the limit of 5 evaluations" in warning
    assert results.runs["n_evaluations"].tolist() == [5] + [8] * 5


def test_values_at_their_bounds_are_valid(folder: Path) -> None:
    edit_line(first_run(folder), 0, error=-1e-16, test_error=2.0)  # rounding can raise a correlation above 1
    edit_line(first_run(folder), 1, error=2.0)
    params = json.loads((first_run(folder) / RunFolder.EVALUATIONS).read_text().splitlines()[2])["params"]
    edit_line(first_run(folder), 2, params=round(params, 9))
    assert read_results(folder).findings == ()


def test_configurations_may_hold_any_json_value(folder: Path) -> None:
    edit_line(first_run(folder), 0, config={"when": "2024-09-01", "all": ["2024-09-01"], "x": {"y": 1}, "z": None})
    texts = read_results(folder).evaluations["config"]
    assert texts.iloc[0].startswith("when=2024-09-01")


@pytest.mark.parametrize("config", [None, {}])
def test_empty_configuration_becomes_empty_text(folder: Path, config: object) -> None:
    edit_lines(first_run(folder), config=config)
    results = read_results(folder)
    assert results.findings == ()
    assert results.evaluations["config"].iloc[:8].tolist() == [""] * 8


def test_folder_name_without_utf8_form_is_escaped(folder: Path) -> None:
    (folder / "rte").rename(Path(os.fsdecode(bytes(folder) + b"/caf\xe9")))
    results = read_results(folder)
    assert results.findings == ()
    assert results.runs["run"].iloc[0] == r"caf\udce9/bert-base-cased/rfp_large_gpu_seed0"


def test_failed_run_becomes_a_finding_with_its_reason_and_counts(folder: Path) -> None:
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


def test_select_renumbers_runs_and_leaves_the_original_unchanged(folder: Path) -> None:
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


def test_empty_folder_has_the_same_columns(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty, full = read_results(tmp_path_factory.mktemp("empty")), read_results(folder)
    assert list(empty.runs.columns) == list(full.runs.columns)
    metrics = {"metric.accuracy", "test_metric.accuracy"}
    assert set(empty.evaluations.columns) == set(full.evaluations.columns) - metrics
    assert set(RUN_LEVEL) < set(empty.evaluations.columns)


def test_read_results_rejects_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results folder"):
        read_results(tmp_path / "missing")


def test_several_folders_give_one_table_with_unique_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_results(Path("runs"), Plan((Entry("rfp", space="large"),), tasks=("rte",), seeds=(0, 1), n_evaluations=4))
    write_results(Path("results"), Plan((Entry("s-nas", "random"),), tasks=("rte",), seeds=(0,), n_evaluations=4))
    found = read_results([Path("runs"), Path("results")])
    folder = "rte/bert-base-cased"
    assert found.runs["run"].tolist() == [
        f"results/{folder}/s-nas+random_small_gpu_seed0",
        f"runs/{folder}/rfp_large_gpu_seed0",
        f"runs/{folder}/rfp_large_gpu_seed1",
    ]
    assert found.evaluations["run_row"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (found.findings, found.exit_code) == ((), 0)
    assert read_results([Path("runs"), Path("runs/..//runs")]).runs["run"].nunique() == 2
    assert read_results(Path("runs")).runs["run"].tolist() == [f"{folder}/rfp_large_gpu_seed{seed}" for seed in (0, 1)]


def test_run_of_the_first_folder_counts_and_its_double_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, n in (("runs", 4), ("results", 7)):
        write_results(Path(folder), Plan((Entry("rfp", space="large"),), tasks=("rte",), seeds=(0,), n_evaluations=n))
    found = read_results([Path("runs"), Path("results")])
    run = "rte/bert-base-cased/rfp_large_gpu_seed0"
    assert (found.runs["run"].tolist(), found.runs["n_evaluations"].tolist()) == ([f"runs/{run}"], [4])
    assert [str(finding) for finding in found.findings] == [f"results/{run}: the same run as runs/{run}; left out"]
    assert found.exit_code == 0


def test_default_folders_are_those_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no results folder runs or results here; .*--results"):
        existing_folders([])
    Path("results").mkdir()
    assert existing_folders([]) == [Path("results")]
    Path("runs").mkdir()
    assert existing_folders([]) == [Path("runs"), Path("results")]
    assert existing_folders([Path("other")]) == [Path("other")]


def test_configurations_of_the_large_space_are_shortened(folder: Path) -> None:
    edit_line(first_run(folder), 0, config={"heads": "ff" * 18, "units": "ab" * 4608})
    for line in range(1, 8):
        edit_line(first_run(folder), line, config={"heads": "ff", "units": "ab"})
    texts = read_results(folder).evaluations["config"]
    assert texts.iloc[0] == f"heads={'f' * 24}…, units={'ab' * 12}…"
    assert texts.iloc[1] == "heads=ff, units=ab"


def test_every_field_of_an_evaluation_is_read_or_listed_as_left_out(folder: Path) -> None:
    columns = {name.split(".")[0] for name in read_results(folder).evaluations.columns}
    read = columns | {"metrics", "test_metrics"}
    left_out = {field.name for field in dataclasses.fields(Evaluation)} - read
    assert left_out == {"head_counts", "unit_counts", "charged_s", "costs"}  # costs have columns in runs that have them


def test_frames_do_not_depend_on_the_order_of_the_folders_on_disk(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    for run in reversed(find_runs(folder)):
        copy_run(run, other / run.relative_to(folder))
    one, two = read_results(folder), read_results(other)
    pd.testing.assert_frame_equal(one.runs, two.runs)
    pd.testing.assert_frame_equal(one.evaluations, two.evaluations)
