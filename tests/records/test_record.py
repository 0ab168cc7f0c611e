"""The two files of a run are read as written. Damage is named."""

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest

from nasbench.analysis.reading.evaluation_file import read_evaluation_file
from nasbench.errors import NasbenchError, UserError
from nasbench.records import progress
from nasbench.records.record import Evaluation, Identity, RunFolder, RunRecord, find_runs, write_atomically
from nasbench.records.schema import RecordError, to_json
from nasbench.runs.problem import LONGEST_NAME

IDENTITY = Identity(
    task="rte",
    model="bert",
    space="small",
    method="ws-nas",
    searcher="ehvi",
    options={"method": {"epochs": 3}, "searcher": {}},
    seed=4,
    device_class="cpu",
    budget_s=60.0,
)
RECORD = RunRecord(IDENTITY, "1", "paper", "accuracy", 1000, {"n_layers": 3}, charged_s={"training": 1.5})


def evaluation(index: int, error: float | None = 0.25) -> Evaluation:
    return Evaluation(index, {"heads": 1}, f"{index:016x}", [1], [2], error, 0.5, 500, elapsed_s=index + 1.0)


@pytest.fixture
def folder(tmp_path):
    """A run folder with a record and three evaluations."""
    folder = RunFolder(tmp_path / "run")
    folder.write_run(RECORD)
    for index in range(3):
        folder.append(evaluation(index))
    return folder


def lines_file(folder: RunFolder) -> Path:
    return folder.path / RunFolder.EVALUATIONS


def test_record_and_evaluations_are_read_as_written(folder):
    assert folder.exists()
    assert folder.read_run() == RECORD
    assert folder.read_evaluations() == [evaluation(index) for index in range(3)]


def test_folder_names_the_table_of_a_simulated_run_only():
    assert "table" not in to_json(IDENTITY)
    assert IDENTITY.folder(False, True) == "rte/bert/ws-nas+ehvi_small_cpu_seed4"
    simulated = dataclasses.replace(IDENTITY, device_class="table", table="1a2b3c4d")
    assert simulated.folder(False, True) == "rte/bert/ws-nas+ehvi_small_table-1a2b3c4d_seed4"


def test_new_folder_has_no_record_and_no_evaluations(tmp_path):
    folder = RunFolder(tmp_path / "none")
    assert not folder.exists()
    assert folder.read_evaluations() == []
    with pytest.raises(RecordError, match=r"run\.json: .*No such file"):
        folder.read_run()


def test_old_record_without_changed_options_is_read(folder):
    path = folder.path / RunFolder.RUN
    data = json.loads(path.read_text())
    assert data["schema_version"] == 1
    del data["changed_options"]
    path.write_text(json.dumps(data))
    assert folder.read_run() == RECORD
    assert folder.read_run().changed_options is None


def test_changed_options_are_read_as_written(folder):
    changed = {"method": {"epochs": 3}, "searcher": {}}
    folder.write_run(dataclasses.replace(RECORD, changed_options=changed))
    assert folder.read_run().changed_options == changed


@pytest.mark.parametrize("n_bytes", [1, 40, -1])
def test_cut_last_line_is_skipped_and_dropped(folder, n_bytes):
    path = lines_file(folder)
    whole = path.read_bytes()
    start = whole.rfind(b"\n", 0, -1) + 1
    path.write_bytes(whole[:start] + whole[start:][:n_bytes])
    assert folder.read_evaluations() == [evaluation(0), evaluation(1)]
    folder.drop_cut_line()
    assert path.read_bytes() == whole[:start]
    folder.append(evaluation(2))
    assert path.read_bytes() == whole


def test_cut_first_line_leaves_an_empty_file(folder):
    path = lines_file(folder)
    path.write_bytes(path.read_bytes()[:30])
    assert folder.read_evaluations() == []
    folder.drop_cut_line()
    assert path.read_bytes() == b""


def test_drop_cut_line_keeps_a_whole_file(folder, tmp_path):
    before = lines_file(folder).read_bytes()
    folder.drop_cut_line()
    assert lines_file(folder).read_bytes() == before
    RunFolder(tmp_path / "none").drop_cut_line()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"not JSON \("),
        ("[]", r"not a JSON object but \[\]$"),
        ('{"index": 1}', "no 'config'$"),
        (json.dumps({**dataclasses.asdict(evaluation(1)), "more": 1}), "'more'"),
        (json.dumps(dataclasses.asdict(evaluation(5))), "index 5 where 1 is due"),
        (json.dumps(dataclasses.asdict(evaluation(1, float("nan")))), "error .* nan"),
    ],
)
def test_read_evaluations_names_the_damaged_line(folder, line, message):
    path = lines_file(folder)
    first, _, third = path.read_text().splitlines()
    path.write_text("\n".join((first, line, third)) + "\n")
    with pytest.raises(RecordError, match=rf"evaluations\.jsonl, line 2: .*{message}") as refused:
        folder.read_evaluations()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema_version": 1}', '{"schema_version": 1, "identity": {}}'])
def test_read_run_rejects_damaged_file(folder, text):
    (folder.path / RunFolder.RUN).write_text(text)
    with pytest.raises(RecordError, match=r"run\.json: "):
        folder.read_run()


def test_read_run_rejects_newer_schema(folder):
    folder.write_run(dataclasses.replace(RECORD, schema_version=2))
    with pytest.raises(RecordError, match="schema version 2 is newer than 1; upgrade nasbench"):
        folder.read_run()


