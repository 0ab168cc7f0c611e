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
from nasbench.analysis.report.report import report
from nasbench.analysis.report.sections import NOT_DECLARED, sections
from nasbench.analysis.scoring.quantiles import Quantiles, freeze, load_quantiles
from nasbench.analysis.scoring.scores import score
from nasbench.analysis.scoring.tracks import EVERY_TRACK
from nasbench.errors import NasbenchError
from nasbench.records.record import RunFolder

GOOD, BAD = Entry("ws-nas", "ehvi", shift=-0.05), Entry("rfp", space="large", shift=0.05)
NONE_FROZEN = Quantiles()


def rows_of(text: str, entry: str) -> list[dict[str, str]]:
    """The rows of an entry in all tables of a leaderboard, as columns and texts."""
    found, header = [], [""]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if "entry" in cells:
            header = cells
        elif line.startswith("|") and entry in cells:
            found.append(dict(zip(header, cells, strict=True)))
    return found


def test_missing_scenario_counts_as_worst_and_own_runs_are_shown(folder: Path) -> None:
    write_results(folder, Plan([Entry("s-nas", "random", shift=-0.2)], tasks=["rte"], seeds=range(4)))
    (section,) = sections(read_results(folder), NONE_FROZEN)
    last = section.table.iloc[-1]
    assert last["entry"] == "s-nas/random@small"
    # It is the best entry on its task, so a mean over its own runs would top the means over two tasks.
    assert last["own_test"] == section.table["own_test"].max()
    assert last["test"] == pytest.approx(1 + (last["own_test"] - 1) * 4 / 160)
    assert last[["test_low", "test_high", "test_task_low", "test_task_high"]].isna().all()
    assert (last["rank"], last["n_runs"]) == (2.0, 4)  # first on RTE, last on MRPC
    assert section.table["place"].tolist() == [1, 2, 3]
    text = leaderboard(folder, NONE_FROZEN)
    first, second, origin = rows_of(text, "s-nas/random@small")
    assert (first["place"], first["runs"]) == ("3", "4 of 160")
    assert first["test hypervolume"] == f"{last['test']:.3f}"
    assert (first["on these tasks"], first["on tasks like these"]) == ("-", "-")
    scores = score(read_results(folder), NONE_FROZEN)
    own = (scores.runs["method"] == "s-nas").to_numpy()
    assert first["own runs"] == f"{scores.test[own].mean():.3f}"
    assert first["validation"] == f"{scores.final[own].mean():.3f}"
    assert second["mrpc/bert-base-cased"] == "-"
    assert second["rte/bert-base-cased"] == f"{scores.test[own].mean():.3f} (4)"
    assert origin["author"] == "this repository"
    assert "--method s-nas --searcher random --task rte" in origin["command of the first run"]
    assert "Of 20 runs: 20 self-reported. Repeated: 0, of which 0 reproduced." in text
    assert "Seeds: 0 to 9. A complete entry has 160 runs." in text


def test_runs_of_a_single_entry_change_no_value_of_others(folder: Path) -> None:
    shown = ["test", "own_test", "validation", "relative_0.5", "relative_0.3", "n_runs"]
    (before,) = sections(read_results(folder), NONE_FROZEN)
    good, bad = before.table.set_index("entry")[shown].loc[["ws-nas/ehvi@small", "rfp@large"]].to_numpy()
    write_results(folder, Plan([BAD], tasks=["cola"], seeds=[0], n_evaluations=9))
    # No other entry has run this task. BAD gains, because it lacks one run less, until GOOD adds the same run.
    (after,) = sections(read_results(folder), NONE_FROZEN)
    table = after.table.set_index("entry")
    assert table.loc["ws-nas/ehvi@small", shown].tolist() == good.tolist()
    assert table.loc["rfp@large", "test"] > bad[0]
    assert (after.scenarios, after.n_blocks) == (before.scenarios, before.n_blocks)
    # Runs of a task outside the list change nothing for anyone.
    write_results(folder, Plan([BAD], tasks=["another-task"], seeds=range(4), n_evaluations=9))
    (outside,) = sections(read_results(folder), NONE_FROZEN)
    assert outside.table.equals(after.table)
    assert outside.n_outside == 4
    text = leaderboard(folder, NONE_FROZEN)
    assert "Not on the list, so not counted: 4 official runs." in text
    assert "another-task" not in text
    write_results(folder, Plan([GOOD], tasks=["cola"], seeds=[0], n_evaluations=9))
    table = sections(read_results(folder), NONE_FROZEN)[0].table
    assert (table["entry"].tolist(), table["place"].tolist()) == (["ws-nas/ehvi@small", "rfp@large"], [1, 2])


