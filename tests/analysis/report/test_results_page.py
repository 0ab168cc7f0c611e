"""The page about a folder of records: numbers of runs, commands for missing runs, a paragraph on each decided claim."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.report.results_page import page
from nasbench.analysis.scoring.quantiles import Quantiles


def test_page_says_what_was_run_what_is_missing_and_what_is_decided(tmp_path: Path) -> None:
    entries = [Entry("s-nas", "random", shift=0.05), Entry("s-nas", "moasha", shift=-0.05)]
    write_results(tmp_path, Plan(entries, tasks=["rte", "mrpc", "cola"], seeds=range(3), noise=0.001))
    text = page(tmp_path, Quantiles())
    assert "| Paper models | gpu" in text
    assert "| 18 " in text
    (row,) = [line for line in text.splitlines() if line.startswith("| s-nas/moasha@small ")]
    assert "| cola (0, 1, 2), mrpc (0, 1, 2), rte (0, 1, 2) | `nasbench run --method s-nas --searcher moasha " in row
    assert "`nasbench experiment fig11 --task rte --task mrpc --task cola" in text
    average = next(line for line in text.splitlines() if "moasha beats random search on average" in line)
    assert average.startswith("**standard NAS: moasha beats random search on average: confirmed.**")
    assert "over 9 blocks of 3 tasks" in average
    places = "--task rte --task mrpc --task cola --model bert-base-cased --seed 0 --seed 1 --seed 2"
    assert f"Not run; `nasbench experiment fig7 {places}` makes the records: training" in text
    assert text == page(tmp_path, Quantiles())


def test_single_run_has_one_revision_and_one_time(tmp_path: Path) -> None:
    first, second = write_results(tmp_path, Plan([Entry("rfp", space="large")], ["rte"], seeds=[0, 1], n_evaluations=5))
    for path, work_s in ((first, 0.015), (second, 0.0162)):
        record = json.loads((path / "run.json").read_text())
        record["conditions"] = [{"work_s": [work_s, 0.02]}]
        (path / "run.json").write_text(json.dumps(record))
    assert "(15.0 to 16.2 ms) | 1 (1 revision) " in " ".join(page(tmp_path, Quantiles()).split())
    shutil.rmtree(second)
    assert "(15.0 ms) | 1 (1 revision) " in " ".join(page(tmp_path, Quantiles()).split())


def test_undecided_claims_say_what_they_need(tmp_path: Path) -> None:
    entries = [Entry("s-nas", "random"), Entry("s-nas", "moasha", shift=-0.05)]
    write_results(tmp_path, Plan(entries, tasks=["rte"], seeds=[0]))
    text = page(tmp_path, Quantiles())
    assert "A claim about tasks in general needs 3 tasks." in text
    assert "It needs more seeds." in text


def test_commands_make_runs_of_the_section_that_lacks_them(tmp_path: Path) -> None:
    for track, task, seeds in (("compact", "stsb", [2]), ("demo", "demo", [0, 1])):
        plan = Plan([Entry("rfp", space="large")], [task], ["minilm-l6"], seeds, n_evaluations=5, track=track)
        write_results(tmp_path, dataclasses.replace(plan, device_class="cpu"))
    compact, _, demo = page(tmp_path, Quantiles()).partition("## Claims of the paper: Demo, CPU")
    for section, options, claim in (
        (compact, "fig5 --task stsb --model minilm-l6 --seed 2", "SMALL beats MEDIUM"),
        (compact, "fig5 --task cola --model minilm-l6 --seed 2", "on CoLA SMALL does not beat MEDIUM"),
        (compact, "fig8 --model minilm-l6 --seed 2", "NAS gains more"),  # on the eight tasks of the paper
        (demo, "fig5 --task demo --model minilm-l6 --seed 0 --seed 1", "SMALL beats MEDIUM"),
    ):
        assert f"Not run; `nasbench experiment {options}` makes the records: {claim}" in section
    # Runs on CoLA are runs of the other section, whatever the model.
    assert "Not run, and cannot be judged here: on CoLA SMALL does not beat MEDIUM" in demo
    assert "cannot be judged here" not in compact


def test_claim_without_an_interval_is_not_said_to_have_one(tmp_path: Path) -> None:
    # Four smaller tasks and a larger one: enough tasks for a claim about all, too few for a contrast of the two kinds.
    entries = [Entry("ws-nas", "ehvi"), Entry("head-pruning", space="large"), Entry("rfp", space="large")]
    write_results(tmp_path, Plan(entries, tasks=["rte", "mrpc", "stsb", "cola", "imdb"], seeds=[0]))
    text = page(tmp_path, Quantiles())
    (contrast,) = [part for part in text.split("\n\n") if "on the four larger data sets" in part]
    assert "over 5 blocks of 5 tasks" in contrast
    assert contrast.endswith("on tasks like these missing. A claim about tasks in general needs 3 tasks of each kind.")


def test_names_of_strangers_end_no_code_and_no_cell(tmp_path: Path) -> None:
    name = "a|b`<img src=x>"
    write_results(tmp_path, Plan([Entry("ws-nas", "random"), Entry("mine")], tasks=["rte"], seeds=[0]))
    for path in tmp_path.rglob("run.json"):
        record = json.loads(path.read_text())
        record["identity"]["method" if record["identity"]["method"] == "mine" else "task"] = name
        path.write_text(json.dumps(record))
    text = page(tmp_path, Quantiles())
    assert text.count("&lt;img") > 4
    assert "<img" not in text
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if "@small" in line}) == 1


def test_damaged_and_failed_runs_are_listed(tmp_path: Path) -> None:
    plan = Plan([Entry("rfp", space="large")], tasks=["rte"], seeds=range(2), n_evaluations=9)
    damaged, _ = write_results(tmp_path, plan)
    assert "Damaged" not in page(tmp_path, Quantiles())
    write_results(tmp_path, dataclasses.replace(plan, seeds=[1], status="failed"))
    (damaged / "run.json").write_text("{")
    _, _, listed = page(tmp_path, Quantiles()).partition("## Damaged, failed and unfinished runs\n\n- ")
    first, second = listed.splitlines()
    assert "seed0: run.json: not JSON" in first.replace("\\", "")
    assert "seed1: the run failed: simulated failure" in second.replace("\\", "")


def test_committed_page_is_that_of_the_committed_records() -> None:
    folder = Path(__file__).resolve().parents[3] / "results"
    remedy = "write it again: nasbench claims --results results --out results/README.md"
    assert (folder / "README.md").read_text(encoding="utf-8") == page(folder), remedy
