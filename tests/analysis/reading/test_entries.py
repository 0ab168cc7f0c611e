"""Names of entries: equal for comparable runs of one entry, different for all others."""

import dataclasses
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.generated_results import Entry, Plan, write_results
from support.record_edits import PLAN, copy_run, edit_identity, edit_run, first_run

from nasbench.analysis.reading.entries import name_entries, short_names
from nasbench.analysis.reading.results import read_results
from nasbench.analysis.scoring.scores import block_table, score


def test_entry_names_show_changed_options_space_and_budget(tmp_path: Path) -> None:
    changed = {"strategy": "kd", "searcher": {"n": 3}}
    usual = {"strategy": "full", "searcher": {"n": 3}}
    plan = Plan(
        [
            Entry("ws-nas", "ehvi", options=usual),
            Entry("ws-nas", "ehvi", options=changed, changed_options=True),
            Entry("ws-nas", "ehvi", space="medium", options=usual),
        ],
        tasks=["rte"],
        seeds=[0],
        n_evaluations=3,
    )
    write_results(tmp_path, plan)
    write_results(tmp_path, dataclasses.replace(plan, tasks=["mrpc"], budget_s=60.0))
    found = read_results(tmp_path)
    assert sorted(found.runs["entry"].unique()) == [
        "ws-nas/ehvi@medium",
        "ws-nas/ehvi@small",
        "ws-nas/ehvi@small [strategy=kd]",
    ]
    # A budget is only compared with the budgets of its scenario. A limit on the evaluations is always shown.
    runs = found.runs.assign(max_evaluations=pd.array([5] + [None] * 5, dtype="Int64"))
    runs.loc[runs.index[-1], "budget_s"] = 30.0
    names = name_entries(runs)
    assert names[0].endswith("[max_evaluations=5]")
    assert names[-1].endswith("budget_s=30]")
    assert len(set(names[1:-1])) == 3


def named(folder: Path, *options: dict[str, object], **identity: object) -> list[str]:
    """Writes a run for each set of options; returns the runs' entry names without ``rfp@large``."""
    usual = first_run(folder)
    for i, own in enumerate(options):
        edit_identity(copy_run(usual, usual.with_name(f"changed_{i:02}")), options=own, **identity)
    results = read_results(folder)
    assert results.findings == ()
    changed = results.runs["run"].str.contains("changed_")
    return [name.removeprefix("rfp@large") for name in results.runs.loc[changed, "entry"]]


def test_entry_names_distinguish_options_that_differ_only_in_type(folder: Path) -> None:
    for seed in PLAN.seeds:
        edit_identity(first_run(folder).with_name(f"rfp_large_gpu_seed{seed}"), options={"a": 0, "b": "usual"})
    values = [1, "1", 1.0, True, "true", None, "None", "null", "unset", [1, "x"], "two words", "é", '1, c="2"']
    names = named(folder, *({"a": value, "b": "usual"} for value in values))
    assert names == [
        " [a=1]",
        ' [a="1"]',
        " [a=1.0]",
        " [a=true]",
        ' [a="true"]',
        " [a unset]",
        " [a=None]",
        ' [a="null"]',
        " [a=unset]",
        ' [a=[1, "x"]]',
        ' [a="two words"]',
        ' [a="é"]',
        ' [a="1, c=\\"2\\""]',
    ]


def test_entry_names_read_changed_options_whatever_the_folder_is_called(tmp_path: Path) -> None:
    default = {"method": {"strategy": "sandwich", "epochs": 3}, "searcher": {"n": 10}}
    changes = [
        {"method": {}, "searcher": {}},
        {"method": {"epochs": 7}, "searcher": {}},
        {"method": {}, "searcher": {"n": 5}},
        {"method": {"strategy": None}, "searcher": {"n": 5}},
    ]
    expected = [
        "ws-nas/ehvi@small",
        "ws-nas/ehvi@small [method.epochs=7]",
        "ws-nas/ehvi@small [searcher.n=5]",
        "ws-nas/ehvi@small [method.strategy unset, searcher.n=5]",
    ]
    (plain,) = write_results(tmp_path, Plan([Entry("ws-nas", "ehvi")], tasks=["rte"], seeds=[0], n_evaluations=3))
    for i, changed in enumerate(changes):
        options = {owner: {**values, **changed[owner]} for owner, values in default.items()}
        run = copy_run(plain, plain.with_name(f"run{i}"))
        edit_identity(run, options=options)
        edit_run(run, changed_options=changed)
    shutil.rmtree(plain)
    assert read_results(tmp_path).runs["entry"].tolist() == expected
    # Without the run that changed nothing, the names stay as they are.
    shutil.rmtree(tmp_path / "rte/bert-base-cased/run0")
    assert read_results(tmp_path).runs["entry"].tolist() == expected[1:]