def test_section_says_that_its_list_is_not_declared(tmp_path: Path) -> None:
    plan = Plan([GOOD], tasks=["rte"], seeds=range(2), n_evaluations=9)
    write_results(tmp_path, plan)
    assert NOT_DECLARED not in leaderboard(tmp_path, NONE_FROZEN)
    write_results(tmp_path, dataclasses.replace(plan, device_class="cpu"))  # no section is declared for it
    text = leaderboard(tmp_path, NONE_FROZEN)
    assert text.count(NOT_DECLARED) == 1
    assert f"Seeds: 0 to 1. A complete entry has 2 runs. {NOT_DECLARED}" in text.partition("## Paper models, CPU")[2]


def test_entries_without_a_common_task_all_have_a_place(tmp_path: Path) -> None:
    # Only GOOD ran on both tasks. On each task, another entry ran that lacks the other task.
    write_results(tmp_path, Plan([GOOD, BAD], tasks=["rte"], seeds=range(3), n_evaluations=9))
    write_results(tmp_path, Plan([GOOD, Entry("new")], tasks=["mrpc"], seeds=range(3), n_evaluations=9))
    (section,) = sections(read_results(tmp_path), NONE_FROZEN)
    assert section.table["entry"].tolist() == ["ws-nas/ehvi@small", "new@small", "rfp@large"]
    assert section.table["place"].tolist()[:2] == [1, 2]
    assert section.table["place"].notna().all()
    assert section.table["n_runs"].tolist() == [6, 3, 3]
    assert section.table["test"].is_monotonic_decreasing


def test_only_entry_of_a_section_has_intervals_and_no_place(tmp_path: Path) -> None:
    # No section is declared for paper models on a CPU, so the entry is complete.
    plan = Plan([GOOD], tasks=["rte", "mrpc", "cola"], seeds=range(3), n_evaluations=9, device_class="cpu")
    write_results(tmp_path, plan)
    (section,) = sections(read_results(tmp_path), NONE_FROZEN)
    (row,) = section.table.to_dict("records")
    assert np.isnan([row["place"], row["rank"]]).all()
    assert row["test_low"] < row["test"] < row["test_high"]
    assert row["test_task_low"] < row["test"] < row["test_task_high"]
    shown = rows_of(leaderboard(tmp_path, NONE_FROZEN), "ws-nas/ehvi@small")[0]
    assert (shown["place"], shown["average rank"], shown["runs"]) == ("-", "-", "9 of 9")


def test_single_seed_has_an_interval_over_tasks_only(tmp_path: Path) -> None:
    plan = Plan([GOOD, BAD], tasks=["rte", "mrpc", "cola"], seeds=[0], n_evaluations=30, device_class="cpu")
    write_results(tmp_path, plan)
    results = read_results(tmp_path)
    (section,) = sections(results, NONE_FROZEN)
    best = section.table.iloc[0]
    assert section.table[["test_low", "test_high"]].isna().all(axis=None)
    scores = score(results, NONE_FROZEN)
    finals = scores.test[(scores.runs["entry"] == best["entry"]).to_numpy()]
    low, high = stats.ttest_1samp(finals, 0.0).confidence_interval()
    assert (best["test_task_low"], best["test_task_high"]) == pytest.approx((low, high))
    row = rows_of(leaderboard(tmp_path, NONE_FROZEN), best["entry"])[0]
    assert (row["on these tasks"], row["on tasks like these"]) == ("-", f"[{low:.3f}, {high:.3f}]")
    # Several seeds give an interval on these tasks too.
    write_results(tmp_path, dataclasses.replace(plan, seeds=range(2)))
    (section,) = sections(read_results(tmp_path), NONE_FROZEN)
    assert section.table[["test_low", "test_high"]].notna().all(axis=None)
    row = rows_of(leaderboard(tmp_path, NONE_FROZEN), best["entry"])[0]
    assert row["on these tasks"].startswith("[")


