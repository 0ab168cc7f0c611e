"""When a run may resume an earlier attempt, and the lock on its folder."""

import dataclasses
import signal
import subprocess
import sys

import pytest
from support.processes import LIMIT_S, next_line

from nasbench.errors import CannotResume, UserError
from nasbench.records.record import Identity, RunFolder, RunRecord
from nasbench.records.resume import carry_over, check_same, earlier_attempt, locked

IDENTITY = Identity("rte", "bert", "small", "rfp", None, {"method": {}}, 0, "cpu", 60.0)
PROVENANCE = {
    "data_sha256": "d",
    "weights_sha256": "w",
    "precision": "fp32",
    "fine_tuning": {"epochs": 3},
    "super_network": {"epochs": 4},
    "python": "3.11",
}
RECORD = RunRecord(IDENTITY, "1", "paper", "accuracy", 100, {}, provenance=PROVENANCE)

HOLD = """
import sys
from pathlib import Path
from nasbench.records.resume import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def holder(folder):
    """Another process that holds the lock of a folder with a record."""
    folder.write_run(RECORD)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert next_line(process) == "locked\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def _lock(path):
    with locked(path):
        pass


def test_lock_of_another_process_is_refused_at_once(folder, holder):
    with pytest.raises(
        UserError, match=rf"^this run is in progress in another process: {folder.path} .process \d+ on \S+$"
    ):
        _lock(folder.path)
    assert holder.poll() is None
    holder.communicate("\n", timeout=LIMIT_S)
    assert holder.returncode == 0
    _lock(folder.path)


def test_lock_of_a_killed_process_does_not_block(folder, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (folder.path / ".lock").exists()
    _lock(folder.path)


def test_lock_is_refused_within_the_process_too(folder):
    with locked(folder.path), pytest.raises(UserError, match="this run is in progress in another process"):
        _lock(folder.path)


def test_lock_is_free_after_an_error(folder):
    def fail():
        with locked(folder.path):
            folder.write_run(RECORD)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    _lock(folder.path)
    assert folder.read_run() == RECORD


def test_lock_leaves_no_empty_folder(folder):
    with locked(folder.path):
        assert (folder.path / ".lock").exists()
    assert not folder.path.exists()


def test_lock_keeps_a_folder_with_files(folder):
    with locked(folder.path):
        folder.write_run(RECORD)
    assert {path.name for path in folder.path.iterdir()} == {".lock", "run.json"}


def test_lock_needs_a_folder_that_can_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot write to the results folder .*: Not a directory"):
        _lock(tmp_path / "file" / "run")


def test_earlier_attempt_of_a_new_folder_is_none(folder):
    assert earlier_attempt(folder) is None


@pytest.mark.parametrize("status", ["running", "failed"])
def test_earlier_attempt_with_evaluations_is_resumed(folder, status):
    record = dataclasses.replace(RECORD, status=status)
    folder.write_run(record)
    (folder.path / RunFolder.EVALUATIONS).write_text("")
    assert earlier_attempt(folder) == record


def test_earlier_attempt_that_was_killed_in_training_is_resumed(folder):
    folder.write_run(RECORD)
    (folder.path / "checkpoints").mkdir()
    assert earlier_attempt(folder) == RECORD
    assert (folder.path / "checkpoints").exists()


def test_earlier_attempt_that_failed_without_evaluations_starts_afresh(folder):
    folder.write_run(dataclasses.replace(RECORD, status="failed"))
    for name in ("checkpoints", "weights"):
        (folder.path / name).mkdir()
        (folder.path / name / "network.safetensors").write_bytes(b"of another method")
    assert earlier_attempt(folder) is None
    assert [path.name for path in folder.path.iterdir()] == [RunFolder.RUN]


def test_reasons_of_an_earlier_attempt_stay_except_those_that_are_found_again():
    shared, busy = "the method shared the harness's process (--no-isolate)", "other work on the machine took 20 %"
    earlier = dataclasses.replace(RECORD, unofficial=[shared, "limited to 3 evaluations", busy])
    now = dataclasses.replace(
        RECORD,
        unofficial=["limited to 3 evaluations", "made by a plugin"],
        provenance={**PROVENANCE, "isolation": {"memory": "8 GB"}},
    )
    carry_over(earlier, now, repeats_all=True)
    assert now.unofficial == [shared, "limited to 3 evaluations", "made by a plugin"]
    (before,) = now.provenance["earlier_attempts"]
    assert before["isolation"] is None


def test_earlier_attempt_that_is_complete_is_refused(folder):
    folder.write_run(dataclasses.replace(RECORD, status="complete"))
    with pytest.raises(UserError, match=r"this run is complete: .*choose another --seed"):
        earlier_attempt(folder)


@pytest.mark.parametrize("name", ["evaluations.jsonl", "weights", "checkpoints"])
def test_earlier_attempt_without_run_json_is_refused(folder, name):
    (folder.path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=rf"has {name} but no run\.json; remove the folder to start again"):
        earlier_attempt(folder)


def test_check_same_accepts_another_machine_and_python(tmp_path):
    now = dataclasses.replace(RECORD, provenance={**PROVENANCE, "python": "3.13", "hardware": {"n_cpus": 2}})
    check_same(RECORD, now, tmp_path)
    # An attempt from before the field ``changed_options`` can be resumed.
    check_same(RECORD, dataclasses.replace(RECORD, changed_options={"method": {}}), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity": dataclasses.replace(IDENTITY, seed=1)}, "with seed 0, now it is 1"),
        ({"identity": dataclasses.replace(IDENTITY, budget_s=9.0)}, r"with budget_s 60\.0, now it is 9\.0"),
        ({"metric": "f1"}, "with metric accuracy, now it is f1"),
        ({"provenance": {**PROVENANCE, "data_sha256": "x"}}, r"its data differ from the present ones \(d against x\)"),
        ({"provenance": {**PROVENANCE, "weights_sha256": "x"}}, "its pre-trained weights differ"),
        ({"provenance": {**PROVENANCE, "precision": "bf16"}}, r"its precision differ .*\(fp32 against bf16\)"),
        ({"provenance": {**PROVENANCE, "fine_tuning": {}}}, "its fine-tuning differ"),
        ({"provenance": {**PROVENANCE, "super_network": {}}}, "its super-network's training differ"),
    ],
)
def test_check_same_names_the_first_difference(tmp_path, changes, message):
    with pytest.raises(CannotResume, match=f"^cannot resume {tmp_path}: .*{message}.*; remove the folder to start"):
        check_same(RECORD, dataclasses.replace(RECORD, **changes), tmp_path)


def test_check_same_refuses_another_suite_version(tmp_path):
    with pytest.raises(UserError, match=r"it was started with nasbench 1, this is 2; remove the folder"):
        check_same(RECORD, dataclasses.replace(RECORD, suite_version="2"), tmp_path)
