"""The ranking cannot be gamed: each case is a way that once gained a place, with the right answer."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.leaderboard import render
from nasbench.analysis.report.sections import WORST_HYPERVOLUME, Ranking, sections
from nasbench.analysis.report.tables import make_tables
from nasbench.analysis.scoring.quantiles import Quantiles, ScenarioQuantiles
from nasbench.analysis.scoring.ranks import average_ranks
from nasbench.analysis.scoring.scores import score

TASKS = ("rte", "mrpc", "stsb", "cola", "imdb", "sst2", "swag", "qnli")
UNCHANGED = ScenarioQuantiles({name: np.array([0.0, 1.0]) for name in ("error", "params")}, "1", 0, 0)
QUANTILES = Quantiles(
    {f"{task}/{model}/gpu": UNCHANGED for task in TASKS for model in ("bert-base-cased", "roberta-base")}, version=1
)
"""Quantiles that leave objectives between 0 and 1 as they are."""


def ranking(folder: Path) -> Ranking:
    """The section of the paper's models on a GPU: 16 scenarios, ten seeds."""
    (found,) = sections(read_results(folder), QUANTILES)
    assert found.n_blocks == 160
    return found


def column(section: Ranking, name: str) -> dict[str, float]:
    return dict(zip(section.table["entry"], section.table[name], strict=True))


def write(
    folder: Path, *entries: Entry, tasks: Iterable[str] = ("rte",), seeds: Iterable[int] = range(10), draw: int = 0
):
    write_results(folder, Plan(entries, tasks=tuple(tasks), seeds=tuple(seeds), n_evaluations=8), seed=draw)


def test_places_follow_the_test_errors_of_the_front_chosen_on_validation(tmp_path: Path, write_run) -> None:
    for seed in range(3):
        # The overfitted entry looks better on validation by 0.1 and is worse on test by 0.1.
        shared = {"seed": seed}
        bit = 0.001 * seed
        write_run(tmp_path, "overfitted", None, "small", [(1.0, 0.1 + bit, 0.4), (0.2, 0.3, 0.6 + bit)], **shared)
        write_run(tmp_path, "honest", None, "small", [(1.0, 0.2 + bit, 0.3), (0.2, 0.4, 0.5 + bit)], **shared)
    section = ranking(tmp_path)
    assert section.table["entry"].tolist() == ["honest@small", "overfitted@small"]
    assert section.table["place"].tolist() == [1, 2]
    validation = column(section, "validation")
    assert validation["overfitted@small"] > validation["honest@small"]


def test_test_hypervolume_equals_a_case_worked_by_hand(tmp_path: Path, write_run) -> None:
    # The second network is dominated on validation, so its good test error must not count.
    points = [(1.0, 0.2, 0.3), (0.9, 0.6, 0.0), (0.5, 0.4, 0.6), (0.1, 0.9, 0.8)]
    write_run(tmp_path, "m", None, "small", points)
    (row,) = ranking(tmp_path).by_scenario.to_dict("records")
    assert row["test"] == pytest.approx((2 - 0.1) * (2 - 0.8) + (2 - 0.5) * (0.8 - 0.6) + (2 - 1.0) * (0.6 - 0.3))
    assert row["validation"] == pytest.approx((2 - 0.1) * (2 - 0.9) + (2 - 0.5) * (0.9 - 0.4) + (2 - 1.0) * (0.4 - 0.2))


def test_section_says_how_many_errors_are_below_the_frozen_ones(tmp_path: Path, write_run) -> None:
    # The last network is dominated on validation, so its test error decides nothing and is not counted.
    write_run(tmp_path, "m", None, "small", [(1.0, 0.3, 0.1), (0.5, 0.4, 0.3), (0.2, 0.5, 0.15), (0.9, 0.6, 0.0)])
    knots = {"error": np.array([0.2, 1.0]), "params": np.array([0.0, 1.0])}
    frozen = Quantiles({"rte/bert-base-cased/gpu": ScenarioQuantiles(knots, "1", 0, 0)}, version=1)
    (section,) = sections(read_results(tmp_path), frozen)
    (warning,) = section.warnings
    assert warning.startswith(
        "rte/bert-base-cased/gpu: 0 % of the validation errors (0 of 4) and 67 % of the test errors on the final "
        "fronts (2 of 3) are below the lowest frozen error"
    )


def test_choosing_other_seeds_gains_nothing(tmp_path: Path) -> None:
    write(tmp_path, Entry("good", shift=-0.02))
    write(tmp_path, Entry("few-seeds", shift=0.02), seeds=range(5, 10))
    section = ranking(tmp_path)
    assert section.table["entry"].tolist() == ["good@small", "few-seeds@small"]
    assert section.table["place"].tolist() == [1, 2]
    assert column(section, "n_runs") == {"good@small": 10, "few-seeds@small": 5}


