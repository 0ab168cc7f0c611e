"""What may stand in ``run.json``."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.evaluation_file import DamagedRecord
from nasbench.analysis.reading.run_file import read_run_file
from nasbench.records.record import RunFolder

NESTED: list[Any] = []
for _ in range(100):
    NESTED = [NESTED]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (path,) = write_results(tmp_path, Plan([Entry("rfp")], tasks=["rte"], seeds=[0], n_evaluations=3))
    return path


def put(path: Path, name: str, value: object) -> None:
    data = json.loads((path / RunFolder.RUN).read_text())
    place, _, inner = name.rpartition(".")
    (data["identity"] if place else data)[inner] = value
    (path / RunFolder.RUN).write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("n_params_full", value) for value in (None, "x", [1], {}, float("nan"), 1e30, 2**63, -1, True)),
        *(("identity.max_evaluations", value) for value in (1.5, "x", [1], {}, 1e30, 2**63, 0, True)),
        *(("identity.budget_s", value) for value in ("x", [1], 0, -1.0, float("nan"), float("inf"), 10**400, True)),
        *(("identity.seed", value) for value in (10**30, 0.0, "0", None, False)),
        *(("identity.options", value) for value in (None, [], "x", {"a": "\ud800"}, {"\ud800": 1}, {"a": NESTED})),
        *(("provenance", value) for value in (None, [], "x", {"a": ["\ud800"]}, {"a": NESTED})),
        *((name, value) for name in ("charged_s", "uncharged_s", "dimensions") for value in (None, [1], 3)),
        *(("changed_options", value) for value in ([], "x", {"method": 3}, {"method": {"a": "\ud800"}})),
        *(("unofficial", value) for value in (None, "x", {}, [1], [["x"]], ["\ud800"])),
        *((name, value) for name in ("reason", "started_at") for value in (1, ["x"], "\ud800", "a\0")),
        *(
            (name, value)
            for name in ("identity.task", "identity.method", "metric", "track", "suite_version")
            for value in (None, "", 1, "\ud800", "a\0")
        ),
        *(("identity.searcher", value) for value in ("", 1, "\ud800")),
        *(("status", value) for value in ("done", None, ["running"])),
    ],
)
def test_what_does_not_belong_in_its_place_is_named(path: Path, name: str, value: object) -> None:
    put(path, name, value)
    with pytest.raises(DamagedRecord) as refused:
        read_run_file(path)
    message = str(refused.value)
    assert message.startswith(f"run.json: {name} = ")
    assert len(message) < 200  # whatever the size of the value
    message.encode()


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
        ("provenance", {"packages": {"torch": None}, "threads": [1, 2.5, True]}),
    ],
)
def test_what_a_run_may_say_is_read(path: Path, name: str, value: object) -> None:
    put(path, name, value)
    record: Any = read_run_file(path)
    for part in name.split("."):
        record = getattr(record, part)
    assert record == value


def test_a_run_that_nothing_ends_is_refused(path: Path) -> None:
    put(path, "identity.budget_s", None)
    with pytest.raises(DamagedRecord, match=r"neither identity\.budget_s nor identity\.max_evaluations"):
        read_run_file(path)
    put(path, "identity.max_evaluations", 5)
    assert read_run_file(path).identity.max_evaluations == 5