def test_values_that_json_lacks_are_not_written(folder):
    before = lines_file(folder).read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        folder.append(evaluation(3, float("nan")))
    with pytest.raises(ValueError, match="JSON"):
        folder.write_run(dataclasses.replace(RECORD, charged_s={"training": float("inf")}))
    assert lines_file(folder).read_bytes() == before
    assert folder.read_run() == RECORD


@pytest.mark.parametrize(
    "count",
    [
        lambda folder: len(folder.read_evaluations(RECORD)),
        lambda folder: read_evaluation_file(lines_file(folder), RECORD)[0].num_rows,
    ],
    ids=["resuming", "analysis"],
)
def test_run_that_appends_a_line_while_it_is_read_has_lost_none(folder, monkeypatch, count):
    """The run appends a line as soon as a reader has read one of its files."""
    read, seen = Path.read_bytes, []

    def read_and_append(path):
        data = read(path)
        if path.parent == folder.path:
            seen.append(path.name)
            folder.append(evaluation(2 + len(seen)))
        return data

    monkeypatch.setattr(Path, "read_bytes", read_and_append)
    assert count(folder) == 4
    assert seen == [progress.FILE, RunFolder.EVALUATIONS]


def test_append_fails_with_one_line(tmp_path):
    with pytest.raises(NasbenchError, match=r"cannot write .*evaluations\.jsonl: No such file or directory; once"):
        RunFolder(tmp_path / "none").append(evaluation(0))


def test_interrupted_write_keeps_the_old_contents(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    # The temporary file of the killed process is cleared away by the next attempt.
    assert len(list(tmp_path.iterdir())) == 2
    RunFolder(tmp_path).remove_leftovers()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_failed_write_keeps_the_old_contents_and_no_temporary_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NasbenchError, match=r"cannot write .*file: No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_file_can_be_read_by_everybody(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    write_atomically(path, memoryview(b"data"))
    assert path.read_bytes() == b"data"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_remove_leftovers_keeps_the_run_and_what_the_user_put_there(folder):
    """Networks may be called ``.net`` and ``.a.unfinished``."""
    (folder.path / "weights").mkdir()
    for name in (".notes.txt", "weights/.net.safetensors", "weights/.a.unfinished.safetensors"):
        write_atomically(folder.path / name, b"whole")
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    for name in (".ab12cd34.unfinished", "weights/.ab12cd34.unfinished"):
        (folder.path / name).write_text("half")
    folder.remove_leftovers()
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


def test_weights_of_the_longest_network_name_are_written(tmp_path):
    path = tmp_path / f"{LONGEST_NAME * chr(0x1D400)}.safetensors"
    assert len(path.name.encode()) == 4 * 60 + 12
    write_atomically(path, b"weights")
    assert path.read_bytes() == b"weights"


def test_find_runs_sorts_by_path(tmp_path):
    for name in ("b/run", "a/run", "a/empty"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("b/run", "a/run"):
        (tmp_path / name / RunFolder.RUN).write_text("{}")
    assert find_runs(tmp_path) == [tmp_path / "a/run", tmp_path / "b/run"]


def test_find_runs_goes_through_links_and_ends(tmp_path):
    elsewhere, results = tmp_path / "larger disk" / "rte", tmp_path / "results"
    for folder in (elsewhere / "run", results):
        folder.mkdir(parents=True)
    (elsewhere / "run" / RunFolder.RUN).write_text("{}")
    (results / "rte").symlink_to(elsewhere)
    (results / "rte again").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(results)
    (found,) = find_runs(results)
    assert found.parent in (results / "rte", results / "rte again")
    assert find_runs(results, follow_links=False) == []  # of a stranger
    (results / "own" / "run").mkdir(parents=True)
    (results / "own" / "run" / RunFolder.RUN).write_text("{}")
    (results / "a link").symlink_to(results / "own")
    assert results / "own" / "run" in find_runs(results)
    assert len(find_runs(results)) == 2


def test_find_runs_names_a_folder_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*missing: No such file or directory"):
        find_runs(tmp_path / "missing")


def test_folder_is_named_after_the_identity():
    assert IDENTITY.algorithm == "ws-nas/ehvi"
    assert dataclasses.replace(IDENTITY, searcher=None).algorithm == "ws-nas"
    assert IDENTITY.folder(False, True) == "rte/bert/ws-nas+ehvi_small_cpu_seed4"


def test_folder_has_a_digest_unless_everything_is_default():
    plain = IDENTITY.folder(False, True)
    limited = dataclasses.replace(IDENTITY, max_evaluations=5)
    other_options = dataclasses.replace(IDENTITY, options={"method": {"epochs": 4}, "searcher": {}})
    other_budget = dataclasses.replace(IDENTITY, budget_s=50.0)
    names = [
        IDENTITY.folder(True, True),
        other_options.folder(True, True),
        other_budget.folder(False, False),
        limited.folder(False, True),
    ]
    assert len(set(names)) == len(names)
    assert all(len(name) == len(plain) + 9 and name.startswith(plain + "_") for name in names)
    # The digest is of values, not of the order in which they are written.
    reordered = dataclasses.replace(IDENTITY, options={"searcher": {}, "method": {"epochs": 3}})
    assert reordered.folder(True, True) == names[0]
