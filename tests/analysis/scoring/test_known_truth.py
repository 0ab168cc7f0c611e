"""Generated results with a known truth: entry A is better than B by a known amount, and C equals B."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from support.generated_results import Entry, Plan, hypervolume_difference, simulate, write_results

from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.scoring.comparison import Comparison, compare, compare_all
from nasbench.analysis.scoring.quantiles import Quantiles, ScenarioQuantiles
from nasbench.analysis.scoring.scores import Blocks, block_table, score

A, B, C = Entry("a", shift=-0.02), Entry("b", shift=0.01), Entry("c", shift=0.01)
TRUTH = hypervolume_difference(A, B)


def identity_quantiles(results: Results) -> Quantiles:
    """Quantiles that do not change objectives between 0 and 1, so that the truth is known exactly."""
    knots = {name: np.array([0.0, 1.0]) for name in ("error", "params")}
    return Quantiles(
        {str(scenario): ScenarioQuantiles(knots, "1", 0, 0) for scenario in results.runs["scenario"].unique()},
        version=1,
    )


def read(folder: Path, plan: Plan, seed: int) -> Results:
    write_results(folder, plan, seed)
    results = read_results(folder)
    assert results.findings == ()
    return results


def blocks_of(results: Results) -> Blocks:
    scores = score(results, identity_quantiles(results), n_times=10)
    assert scores.warnings == ()
    return block_table(scores, by="method")


def drawn_again(results: Results, plan: Plan, seed: int) -> Results:
    """The results that writing and reading the plan with another seed would give, in the columns that scores use."""
    rng, shifts = np.random.default_rng(seed), {entry.method: entry.shift for entry in plan.entries}
    drawn = [
        evaluation
        for method in results.runs["method"]
        for evaluation in simulate(plan.n_evaluations, shifts[method], plan.noise, plan.budget_s, rng)
    ]
    names = ("error", "params", "n_params", "elapsed_s", "test_error")
    columns = {name: np.array([getattr(each, name) for each in drawn], dtype=np.float64) for name in names}
    return dataclasses.replace(results, evaluations=results.evaluations.assign(**columns))


def test_comparison_finds_the_truth_in_a_large_folder(tmp_path: Path) -> None:
    tasks = ["rte", "cola", "mrpc", "stsb", "imdb", "sst2", "swag", "qnli"]
    plan = Plan([A, B, C], tasks=tasks, seeds=range(10), n_evaluations=20)
    blocks = blocks_of(read(tmp_path, plan, seed=1))
    assert blocks.names == ("a", "b", "c")
    assert not np.isnan(blocks.final).any()
    found = compare_all(blocks).set_index(["a", "b"])
    for end in ("", "task_"):
        assert found.loc[("a", "b"), f"{end}low"] < TRUTH < found.loc[("a", "b"), f"{end}high"]
        assert found.loc[("b", "c"), f"{end}low"] < 0 < found.loc[("b", "c"), f"{end}high"]
    assert found.loc[("a", "b"), "p_holm"] < 0.05
    assert found.loc[("b", "c"), "p_holm"] > 0.05
    assert pytest.approx(0.03 * (2 - 23_257_346 / 108_311_810)) == TRUTH


def test_intervals_cover_the_truth_in_about_95_of_100_draws(tmp_path: Path) -> None:
    plan = Plan([A, B, C], tasks=["rte"], seeds=range(6), n_evaluations=6)
    first = read(tmp_path / "first", plan, seed=0)
    whole = blocks_of(read(tmp_path / "second", plan, seed=1))
    np.testing.assert_allclose(blocks_of(drawn_again(first, plan, seed=1)).final, whole.final, rtol=1e-12)
    n_draws, covered = 100, np.zeros(2, dtype=int)
    for draw in range(n_draws):
        blocks = blocks_of(drawn_again(first, plan, seed=draw))
        final = blocks.final
        a_b: Comparison = compare(final[0], final[1], blocks.scenarios)
        b_c = compare(final[1], final[2], blocks.scenarios)
        covered += [a_b.low <= TRUTH <= a_b.high, b_c.low <= 0 <= b_c.high]
    # With a correct interval, this test fails with a probability below 1 in 1,000.
    assert (covered >= binom.ppf(1e-3, n_draws, 0.95)).all(), covered
    assert covered.sum() < 2 * n_draws, "intervals that never miss are too long"


def test_failed_runs_and_unequal_seeds_are_compared_and_counted(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([A, B], tasks=["rte"], seeds=range(8), n_evaluations=10))
    write_results(tmp_path, Plan([C], tasks=["rte"], seeds=range(3), n_evaluations=10, status="failed"))
    results = read_results(tmp_path)
    assert sum("the run failed" in warning for warning in results.warnings) == 3
    blocks = block_table(score(results, identity_quantiles(results)), by="method")
    assert np.isnan(blocks.final).sum() == 5
    found = compare_all(blocks).set_index(["a", "b"])
    assert found["n"].tolist() == [8, 3, 3]
    assert found["n_unpaired"].tolist() == [0, 5, 5]


def test_block_table_rejects_two_runs_in_one_place(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([A, B], tasks=["rte"], seeds=[3], n_evaluations=5))
    results = read_results(tmp_path)
    with pytest.raises(ValueError, match=r"several runs of 'small' in scenario 'rte/bert-base-cased/gpu' with seed 3"):
        block_table(score(results, identity_quantiles(results)), by="space")


def test_time_axis_ends_with_the_runs_own_budget(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([A], tasks=["rte"], seeds=[0], n_evaluations=10, budget_s=100.0))
    results = read_results(tmp_path)
    scores = score(results, identity_quantiles(results), n_times=50)
    elapsed = results.evaluations["elapsed_s"].to_numpy()
    np.testing.assert_allclose(scores.grid, np.arange(1, 51) / 50)
    begins = scores.grid[np.argmax(scores.hypervolume[0] > 0)]
    assert begins - 0.02 < elapsed[0] / 100.0 <= begins
    np.testing.assert_allclose(scores.regret, 4.0 - scores.hypervolume)
    # Without a budget, the time axis ends with the last evaluation.
    results.runs["budget_s"] = np.nan
    results.runs["elapsed_s"] = elapsed[-1]
    np.testing.assert_array_equal(
        score(results, identity_quantiles(results), n_times=50).hypervolume, scores.hypervolume
    )


def test_refit_normalises_by_all_runs(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([A, B], tasks=["rte"], seeds=range(2), n_evaluations=10))
    results = read_results(tmp_path)
    frozen, refitted = (
        score(results, identity_quantiles(results)),
        score(results, identity_quantiles(results), refit=True),
    )
    assert refitted.warnings == ()
    assert (np.abs(refitted.final - frozen.final) > 0.01).all()
