"""What may stand in each field of a record, whether the engine or the analysis reads it."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from support.generated_results import Entry, Plan, write_results
from support.record_edits import ODD, edit_identity, edit_line, edit_run

from nasbench.analysis.reading.results import read_results
from nasbench.errors import UserError
from nasbench.records import schema
from nasbench.records.record import Evaluation, Identity, RunFolder, RunRecord
from nasbench.records.schema import RecordError

NAN, INFINITY = float("nan"), float("inf")
NESTED: list[Any] = []
for _ in range(100):
    NESTED = [NESTED]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (path,) = write_results(tmp_path, Plan([Entry("rfp")], tasks=["rte"], seeds=[0], n_evaluations=3))
    return path


def put(path: Path, name: str, value: object) -> None:
    """Put a value into a field of the run, or with ``identity.`` in front of the name, of its identity."""
    place, _, inner = name.rpartition(".")
    (edit_identity if place else edit_run)(path, **{inner: value})


def refused_run(path: Path) -> str:
    """The message about ``run.json``, without the path of its folder."""
    with pytest.raises(RecordError) as refused:
        RunFolder(path).read_run()
    message = str(refused.value)
    assert "\n" not in message
    message.encode()
    return message.removeprefix(f"{path}/")


def refused_evaluations(path: Path) -> str:
    with pytest.raises(RecordError) as refused:
        RunFolder(path).read_evaluations()
    message = str(refused.value)
    assert "\n" not in message
    message.encode()
    return message.removeprefix(f"{path}/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("n_params_full", value) for value in (None, "x", [1], {}, NAN, 1e30, 2**63, -1, True)),
        *(("identity.max_evaluations", value) for value in (1.5, "x", [1], {}, 1e30, 2**63, 0, True)),
        *(("identity.budget_s", value) for value in ("x", [1], 0, -1.0, NAN, INFINITY, 10**400, True)),
        *(("identity.seed", value) for value in (10**30, 0.0, "0", None, False)),
        *(("identity.options", value) for value in (None, [], "x", {"a": "a\0"}, {"a\0": 1}, {"a": NESTED})),
        *(("provenance", value) for value in (None, [], "x", {"a": ["a\0"]}, {"a": NESTED})),
        *(("provenance", {"packages": value}) for value in (NAN, [INFINITY])),
        *((name, value) for name in ("charged_s", "uncharged_s", "dimensions") for value in (None, [1], 3)),
        *(
            (name, {"training": value})
            for name in ("charged_s", "uncharged_s")
            for value in (None, "x", -1.0, NAN, INFINITY, True, [1])
        ),
        *(("dimensions", {"n_layers": value}) for value in (None, "x", -1, 1.5, True, 2**63)),
        *(("changed_options", value) for value in ([], "x", {"method": 3}, {"method": {"a": "a\0"}})),
        *((name, value) for name in ("unofficial", "notes") for value in (None, "x", 3, {}, [1], [["x"]], ["a\0"])),
        *((name, value) for name in ("reason", "started_at") for value in (1, ["x"], "a\0")),
        *(
            (name, value)
            for name in ("identity.task", "identity.method", "metric", "track", "suite_version")
            for value in (None, "", 1, "a\0")
        ),
        *(("identity.searcher", value) for value in ("", 1, "a\0")),
        *(("status", value) for value in ("done", None, ["running"])),
        *(("schema_version", value) for value in (0, -5, True, NAN, "1", None)),
    ],
)
def test_read_run_names_field_and_value(path: Path, name: str, value: object) -> None:
    put(path, name, value)
    message = refused_run(path)
    assert message.startswith(f"run.json: {name} = ")
    assert " is not " in message
    assert len(message) < 200  # whatever the size of the value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("identity.options", value) for value in ({"a": "\ud800"}, {"\ud800": 1})),
        ("provenance", {"a": ["\ud800"]}),
        ("changed_options", {"method": {"a": "\ud800"}}),
        ("unofficial", ["\ud800"]),
        *(
            (name, "\ud800")
            for name in (
                *("identity.task", "identity.method", "metric", "track", "suite_version"),
                *("identity.searcher", "reason", "started_at"),
            )
        ),
    ],
)
def test_read_run_names_line_and_column_of_text_without_utf8_form(path: Path, name: str, value: object) -> None:
    put(path, name, value)
    text = (path / RunFolder.RUN).read_text()
    message = refused_run(path)
    assert message.startswith("run.json: not JSON (")
    line, column = message.rpartition(" at line ")[2].rstrip(")").split(" column ")
    assert line == "1"
    assert 0 <= int(column) - text.index("\\ud800") <= 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_params_full", 0),  # of a run that failed before it had a network
        ("identity.max_evaluations", 2**63 - 1),
        ("identity.budget_s", 100),
        ("identity.seed", -(2**63)),
        ("identity.searcher", None),
        ("identity.task", "tâche\n<b>"),
        ("reason", ""),
        ("started_at", None),
        ("changed_options", None),
        ("provenance", {"packages": {"torch": None}, "threads": [1, 2.5, True]}),
    ],
)
def test_read_run_accepts(path: Path, name: str, value: object) -> None:
    put(path, name, value)
    record: Any = RunFolder(path).read_run()
    for part in name.split("."):
        record = getattr(record, part)
    assert record == value


def test_read_run_rejects_a_run_without_budget(path: Path) -> None:
    put(path, "identity.budget_s", None)
    assert refused_run(path) == "run.json: neither identity.budget_s nor identity.max_evaluations ends the run"
    put(path, "identity.max_evaluations", 5)
    assert RunFolder(path).read_run().identity.max_evaluations == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("track"), "run.json: no 'track'"),
        (lambda data: data["identity"].pop("seed"), "run.json: no 'identity.seed'"),
        (
            lambda data: data.update(mood=1),
            "run.json: unknown field 'mood'; upgrade nasbench if a newer version wrote it",
        ),
        (lambda data: data["identity"].update(mood=1), "run.json: unknown field 'identity.mood'; upgrade nasbench if"),
        (lambda data: data.update(identity=3), "run.json: identity = 3 is not an object"),
        (lambda data: data.update(mood=1, schema_version=2), "schema version 2 is newer than 1; upgrade nasbench"),
        (lambda data: data.update(status="done"), "status = 'done' is not 'running' or 'complete' or 'failed'"),
        (lambda data: data.update(reason=3), "reason = 3 is not a text without NUL characters or null"),
    ],
)
def test_read_run_says_what_is_wanted(path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    data = json.loads((path / RunFolder.RUN).read_text())
    change(data)
    (path / RunFolder.RUN).write_text(json.dumps(data))
    assert message in refused_run(path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"\xff\xfe", "not JSON ("),
        (b'{"track": "\xff"}', "not JSON (invalid unicode code point at line 1 column"),
        (b"[" * 99_999, "not JSON (nested too deep at line 1 column"),
        (b'{"n_params_full": ' + b"9" * 9_999 + b"}", "not JSON (number out of range at line 1 column"),
        (b"", "not JSON (EOF while parsing"),
        (b"null", "not a JSON object but None"),
        (None, "cannot be read (Is a directory)"),
    ],
)
@pytest.mark.parametrize("name", [RunFolder.RUN, RunFolder.EVALUATIONS])
def test_file_that_is_no_json_is_named(path: Path, name: str, contents: bytes | None, message: str) -> None:
    (path / name).unlink()
    if contents is None:
        (path / name).mkdir()
    else:
        (path / name).write_bytes(contents + b"\n")
    if name == RunFolder.RUN:
        assert refused_run(path).startswith(f"run.json: {message}")
    else:
        line = "" if contents is None else ", line 1"
        assert refused_evaluations(path).startswith(f"evaluations.jsonl{line}: {message}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("error", value) for value in (NAN, INFINITY, -0.1, 2.1, "x", True, [1])),
        *(("test_error", value) for value in (NAN, -0.1, 2.1, "x")),
        *(("elapsed_s", value) for value in (NAN, INFINITY, -1.0, None, "x")),
        *(("charged_s", value) for value in (None, [1], {"training": None}, {"training": -1.0}, {"training": NAN})),
        *(("params", value) for value in (0.0, 1.5, NAN, None)),
        *((name, value) for name in ("index", "n_params", "n_duplicates") for value in (-1, 1.0, "1", None, 2**63)),
        *((name, value) for name in ("metrics", "test_metrics") for value in ([1], {"f1": "x"}, {"f1": NAN})),
        *(("config", value) for value in (None, [1], {"heads": 1.5}, {"heads": None}, {"heads": [[1]]})),
        *((name, value) for name in ("head_counts", "unit_counts") for value in (None, 3, [-1], [1.5], ["x"])),
        *((name, value) for name in ("latency_ms", "epochs") for value in ("x", NAN, [1])),
        *((name, value) for name in ("weights", "reason", "key") for value in (3, ["x"], "a\0")),
        *(("status", value) for value in ("fine", None, 3)),
    ],
)
def test_read_evaluations_names_line_field_and_value(path: Path, name: str, value: object) -> None:
    edit_line(path, 1, **{name: value})
    message = refused_evaluations(path)
    assert message.startswith(f"evaluations.jsonl, line 2: {name} = ")
    assert len(message) < 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": 7}, "evaluations.jsonl, line 2: index 7 where 1 is due"),
        ({"error": None}, "evaluations.jsonl, line 2: the error is missing, but status is 'ok'"),
        ({"mood": 1}, "evaluations.jsonl, line 2: unknown field 'mood'; upgrade nasbench if a newer version wrote it"),
    ],
)
def test_read_evaluations_rejects_contradictions(path: Path, changes: dict[str, object], message: str) -> None:
    edit_line(path, 1, **changes)
    assert refused_evaluations(path) == message


def test_read_evaluations_rejects_time_that_goes_back(path: Path) -> None:
    edit_line(path, 1, elapsed_s=1e6)
    assert refused_evaluations(path).startswith("evaluations.jsonl, line 3: elapsed_s goes back to ")


def test_failed_evaluation_needs_no_error(path: Path) -> None:
    edit_line(path, 1, error=None, status="failed", reason="out of memory")
    assert RunFolder(path).read_evaluations()[1].reason == "out of memory"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("charged_s", value) for value in (None, {"training": None}, {"training": -1.0})),
        ("notes", 3),
        ("uncharged_s", [1]),
        ("identity.seed", "0"),
    ],
)
def test_analysis_and_engine_say_the_same_about_a_run(path: Path, name: str, value: object) -> None:
    put(path, name, value)
    (finding,) = read_results(path.parents[2]).findings
    assert finding.damage
    assert finding.message == refused_run(path)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Evaluation)])
def test_engine_rejects_every_evaluation_that_the_analysis_rejects(tmp_path: Path, name: str) -> None:
    """The analysis reads only some fields and counts an evaluation without error as failed, so it accepts more."""
    plan = Plan([Entry("ws-nas", "ehvi")], tasks=["rte"], seeds=range(len(ODD)), n_evaluations=4)
    for path, value in zip(write_results(tmp_path, plan), ODD, strict=True):
        edit_line(path, 0, **{name: value})
    results = read_results(tmp_path)
    damaged = {finding.place for finding in results.findings if finding.damage}
    assert bool(damaged) == (name not in ("head_counts", "unit_counts", "charged_s"))  # the analysis reads all others
    for path in (file.parent for file in tmp_path.rglob(RunFolder.RUN)):
        if path.relative_to(tmp_path).as_posix() in damaged:
            refused_evaluations(path)


@pytest.mark.parametrize("cls", [Identity, RunRecord, Evaluation])
def test_every_field_has_a_description_for_messages(cls: type[Any]) -> None:
    hints = get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        assert schema._wanted(hints[field.name]) != "an object" or hints[field.name] is Identity


def test_record_error_is_a_mistake_of_the_user() -> None:
    assert issubclass(RecordError, UserError)


def test_importing_records_loads_neither_pydantic_nor_torch() -> None:
    script = "import sys, nasbench.records.record, nasbench.records.resume; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "nasbench.records.schema" in shown
    assert not {"pydantic", "pydantic_core", "torch"} & set(shown)
