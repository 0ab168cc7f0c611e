"""The sections of the leaderboard: places, intervals, counted scenarios and verification."""

import json
from pathlib import Path

import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.sections import sections
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.records.record import RunFolder

GOOD, BAD = Entry("ws-nas", "ehvi", shift=-0.05), Entry("rfp", space="large", shift=0.05)
NONE_FROZEN = Quantiles()


def test_better_entry_gets_the_first_place(folder: Path) -> None:
    (section,) = sections(read_results(folder), NONE_FROZEN)
    assert section.title == "Paper models, GPU"
    table = section.table
    assert table["entry"].tolist() == ["ws-nas/ehvi@small", "rfp@large"]
    assert table["place"].tolist() == [1, 2]
    assert table[["place_low", "place_high"]].to_numpy().tolist() == [[1, 1], [2, 2]]
    assert table["rank"].tolist() == [1.0, 2.0]
    assert (table["hypervolume_low"] < table["hypervolume"]).all()
    assert (table["hypervolume"] < table["hypervolume_high"]).all()
    assert table["n_runs"].tolist() == [8, 8]
    assert table["n_scenarios"].tolist() == [2, 2]
    assert (table["relative_0.3"] < table["relative_0.5"]).all()
    assert table["relative_0.5"].is_monotonic_decreasing
    assert (table["relative_0.5"] < 1).all()


@pytest.mark.parametrize(("tasks", "n_seeds"), [(["rte"], 1), (["rte"], 2), (["rte", "mrpc"], 1)])
def test_fewer_than_three_blocks_have_no_intervals(tmp_path: Path, tasks: list[str], n_seeds: int) -> None:
    write_results(tmp_path, Plan([GOOD, BAD], tasks=tasks, seeds=range(n_seeds), n_evaluations=9))
    (section,) = sections(read_results(tmp_path), NONE_FROZEN)
    assert section.table["place"].tolist() == [1, 2]
    bounds = [f"{name}_{end}" for name in ("place", "rank", "hypervolume") for end in ("low", "high")]
    assert section.table[bounds].isna().all(axis=None)


def test_each_section_has_a_single_track_and_device_class(folder: Path) -> None:
    write_results(folder, Plan([GOOD], tasks=["rte"], seeds=[0], device_class="cpu", track="compact", n_evaluations=9))
    write_results(folder, Plan([GOOD], tasks=["rte"], seeds=[0], device_class="cpu", n_evaluations=9))
    found = sections(read_results(folder), NONE_FROZEN)
    assert [section.title for section in found] == ["Paper models, GPU", "Paper models, CPU"]
    # The second CPU run has the same identity as the compact run and replaced it.
    assert [len(section.table) for section in found] == [2, 1]


def test_verification_follows_provenance(folder: Path) -> None:
    def verified() -> list[str]:
        (section,) = sections(read_results(folder), NONE_FROZEN)
        return section.table["verified"].tolist()

    assert verified() == ["unknown revision, no hashes"] * 2
    paths = sorted(folder.rglob(RunFolder.RUN))
    for path in paths:
        record = json.loads(path.read_text())
        seed = record["identity"]["seed"]
        record["provenance"] = {"git_revision": "abc", "data_sha256": f"{path.parts[-4]}{seed}", "weights_sha256": "w"}
        path.write_text(json.dumps(record))
    assert verified() == ["clean", "clean"]
    one = next(path for path in paths if "rfp" in str(path))
    record = json.loads(one.read_text())
    record["provenance"]["git_revision"] = "abc+changes"
    one.write_text(json.dumps(record))
    assert verified() == ["clean", "changed checkout; clean"]
    record["provenance"] |= {"git_revision": "abc", "data_sha256": "something else"}
    one.write_text(json.dumps(record))
    assert verified() == ["clean; hashes differ", "clean; hashes differ"]