def test_submitting_the_best_seeds_only_gains_nothing(tmp_path: Path) -> None:
    write(tmp_path, Entry("all-seeds"), draw=1)
    write(tmp_path / "other", Entry("best-seeds"), draw=2)
    section = ranking(tmp_path / "other")
    paths = sorted((tmp_path / "other").rglob("run.json"))
    results = read_results(tmp_path / "other")
    assert len(paths) == len(results.runs) == 10
    lowest = results.evaluations.groupby("seed")["error"].min().sort_values()
    for path in paths:
        if not any(path.parent.name.endswith(f"seed{seed}") for seed in lowest.index[:3]):
            shutil.rmtree(path.parent)
    before = column(section, "test")["best-seeds@small"]
    shutil.copytree(tmp_path / "other", tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "other")
    section = ranking(tmp_path)
    after = column(section, "test")
    assert after["best-seeds@small"] < before
    assert section.table["entry"].tolist() == ["all-seeds@small", "best-seeds@small"]
    assert section.table["place"].tolist() == [1, 2]
    # Without the missing runs its mean looks better, and is shown as such.
    assert column(section, "own_test")["best-seeds@small"] > column(section, "own_test")["all-seeds@small"]


def test_leaving_out_any_run_never_helps(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    write(
        tmp_path, *(Entry(name, shift=0.01 * i) for i, name in enumerate(names)), tasks=("rte", "cola"), seeds=(0, 1, 2)
    )
    complete = column(ranking(tmp_path), "test")
    for path in sorted(tmp_path.rglob("run.json")):
        aside = tmp_path.parent / "aside"
        shutil.move(path.parent, aside)
        section = ranking(tmp_path)
        own = f"{path.parent.name.split('_')[0]}@small"
        now = column(section, "test")
        assert now[own] < complete[own]
        assert {name: now[name] for name in now if name != own} == {
            name: pytest.approx(complete[name]) for name in complete if name != own
        }
        shutil.move(aside, path.parent)


def test_runs_that_nobody_else_has_do_not_lock_others_out(tmp_path: Path) -> None:
    good = [Entry(f"good-{i}", shift=-0.05 + 0.001 * i) for i in range(3)]
    bad = [Entry(f"bad-{i}", shift=0.05 + 0.001 * i) for i in range(2)]
    write(tmp_path, *good, *bad, tasks=("rte", "mrpc"))
    before = ranking(tmp_path)
    assert before.table["entry"].tolist()[:3] == [f"{entry.method}@small" for entry in good]
    write(tmp_path, *bad, tasks=("cola",))
    after = ranking(tmp_path)
    assert after.table["place"].notna().all()
    for name in (f"{entry.method}@small" for entry in good):
        assert column(after, "test")[name] == column(before, "test")[name]
        assert column(after, "own_test")[name] == column(before, "own_test")[name]
    write(tmp_path, *good, tasks=("cola",))
    assert set(ranking(tmp_path).table["entry"][:3]) == {f"{entry.method}@small" for entry in good}


def test_list_that_is_not_declared_gives_no_places(tmp_path: Path) -> None:
    # On a CPU, the paper's track has no list. The bad entries come first with a third task that they alone have run.
    good = [Entry(f"good-{i}", shift=-0.05 + 0.001 * i) for i in range(3)]
    bad = [Entry(f"bad-{i}", shift=0.05 + 0.001 * i) for i in range(2)]
    plan = Plan([*good, *bad], tasks=("rte", "mrpc"), seeds=(0, 1, 2), n_evaluations=8, device_class="cpu")
    write_results(tmp_path, plan)
    write_results(tmp_path, dataclasses.replace(plan, entries=bad, tasks=("cola",)))
    (section,) = sections(read_results(tmp_path), Quantiles())
    assert not section.is_declared
    assert set(section.table["entry"][:2]) == {"bad-0@small", "bad-1@small"}
    assert section.table["place"].isna().all()
    text = render(read_results(tmp_path), Quantiles())
    assert "so there are no places." in text
    assert next(line for line in text.splitlines() if "bad-0@small" in line).startswith("| - ")


def test_runs_outside_the_list_change_nothing(tmp_path: Path) -> None:
    write(tmp_path, Entry("good", shift=-0.05), Entry("bad", shift=0.05), tasks=("rte", "mrpc"))
    before = ranking(tmp_path)
    plan = Plan([Entry("bad", shift=0.05), Entry("else")], tasks=("another-task",), seeds=range(5), n_evaluations=8)
    write_results(tmp_path, plan)
    after = ranking(tmp_path)
    assert after.n_outside == 10
    assert after.table.equals(before.table)


def test_nothing_is_worse_than_a_missing_run(tmp_path: Path, write_run) -> None:
    # The worst networks there can be: the full size with error 1, and errors above the frozen range.
    write_run(tmp_path, "worst", None, "small", [(1.0, 1.0, 1.0)])
    write_run(tmp_path, "below", None, "small", [(1.0, 1.7, 1.9)])
    write_run(tmp_path, "nothing", None, "small", [], status="failed", reason="raised at once")
    section = ranking(tmp_path)
    assert set(column(section, "test").values()) == {WORST_HYPERVOLUME}
    assert set(section.by_scenario["test"]) == {WORST_HYPERVOLUME}
    results = read_results(tmp_path)
    tables = make_tables(results, score(results, QUANTILES), [section])
    assert set(tables["hypervolume"]["test"]) == set(tables["runs"]["test_hypervolume"]) == {WORST_HYPERVOLUME}


def test_average_rank_weighs_scenarios_equally_whatever_an_entry_lacks() -> None:
    # Entry 0 is third on RTE, where it has one of ten seeds, and first on MRPC, where it has all ten.
    values = np.full((3, 20), np.nan)
    values[1:, :10] = [[2.0] * 10, [3.0] * 10]
    values[0, 0] = 1.0
    values[:, 10:] = np.array([[3.0], [2.0], [1.0]])
    ranks = average_ranks(values[:, :, None], ["rte"] * 10 + ["mrpc"] * 10)
    assert ranks.mean[0, 0] == pytest.approx(2.0)


def test_entries_that_are_not_separated_share_a_place(tmp_path: Path) -> None:
    same = [Entry("a"), Entry("b")]
    write(tmp_path, *same, Entry("clearly-worse", shift=0.08), tasks=("rte", "mrpc"), seeds=range(4))
    section = ranking(tmp_path)
    assert section.table["entry"].tolist()[2] == "clearly-worse@small"
    assert section.table["place"].tolist() == [1, 1, 3]


def test_noisy_entry_does_not_join_two_separated_entries(tmp_path: Path, write_run) -> None:
    errors = {"a": (0.197, 0.2, 0.203), "b": (0.257, 0.26, 0.263), "c": (0.1, 0.23, 0.36)}

    def write_seeds(name: str) -> None:
        for seed, error in enumerate(errors[name]):
            write_run(tmp_path, name, None, "small", [(0.5, error, error)], seed=seed)

    write_seeds("a")
    write_seeds("b")
    assert column(ranking(tmp_path), "place") == {"a@small": 1, "b@small": 2}
    write_seeds("c")
    section = ranking(tmp_path)
    assert section.table["entry"].tolist() == ["a@small", "c@small", "b@small"]
    assert section.table["place"].tolist() == [1, 1, 3]


def test_leaving_out_a_run_gains_no_place(tmp_path: Path) -> None:
    # A missing run spreads the differences to the entry above far more than seeds do.
    plan = Plan([Entry("best", shift=-0.03), Entry("second")], tasks=("rte", "cola"), seeds=range(3), noise=0.001)
    *_, last = write_results(tmp_path, plan)
    assert column(ranking(tmp_path), "place") == {"best@small": 1, "second@small": 2}
    shutil.rmtree(last)
    section = ranking(tmp_path)
    assert column(section, "n_runs") == {"best@small": 6, "second@small": 5}
    assert column(section, "place") == {"best@small": 1, "second@small": 2}


def test_failed_run_gains_no_place(tmp_path: Path, write_run) -> None:
    def write_one(name: str, seed: int, params: float, error: float, **changes: str) -> None:
        folder = write_run(tmp_path / "new", name, None, "small", [(params, error, error)], seed=seed, **changes)
        shutil.copytree(folder, tmp_path / folder.relative_to(tmp_path / "new"), dirs_exist_ok=True)
        shutil.rmtree(tmp_path / "new")

    for seed in range(3):
        write_one("best", seed, 0.2, 0.2 + 0.001 * seed)
        write_one("second", seed, 0.2, 0.3 + 0.001 * seed)
    assert column(ranking(tmp_path), "place") == {"best@small": 1, "second@small": 2}
    # It failed after the full network: a low value, which widens the interval of the difference to the entry above.
    failure = {"status": "failed", "reason": "raised"}
    write_one("second", 0, 1.0, 0.3, **failure)
    section = ranking(tmp_path)
    assert column(section, "n_failed") == {"best@small": 0, "second@small": 1}
    assert column(section, "place") == {"best@small": 1, "second@small": 2}
    measured = np.mean([(2 - 1.0) * (2 - 0.3), (2 - 0.2) * (2 - 0.301), (2 - 0.2) * (2 - 0.302)])
    assert column(section, "own_test")["second@small"] == pytest.approx(measured)
    # Where both failed, neither lacks the other's run.
    write_one("best", 0, 1.0, 0.3, **failure)
    write_one("best", 1, 0.2, 0.9)
    section = ranking(tmp_path)
    assert column(section, "place") == {"second@small": 1, "best@small": 1}


def test_single_seed_separates_nothing(tmp_path: Path) -> None:
    write(tmp_path, Entry("a", shift=-0.09), Entry("b", shift=0.09), tasks=TASKS, seeds=(0,))
    assert ranking(tmp_path).table["place"].tolist() == [1, 1]


def test_equal_entries_seldom_get_different_places(tmp_path: Path) -> None:
    n_draws, separated = 25, 0
    for draw in range(n_draws):
        write(tmp_path, Entry("a"), Entry("b"), tasks=("rte", "cola"), seeds=(0, 1, 2), draw=draw)
        separated += ranking(tmp_path).table["place"].tolist() == [1, 2]
    # A separation in either direction is an error: the better of two equal entries is listed first.
    assert separated <= binom.ppf(1 - 1e-3, n_draws, 0.05)
