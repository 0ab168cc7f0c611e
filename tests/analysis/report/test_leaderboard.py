"""The leaderboard agrees with the official runs and has the same bytes on every machine."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.formatting import escape
from nasbench.analysis.report.leaderboard import check_leaderboard, leaderboard, render
from nasbench.analysis.report.sections import sections
from nasbench.analysis.scoring.quantiles import Quantiles, freeze, load_quantiles
from nasbench.analysis.scoring.scores import score
from nasbench.analysis.scoring.tracks import EVERY_TRACK
from nasbench.errors import NasbenchError
from nasbench.records.record import RunFolder

GOOD, BAD = Entry("ws-nas", "ehvi", shift=-0.05), Entry("rfp", space="large", shift=0.05)
NONE_FROZEN = Quantiles()


def test_entry_without_all_scenarios_has_no_place_and_no_mean(folder: Path) -> None:
    write_results(folder, Plan([Entry("s-nas", "random", shift=-0.2)], tasks=["rte"], seeds=range(4)))
    (section,) = sections(read_results(folder), NONE_FROZEN)
    last = section.table.iloc[-1]
    assert last["entry"] == "s-nas/random@small"
    # It is the best entry on its task, so a mean over this task alone would top the means over two tasks.
    assert last[["place", "hypervolume", "relative_0.5"]].isna().all()
    assert (last["rank"], last["n_scenarios"], section.n_scenarios) == (1.0, 1, 2)
    assert section.table["place"].tolist()[:2] == [1, 2]
    lines = leaderboard(folder, NONE_FROZEN).splitlines()
    first, second = (line for line in lines if "s-nas/random" in line)
    assert first.startswith("| - ")
    assert "1 of 2" in first
    scores = score(read_results(folder), NONE_FROZEN)
    own = (scores.runs["method"] == "s-nas").to_numpy()
    assert [cell.strip() for cell in second.split("|")[2:4]] == ["-", f"{scores.final[own].mean():.3f} (4)"]
    assert any("2 of 3 entries have a place" in line for line in lines)


def test_scenario_of_a_single_entry_does_not_change_the_ranking(folder: Path) -> None:
    shown = [
        "entry",
        "place",
        "place_low",
        "place_high",
        "hypervolume",
        "rank",
        "rank_low",
        "rank_high",
        "n_scenarios",
    ]
    before = sections(read_results(folder), NONE_FROZEN)[0]
    write_results(folder, Plan([BAD], tasks=["cola"], seeds=range(4), n_evaluations=9))
    after = sections(read_results(folder), NONE_FROZEN)[0]
    assert after.table[shown].equals(before.table[shown])
    assert after.scenarios == ("mrpc/bert-base-cased", "rte/bert-base-cased")
    assert (before.lone_scenarios, after.lone_scenarios) == ((), ("cola/bert-base-cased",))
    text = leaderboard(folder, NONE_FROZEN)
    assert "Not compared, because no two entries share a seed there: cola/bert-base-cased." in text
    # Runs of another entry with other seeds do not count either: these have other data splits.
    write_results(folder, Plan([GOOD], tasks=["cola"], seeds=[7], n_evaluations=9))
    assert sections(read_results(folder), NONE_FROZEN)[0].lone_scenarios == ("cola/bert-base-cased",)
    write_results(folder, Plan([GOOD], tasks=["cola"], seeds=[0], n_evaluations=9))
    assert sections(read_results(folder), NONE_FROZEN)[0].lone_scenarios == ()


def test_single_entry_with_all_scenarios_has_no_place(tmp_path: Path) -> None:
    # Only GOOD ran on both tasks. On each task, another entry ran that lacks the other task.
    write_results(tmp_path, Plan([GOOD, BAD], tasks=["rte"], seeds=range(3), n_evaluations=9))
    write_results(tmp_path, Plan([GOOD, Entry("new")], tasks=["mrpc"], seeds=range(3), n_evaluations=9))
    (section,) = sections(read_results(tmp_path), NONE_FROZEN)
    assert section.table["place"].isna().all()
    assert section.table["n_scenarios"].tolist() == [2, 1, 1]
    assert section.table["hypervolume"].notna().tolist() == [True, False, False]
    assert "0 of 3 entries have a place" in leaderboard(tmp_path, NONE_FROZEN)


def test_only_entry_of_a_section_has_a_mean_and_no_place(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([GOOD], tasks=["rte"], seeds=range(3), n_evaluations=9))
    (section,) = sections(read_results(tmp_path), NONE_FROZEN)
    (row,) = section.table.to_dict("records")
    assert np.isnan([row["place"], row["rank"]]).all()
    assert row["hypervolume_low"] < row["hypervolume"] < row["hypervolume_high"]
    assert "Nothing to compare yet" in leaderboard(tmp_path, NONE_FROZEN)


def test_intervals_between_scenarios_have_an_asterisk(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([GOOD, BAD], tasks=["rte", "mrpc", "cola"], seeds=[0], n_evaluations=30))
    results = read_results(tmp_path)
    (section,) = sections(results, NONE_FROZEN)
    best = section.table.iloc[0]
    assert best["between_scenarios"]
    scores = score(results, NONE_FROZEN)
    finals = scores.final[(scores.runs["entry"] == best["entry"]).to_numpy()]
    expected = stats.ttest_1samp(finals, 0.0).confidence_interval()
    assert (best["hypervolume_low"], best["hypervolume_high"]) == pytest.approx(tuple(expected))
    row = next(line for line in leaderboard(tmp_path, NONE_FROZEN).splitlines() if line.startswith("| 1 "))
    assert "]\\* |" in row
    # With several seeds the interval comes from the seeds.
    write_results(tmp_path, Plan([GOOD, BAD], tasks=["rte", "mrpc", "cola"], seeds=range(2), n_evaluations=30))
    assert not sections(read_results(tmp_path), NONE_FROZEN)[0].table["between_scenarios"].any()


def test_runs_on_own_data_or_unknown_devices_are_counted_without_a_section(folder: Path) -> None:
    plan = Plan([GOOD, BAD], tasks=["my-task"], seeds=range(3), track="user", n_evaluations=9)
    write_results(folder, plan)
    write_results(folder, dataclasses.replace(plan, tasks=["rte"], seeds=[0], track="paper", device_class="tpu"))
    results = read_results(folder)
    assert [section.title for section in sections(results, NONE_FROZEN)] == ["Paper models, GPU"]
    text = leaderboard(folder, NONE_FROZEN)
    assert "my-task" not in text
    assert text.endswith("8 runs whose track or device class has no section (paper/tpu, user/gpu).\n")
    # All tracks can be asked for.
    own = sections(results, NONE_FROZEN, EVERY_TRACK)[-1]
    assert own.title == "User's own tasks and models, GPU"
    assert own.table["place"].tolist() == [1, 2]


def test_unofficial_and_unfinished_runs_are_counted_but_not_ranked(folder: Path) -> None:
    before = sections(read_results(folder), NONE_FROZEN)[0].table
    plan = Plan([GOOD], tasks=["cola"], seeds=range(3), unofficial=("another budget",), n_evaluations=5)
    write_results(folder, plan)
    write_results(folder, dataclasses.replace(plan, unofficial=(), status="running", tasks=["sst2"]))
    results = read_results(folder)
    after = sections(results, NONE_FROZEN)[0].table
    assert after.equals(before)
    assert "Not counted: 3 unofficial runs, 3 unfinished runs." in leaderboard(folder, NONE_FROZEN)


def test_failed_runs_and_damaged_records_are_shown(folder: Path) -> None:
    write_results(folder, Plan([BAD], tasks=["rte"], seeds=[0], status="failed", n_evaluations=5))
    (folder / "mrpc/bert-base-cased/rfp_large_gpu_seed0/run.json").write_text("{")
    text = leaderboard(folder, NONE_FROZEN)
    assert "| 7 (1 failed) |" in text
    assert "## Damaged records" in text
    assert "mrpc/bert-base-cased/rfp" in text


def test_relative_metric_names_the_number_of_runs_with_small_networks(folder: Path) -> None:
    for seed in range(4):
        path = folder / f"rte/bert-base-cased/rfp_large_gpu_seed{seed}" / RunFolder.EVALUATIONS
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [line for line in lines if line["params"] > 0.3]
        path.write_text("".join(json.dumps({**line, "index": i}) + "\n" for i, line in enumerate(kept)))
    row = next(line for line in leaderboard(folder, NONE_FROZEN).splitlines() if "rfp" in line)
    assert "(4 of 8 runs)" in row


def test_hostile_names_do_not_break_the_tables(folder: Path) -> None:
    write_results(folder, Plan([Entry("<script>", "a|b\n# *x*")], tasks=["rte", "mrpc"], seeds=[0], n_evaluations=5))
    text = leaderboard(folder, NONE_FROZEN)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 * (2 + 3)
    for table in (rows[:5], rows[5:]):
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "<script>" not in text
    assert escape("a_b`c`") == "a\\_b\\`c\\`"


def test_frozen_quantiles_keep_hypervolumes_when_runs_are_added(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    frozen = load_quantiles(freeze(folder, tmp_path_factory.mktemp("benchmark")).path)
    text = leaderboard(folder, frozen)
    assert "no frozen quantiles" not in text
    assert "no frozen quantiles" in leaderboard(folder, NONE_FROZEN)

    # A new submission does not change the hypervolumes of other entries.
    def hypervolumes() -> list[float]:
        table = sections(read_results(folder), frozen)[0].table.set_index("entry")
        return table.loc[["rfp@large", "ws-nas/ehvi@small"], "hypervolume"].tolist()

    before = hypervolumes()
    write_results(folder, Plan([Entry("new", shift=-0.1)], tasks=["rte", "mrpc"], seeds=range(4), suite_version="2"))
    assert hypervolumes() == pytest.approx(before, abs=1e-12)
    assert "runs of suite version 2 scored with quantiles v1" in leaderboard(folder, frozen)


def test_another_process_folder_and_file_order_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    text = leaderboard(folder, NONE_FROZEN)
    other = tmp_path / "elsewhere" / "results"
    for path in sorted(folder.rglob("*.json*"), reverse=True):
        if "elsewhere" not in path.parts:
            copy = other / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    code = (
        "import sys; from pathlib import Path; from nasbench.analysis.report.leaderboard import leaderboard;"
        "from nasbench.analysis.scoring.quantiles import Quantiles;"
        "sys.stdout.buffer.write(leaderboard(Path(sys.argv[1]), Quantiles()).encode())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "5", "OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem"}
    done = subprocess.run([sys.executable, "-c", code, str(other)], capture_output=True, check=True, env=environment)
    assert done.stdout.decode() == text


def test_last_bits_of_values_do_not_change_the_text(folder: Path) -> None:
    results = read_results(folder)
    nudged = dataclasses.replace(results, evaluations=results.evaluations.copy())
    sign = np.where(np.arange(len(results.evaluations)) % 2, 1, -1)
    nudged.evaluations["error"] *= 1 + 4e-16 * sign
    assert not nudged.evaluations["error"].equals(results.evaluations["error"])
    assert render(nudged, NONE_FROZEN) == render(results, NONE_FROZEN)


def test_check_names_the_difference_and_the_remedy(folder: Path) -> None:
    path = folder / "leaderboard.md"
    with pytest.raises(NasbenchError, match="nasbench leaderboard"):
        check_leaderboard(folder, path, NONE_FROZEN)
    path.write_bytes(leaderboard(folder, NONE_FROZEN).encode())
    check_leaderboard(folder, path, NONE_FROZEN)
    path.write_text(path.read_text().replace("ws-nas/ehvi", "ws-nas/mine"))
    with pytest.raises(NasbenchError, match="ws-nas/mine"):
        check_leaderboard(folder, path, NONE_FROZEN)


def test_empty_folder_has_no_official_run(tmp_path: Path) -> None:
    assert "No official run yet." in leaderboard(tmp_path, NONE_FROZEN)
