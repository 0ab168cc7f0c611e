"""Any value in any field of a record: the record is read or reported as damaged, and all others are read."""

import dataclasses
import json
from pathlib import Path

import pytest
from support.generated_results import Entry, Plan, write_results
from support.record_edits import ODD

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.claims import claims
from nasbench.analysis.report.leaderboard import render
from nasbench.records.record import Evaluation, Identity, RunFolder, RunRecord

FIELDS = {
    "identity": [field.name for field in dataclasses.fields(Identity)],
    "run": [field.name for field in dataclasses.fields(RunRecord) if field.name != "identity"],
    "evaluation": [field.name for field in dataclasses.fields(Evaluation)],
}


def spoil(path: Path, place: str, name: str, value: object) -> None:
    """Put a value into a field of a run's identity, of the run, or of all its evaluations."""
    if place == "evaluation":
        file = path / RunFolder.EVALUATIONS
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps({**line, name: value}) + "\n" for line in lines))
    else:
        data = json.loads((path / RunFolder.RUN).read_text())
        (data["identity"] if place == "identity" else data)[name] = value
        (path / RunFolder.RUN).write_text(json.dumps(data))


def write_odd(folder: Path, place: str, names: list[str]) -> tuple[set[str], set[str]]:
    """Write two sound runs, and one run for each field and odd value. Returns the names of both groups."""
    cases = [(name, value) for name in names for value in ODD]
    plan = Plan([Entry("ws-nas", "ehvi")], tasks=["rte"], seeds=range(len(cases) + 2), n_evaluations=4)
    paths = write_results(folder, plan)
    for path, (name, value) in zip(paths[2:], cases, strict=True):
        spoil(path, place, name, value)
    runs = [path.relative_to(folder).as_posix() for path in paths]
    return set(runs[:2]), set(runs[2:])


@pytest.mark.parametrize(("place", "name"), [(place, name) for place, names in FIELDS.items() for name in names])
def test_odd_value_affects_only_its_own_run(tmp_path: Path, place: str, name: str) -> None:
    sound, odd = write_odd(tmp_path, place, [name])
    results = read_results(tmp_path)
    read = set(results.runs["run"])
    damaged = {finding.place for finding in results.findings if finding.damage}
    assert sound <= read - damaged
    assert odd <= read | damaged
    assert results.exit_code == bool(damaged)


@pytest.mark.parametrize("place", FIELDS)
def test_odd_values_do_not_stop_the_analysis(tmp_path: Path, place: str) -> None:
    sound, _ = write_odd(tmp_path, place, FIELDS[place])
    results = read_results(tmp_path)
    assert sound < set(results.runs["run"])
    for text in (render(results), claims(tmp_path), "\n".join(results.warnings), results.runs.to_csv()):
        assert text.encode()