def test_entry_names_of_old_and_new_records_agree(folder: Path) -> None:
    for seed in PLAN.seeds:
        edit_identity(first_run(folder).with_name(f"rfp_large_gpu_seed{seed}"), options={"method": {"epochs": 3}})
    old = copy_run(first_run(folder), folder / "old")
    edit_identity(old, options={"method": {"epochs": 7}})
    for name, changed in (("changed", {"epochs": 7}), ("default", {})):
        new = copy_run(first_run(folder), folder / name)
        edit_identity(new, options={"method": {"epochs": 3, **changed}}, seed=8)
        edit_run(new, changed_options={"method": changed})
    results = read_results(folder)
    assert results.findings == ()
    names = dict(zip(results.runs["run"], results.runs["entry"], strict=True))
    assert names["old"] == names["changed"] == "rfp@large [method.epochs=7]"
    assert names["default"] == names["rte/bert-base-cased/rfp_large_gpu_seed0"] == "rfp@large"


def test_entry_names_of_records_with_and_without_a_retired_option_agree(folder: Path) -> None:
    for seed, options in ((7, {"n_front": 20, "repair": False}), (8, {"n_front": 20})):
        run = copy_run(first_run(folder), folder / f"seed{seed}")
        edit_identity(run, method="ws-nas-ordered", options={"method": options}, seed=seed)
        edit_run(run, changed_options={"method": {}})
    runs = read_results(folder).runs.set_index("run")
    assert runs.loc["seed7", "entry"] == runs.loc["seed8", "entry"] == "ws-nas-ordered@large"


def test_entry_names_distinguish_the_training_space_of_random_samples(folder: Path) -> None:
    trained = ({"method": {"strategy": "sandwich", "training_space": space}} for space in (None, "small"))
    assert named(folder, *trained, max_evaluations=103) == [
        " [method.strategy=sandwich, max_evaluations=103]",
        " [method.strategy=sandwich, method.training_space=small, max_evaluations=103]",
    ]


def test_entry_names_distinguish_budgets_that_differ_in_the_tenth_digit(folder: Path) -> None:
    for i, budget_s in enumerate((7200.000001, 7200.000002)):
        edit_identity(copy_run(first_run(folder), folder / f"copy{i}"), budget_s=budget_s)
    results = read_results(folder)
    assert results.findings == ()
    assert results.runs["entry"].nunique() == 4


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"method": "a/b", "searcher": None}, {"method": "a", "searcher": "b"}),
        ({"options": {"a": {"b": 1}}}, {"options": {"a.b": 1}}),
        ({"options": {"a": 1, "b": 2}}, {"options": {"a=1, b": 2}}),
        ({"task": "a/b", "model": "c"}, {"task": "a", "model": "b/c"}),
    ],
)
def test_second_run_with_the_same_entry_name_becomes_a_finding(
    folder: Path, first: dict[str, object], second: dict[str, object]
) -> None:
    for name, changes in (("x", first), ("y", second)):
        edit_identity(copy_run(first_run(folder), folder / name), **changes)
    results = read_results(folder)
    (finding,) = results.findings
    assert finding.place == "y"
    assert finding.message.startswith("cannot be told from x, another run of ")
    assert finding.damage
    assert "x" in set(results.runs["run"])
    assert len(results.runs) == 7
    assert len(results.evaluations) == 7 * 8
    block_table(score(results))  # would raise for two runs in one place


def test_short_names_number_the_entries_that_differ_from_the_usual_run() -> None:
    names = [
        "rfp@large",
        "rfp@large [method.epochs=3]",
        "rfp@large [budget_s=60, max_evaluations=9]",
        "s-nas/x@small [a=1]",
    ]
    assert short_names(names) == {
        "rfp@large": ("rfp@large", ""),
        "rfp@large [method.epochs=3]": ("rfp@large\xa0·1", "method.epochs=3"),
        "rfp@large [budget_s=60, max_evaluations=9]": ("rfp@large\xa0·2", "budget_s=60, max_evaluations=9"),
        "s-nas/x@small [a=1]": ("s-nas/x@small\xa0·1", "a=1"),
    }
