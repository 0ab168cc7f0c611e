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
from nasbench.analysis.report.results_page import page
from nasbench.records.record import Evaluation, Identity, RunFolder, RunRecord

PLAN = Plan([Entry("ws-nas", "ehvi")], tasks=["rte"], n_evaluations=4, device_class="cpu")
"""On a CPU, the paper's track has no list of seeds, so the leaderboard ranks every run."""
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
    plan = dataclasses.replace(PLAN, seeds=range(len(cases) + 2))
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


def test_odd_values_within_fields_do_not_stop_the_analysis(tmp_path: Path) -> None:
    parts = [("dimensions", "n_fixed_params")]
    parts += [("provenance", name) for name in ("earlier_attempts", "git_revision", "data_sha256", "hardware", "table")]
    cases = [(name, part, value) for name, part in parts for value in (*ODD, [None], ["x"])]
    plan = dataclasses.replace(PLAN, seeds=range(len(cases) + 1))
    sound, *odd = write_results(tmp_path, plan)
    for path, (name, part, value) in zip(odd, cases, strict=True):
        spoil(path, "run", name, json.loads((path / RunFolder.RUN).read_text())[name] | {part: value})
    results = read_results(tmp_path)
    assert len(odd) / 2 < len(results.runs) < len(odd)
    assert sound.relative_to(tmp_path).as_posix() in set(results.runs["run"])
    for text in (render(results), claims(tmp_path), page(tmp_path)):
        assert text.encode()


@pytest.mark.parametrize("config", [{"heads": 3, "units": 2, "layers": 1}, {"heads": 3}, {"heads": 10**17, "z": 1}])
def test_odd_configurations_do_not_stop_the_claims(tmp_path: Path, config: dict[str, int]) -> None:
    # Of all evaluations of a run, one config for several networks.
    plan = Plan([Entry("ws-nas", "random"), Entry("s-nas", "random")], tasks=["rte"], seeds=[0], n_evaluations=6)
    for path in write_results(tmp_path, plan):
        lines = [json.loads(line) for line in (path / RunFolder.EVALUATIONS).read_text().splitlines()]
        changed = [{**line, "config": config} for line in lines[:3]] + lines[3:]
        (path / RunFolder.EVALUATIONS).write_text("".join(json.dumps(line) + "\n" for line in changed))
    assert len(read_results(tmp_path).runs) == 2
    assert "errors are less noisy with shared weights" in claims(tmp_path)


@pytest.mark.parametrize("place", FIELDS)
def test_odd_values_do_not_stop_the_analysis(tmp_path: Path, place: str) -> None:
    sound, _ = write_odd(tmp_path, place, FIELDS[place])
    results = read_results(tmp_path)
    assert sound < set(results.runs["run"])
    for text in (render(results), claims(tmp_path), "\n".join(results.warnings), results.runs.to_csv()):
        assert text.encode()
