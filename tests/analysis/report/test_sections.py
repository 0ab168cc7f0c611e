"""The sections of the leaderboard: places, intervals, missing runs and verification."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from scipy import stats
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.sections import sections
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.analysis.scoring.scores import score
from nasbench.records.record import RunFolder

GOOD, BAD = Entry("ws-nas", "ehvi", shift=-0.05), Entry("rfp", space="large", shift=0.05)
NONE_FROZEN = Quantiles()
BOUNDS = [f"{name}_{end}" for name in ("test", "test_task", "rank") for end in ("low", "high")]


def write_complete(folder: Path, *entries: Entry) -> None:
    """Every run of the section "Compact models, CPU": four tasks, three seeds."""
    plan = Plan(entries, tasks=["rte", "mrpc", "stsb", "cola"], models=["minilm-l6"], seeds=range(3), n_evaluations=30)
    write_results(folder, dataclasses.replace(plan, track="compact", device_class="cpu"))


def test_better_entry_gets_the_first_place(folder: Path) -> None:
    (section,) = sections(read_results(folder), NONE_FROZEN)
    assert (section.title, section.is_declared) == ("Paper models, GPU", True)
    assert (len(section.scenarios), section.seeds, section.n_blocks) == (16, tuple(range(10)), 160)
    table = section.table
    assert table["entry"].tolist() == ["ws-nas/ehvi@small", "rfp@large"]
    assert table["place"].tolist() == [1, 2]
    assert table["rank"].tolist() == [1.0, 2.0]
    assert table["n_runs"].tolist() == [8, 8]
    # 8 of the 160 runs are there; each of the others counts as hypervolume 1.
    assert table["test"].tolist() == pytest.approx((1 + (table["own_test"] - 1) * 8 / 160).tolist())
    assert table["own_test"].is_monotonic_decreasing
    assert (table["relative_0.3"] < table["relative_0.5"]).all()
    assert table["relative_0.5"].is_monotonic_decreasing
    assert (table["relative_0.5"] < 1).all()
    # An entry that lacks runs has no interval, and two tasks are too few for an interval of the rank.
    assert table[BOUNDS].isna().all(axis=None)


def test_complete_entries_have_both_intervals(tmp_path: Path) -> None:
    write_complete(tmp_path, GOOD, BAD)
    results = read_results(tmp_path)
    (section,) = sections(results, NONE_FROZEN)
    table = section.table
    assert (section.title, section.n_blocks) == ("Compact models, CPU", 12)
    assert table["place"].tolist() == [1, 2]
    assert table["n_runs"].tolist() == [12, 12]
    assert table["test"].tolist() == pytest.approx(table["own_test"].tolist())
    scores = score(results, NONE_FROZEN)
    for row in table.to_dict("records"):
        own = scores.runs.assign(test=scores.test, validation=scores.final)
        own = own[own["entry"] == row["entry"]]
        by_task = own.groupby("task")["test"]
        assert row["test"] == pytest.approx(by_task.mean().mean())
        assert row["validation"] == pytest.approx(own.groupby("task")["validation"].mean().mean())
        over_tasks = stats.ttest_1samp(by_task.mean(), 0.0).confidence_interval()
        assert (row["test_task_low"], row["test_task_high"]) == pytest.approx(tuple(over_tasks))
        # Welch and Satterthwaite: four tasks of three seeds.
        parts = by_task.var(ddof=1).to_numpy() / 3 / 4**2
        degrees = parts.sum() ** 2 / (parts**2 / 2).sum()
        half = stats.t.ppf(0.975, degrees) * parts.sum() ** 0.5
        assert (row["test_low"], row["test_high"]) == pytest.approx((row["test"] - half, row["test"] + half))
    assert table[["rank_low", "rank_high"]].isna().all(axis=None)


def test_lost_run_removes_the_intervals_of_its_entry_only(tmp_path: Path) -> None:
    write_complete(tmp_path, GOOD, BAD)
    (before,) = sections(read_results(tmp_path), NONE_FROZEN)
    shutil.rmtree(tmp_path / "cola/minilm-l6/rfp_large_cpu_seed2")
    (after,) = sections(read_results(tmp_path), NONE_FROZEN)
    assert after.table["n_runs"].tolist() == [12, 11]
    ends = [name for name in BOUNDS if name.startswith("test")]
    assert after.table[ends].notna().all(axis=1).tolist() == [True, False]
    assert after.table.loc[1, ends].isna().all()
    assert after.table.loc[1, "test"] < before.table.loc[1, "test"]


@pytest.mark.parametrize(("tasks", "n_seeds"), [(["rte"], 1), (["rte"], 2), (["rte", "mrpc"], 1)])
def test_fewer_than_three_blocks_separate_nothing_and_have_no_intervals(
    tmp_path: Path, tasks: list[str], n_seeds: int
) -> None:
    plan = Plan([GOOD, BAD], tasks=tasks, seeds=range(n_seeds), n_evaluations=9)
    write_results(tmp_path, plan)
    # No section is declared for paper models on a CPU, so its list has exactly these runs.
    write_results(tmp_path, dataclasses.replace(plan, device_class="cpu"))
    declared, other = sections(read_results(tmp_path), NONE_FROZEN)
    assert declared.is_declared
    assert declared.table["place"].tolist() == [1, 1]
    assert (other.is_declared, other.n_blocks) == (False, len(tasks) * n_seeds)
    for section in (declared, other):
        assert section.table["entry"].tolist() == ["ws-nas/ehvi@small", "rfp@large"]
        assert section.table[BOUNDS].isna().all(axis=None)


def test_two_tasks_have_an_interval_over_seeds_and_none_over_tasks(tmp_path: Path) -> None:
    plan = Plan([GOOD, BAD], tasks=["rte", "mrpc"], seeds=range(2), n_evaluations=9, device_class="cpu", noise=0.001)
    write_results(tmp_path, plan)
    (section,) = sections(read_results(tmp_path), NONE_FROZEN)
    assert (section.table["test_low"] < section.table["test"]).all()
    assert (section.table["test"] < section.table["test_high"]).all()
    assert section.table[["test_task_low", "test_task_high"]].isna().all(axis=None)


def test_average_rank_has_an_interval_from_six_tasks_on(tmp_path: Path) -> None:
    tasks = ["rte", "mrpc", "stsb", "cola", "imdb", "sst2"]
    for n, known in ((5, False), (6, True)):
        models = ["bert-base-cased", "roberta-base"]  # two models of a task count as one value
        write_results(tmp_path, Plan([GOOD, BAD], tasks=tasks[:n], models=models, seeds=[0], n_evaluations=9))
        (section,) = sections(read_results(tmp_path), NONE_FROZEN)
        assert section.table[["rank_low", "rank_high"]].notna().all(axis=None) == known


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

    assert verified() == ["unknown revision"] * 2
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
    record["provenance"] |= {"git_revision": "abc", "earlier_attempts": [{"git_revision": "abc+changes"}]}
    one.write_text(json.dumps(record))
    assert verified() == ["clean", "changed checkout; clean"]
    record["provenance"] |= {"earlier_attempts": [{"git_revision": "ab"}]}
    one.write_text(json.dumps(record))
    assert verified() == ["clean", "clean"]
    record["provenance"] |= {"git_revision": "abc", "data_sha256": "something else"}
    one.write_text(json.dumps(record))
    assert verified() == ["clean; hashes differ", "clean; hashes differ"]
    record["provenance"] = {"git_revision": "abc"}
    one.write_text(json.dumps(record))
    assert verified() == ["clean", "clean; no hashes"]