def test_entries_that_are_not_separated_show_the_same_place(folder: Path) -> None:
    twin = Plan([Entry("twin", shift=-0.05)], tasks=["rte", "mrpc"], seeds=range(4), n_evaluations=30)
    write_results(folder, twin, seed=1)
    text = leaderboard(folder, NONE_FROZEN)
    places = [rows_of(text, name)[0]["place"] for name in ("ws-nas/ehvi@small", "twin@small", "rfp@large")]
    assert places == ["1", "1", "3"]


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
    assert own.table["entry"].tolist() == ["ws-nas/ehvi@small", "rfp@large"]


def test_unofficial_and_unfinished_runs_are_counted_but_not_ranked(folder: Path) -> None:
    before = sections(read_results(folder), NONE_FROZEN)[0].table
    plan = Plan([GOOD], tasks=["cola"], seeds=range(3), unofficial=("another budget",), n_evaluations=5)
    write_results(folder, plan)
    write_results(folder, dataclasses.replace(plan, unofficial=(), status="running", tasks=["sst2"]))
    results = read_results(folder)
    after = sections(results, NONE_FROZEN)[0].table
    assert after.equals(before)
    assert "Not counted: 3 unofficial runs, 3 unfinished runs." in leaderboard(folder, NONE_FROZEN)


def test_page_says_as_the_leaderboard_which_runs_failed_and_which_reach_a_limit(folder: Path, monkeypatch) -> None:
    (cut, *_) = write_results(folder, Plan([BAD], tasks=["rte"], seeds=[0], status="failed"))
    first, *_ = (cut / "evaluations.jsonl").read_text().splitlines()  # the full network
    (cut / "evaluations.jsonl").write_text(first + "\n")
    (row, *_) = rows_of(leaderboard(folder, NONE_FROZEN), "rfp@large")
    assert row["runs"] == "8 of 160 (1 failed)"
    assert row["at 50 % of prunable"].endswith(" % (7 of 8 runs)")
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {})
    report(folder, folder / "out")
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    for name in ("runs", "at 50 % of prunable", "at 30 % of prunable"):
        assert f">{row[name]}<" in page


def test_failed_runs_and_damaged_records_are_shown(folder: Path) -> None:
    write_results(folder, Plan([BAD], tasks=["rte"], seeds=[0], status="failed", n_evaluations=5))
    (folder / "mrpc/bert-base-cased/rfp_large_gpu_seed0/run.json").write_text("{")
    text = leaderboard(folder, NONE_FROZEN)
    assert rows_of(text, "rfp@large")[0]["runs"] == "7 of 160 (1 failed)"
    assert "## Damaged records" in text
    assert "mrpc/bert-base-cased/rfp" in text


def test_relative_metric_names_the_number_of_runs_with_small_networks(folder: Path) -> None:
    for seed in range(4):
        path = folder / f"rte/bert-base-cased/rfp_large_gpu_seed{seed}" / RunFolder.EVALUATIONS
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [line for line in lines if line["params"] > 0.6]  # more than 30 % of the layers
        path.write_text("".join(json.dumps({**line, "index": i}) + "\n" for i, line in enumerate(kept)))
    row = next(line for line in leaderboard(folder, NONE_FROZEN).splitlines() if "rfp" in line)
    assert "(4 of 8 runs)" in row


def test_hostile_names_do_not_break_the_tables(folder: Path) -> None:
    write_results(folder, Plan([Entry("<script>", "a|b\n# *x*")], tasks=["rte", "mrpc"], seeds=[0], n_evaluations=5))
    text = leaderboard(folder, NONE_FROZEN)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 3 * (2 + 3)
    for table in (rows[:5], rows[5:10], rows[10:]):
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
        return table.loc[["rfp@large", "ws-nas/ehvi@small"], ["test", "validation"]].to_numpy().ravel().tolist()

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
