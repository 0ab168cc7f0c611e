"""Intervals of a mean over scenarios: checked against scipy, and for their coverage of the true mean."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.stats import binom
from support.recomputed import seeds_interval, tasks_interval

from nasbench.analysis.scoring.comparison import compare
from nasbench.analysis.scoring.intervals import interval_on_tasks_like_these, interval_on_these_tasks, task_means
from nasbench.analysis.scoring.verdicts import Claim, contrasted, judge

N_DRAWS = 1000


def test_one_scenario_gives_students_interval() -> None:
    values = np.random.default_rng(2).standard_normal(12)
    mean, low, high = interval_on_these_tasks(values, ["a"] * 12)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(stats.ttest_1samp(values, 0.0).confidence_interval()))


def test_two_scenarios_give_welchs_interval() -> None:
    rng = np.random.default_rng(3)
    a, b = 5 + rng.standard_normal(4), 2 + 3 * rng.standard_normal(3)
    # Welch's interval is for a difference; the sum of a and b is the difference of a and -b.
    welch = stats.ttest_ind(a, -b, equal_var=False).confidence_interval()
    mean, low, high = interval_on_these_tasks([*a, *b], list("aaaabbb"))
    assert mean == pytest.approx((a.mean() + b.mean()) / 2)
    assert (low, high) == pytest.approx((welch.low / 2, welch.high / 2))


def test_scenarios_with_one_seed_borrow_the_pooled_variance_of_the_others() -> None:
    # By hand: scenarios (1, 3), (4, 8) and (6,), mean 14 / 3. The variances of the first two are 2 and 8, each with one
    # degree of freedom; the third takes their mean, 5. V = (2 / 2 + 8 / 2 + 5) / 9.
    mean, low, high = interval_on_these_tasks([1.0, 3.0, 4.0, 8.0, 6.0], list("aabbc"))
    parts = np.array([2 * (1 / 2 + 1 / 2), 8 * (1 / 2 + 1 / 2)]) / 9
    assert parts.sum() == pytest.approx((2 / 2 + 8 / 2 + 5) / 9)
    half = stats.t.ppf(0.975, parts.sum() ** 2 / (parts**2).sum()) * np.sqrt(parts.sum())
    assert (mean, low, high) == pytest.approx((14 / 3, 14 / 3 - half, 14 / 3 + half))


@pytest.mark.parametrize("seed", range(10))
def test_intervals_equal_a_recomputation_with_pandas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tasks = np.repeat(list("abcde"), rng.integers(1, 4, 5))
    values = pd.Series(rng.standard_normal(len(tasks)), index=pd.Index(tasks, name="task"))
    for ours, theirs in (
        (interval_on_these_tasks, seeds_interval),
        (interval_on_tasks_like_these, tasks_interval),
    ):
        assert ours(values, tasks)[1:] == pytest.approx(theirs(values), nan_ok=True)


def test_scenarios_of_one_seed_each_say_nothing_about_other_seeds() -> None:
    mean, low, high = interval_on_these_tasks([1.0, 2.0, 4.0, 8.0], list("abcd"))
    assert mean == 3.75
    assert np.isnan([low, high]).all()


def test_interval_on_tasks_like_these_is_students_over_the_task_means() -> None:
    # Task rte has two models, each with its own number of seeds; cola and sst2 have one scenario each.
    values = [1.0, 3.0, 6.0, 5.0, 7.0, 8.0]
    scenarios = ["rte/a/gpu", "rte/a/gpu", "rte/b/gpu", "cola/a/gpu", "cola/a/gpu", "sst2/a/gpu"]
    means = [6.0, (2.0 + 6.0) / 2, 8.0]  # cola, rte, sst2
    np.testing.assert_allclose(task_means(values, scenarios), means)
    found = interval_on_tasks_like_these(values, scenarios)
    expected = stats.ttest_1samp(means, 0.0).confidence_interval()
    assert found == pytest.approx((np.mean(means), expected.low, expected.high))


def test_two_tasks_have_no_interval_on_tasks_like_these() -> None:
    mean, low, high = interval_on_tasks_like_these([1.0, 2.0, 5.0], ["a/x/cpu", "a/x/cpu", "b/x/cpu"])
    assert mean == pytest.approx((1.5 + 5.0) / 2)
    assert np.isnan([low, high]).all()
    assert np.isnan(interval_on_tasks_like_these([], [])).all()


def test_lone_scenario_with_one_seed_borrows_the_variance_of_the_others() -> None:
    # By hand: scenarios (1, 3) and (6,), mean 4; variance 2 in the first. V = 2 / 4 / 2 + 2 / 4 = 0.75, one degree.
    mean, low, high = interval_on_these_tasks([1.0, 3.0, 6.0], list("aab"))
    half = stats.t.ppf(0.975, 1) * np.sqrt(0.75)
    assert (mean, low, high) == pytest.approx((4.0, 4.0 - half, 4.0 + half))


def test_few_values_have_no_interval() -> None:
    assert np.isnan(interval_on_these_tasks([], [])).all()
    for values, scenarios in (([3.0], "a"), ([3.0, 3.0], "aa"), ([3.0, 4.0], "ab")):
        mean, low, high = interval_on_these_tasks(values, list(scenarios))
        assert mean == np.mean(values)
        assert np.isnan([low, high]).all()
    assert interval_on_these_tasks([3.0, 3.0, 3.0], list("aab")) == (3.0, 3.0, 3.0)


def test_order_does_not_matter_and_inputs_stay_unchanged() -> None:
    values, scenarios = np.random.default_rng(0).random(11), np.array(list("aaabbcccccd"))
    order = np.random.default_rng(1).permutation(11)
    values.setflags(write=False)
    assert interval_on_these_tasks(values[order], scenarios[order]) == pytest.approx(
        interval_on_these_tasks(values, scenarios)
    )


def share_covered(sizes: list[int], spread: list[float], n_draws: int) -> int:
    """Number of intervals that contain the true mean 5, of ``n_draws`` samples of normal values."""
    rng = np.random.default_rng(11)
    scenarios = np.repeat(np.arange(len(sizes)), sizes)
    covered = 0
    for _ in range(n_draws):
        values = 5.0 + np.array(spread)[scenarios] * rng.standard_normal(len(scenarios))
        _, low, high = interval_on_these_tasks(values, scenarios)
        covered += low <= 5.0 <= high
    return covered


@pytest.mark.parametrize(
    ("n_scenarios", "n_seeds"),
    [(1, 3), (2, 2), (4, 2), (8, 2), (2, 3), (4, 3), (1, 10), (1, 30), (8, 3), (16, 10)],
)
def test_intervals_cover_the_truth_in_about_95_of_100_draws(n_scenarios: int, n_seeds: int) -> None:
    n_draws = 1000
    covered = share_covered([n_seeds] * n_scenarios, [1.0] * n_scenarios, n_draws)
    # A correct interval fails each bound with a probability below 1 in 1,000. With two seeds, Welch's degrees of
    # freedom are estimated from pairs, so the intervals are rather too long and cover the mean in 98 of 100 draws.
    assert covered >= binom.ppf(1e-3, n_draws, 0.95)
    assert covered <= binom.ppf(1 - 1e-3, n_draws, 0.985 if n_seeds == 2 else 0.965)


@pytest.mark.parametrize("sizes", [[2, 1], [3, 1, 1], [3, 2, 1], [2, 2, 2, 1], [5, 3, 2, 1]])
def test_intervals_cover_the_truth_with_unequal_numbers_of_seeds(sizes: list[int]) -> None:
    covered = share_covered(sizes, [1.0] * len(sizes), 1000)
    assert binom.ppf(1e-3, 1000, 0.94) <= covered <= binom.ppf(1 - 1e-3, 1000, 0.985)


@pytest.mark.parametrize(("n_scenarios", "n_seeds"), [(2, 2), (4, 2), (2, 3), (8, 3)])
def test_intervals_cover_the_truth_with_unequal_spreads(n_scenarios: int, n_seeds: int) -> None:
    covered = share_covered([n_seeds] * n_scenarios, [3.0] + [1.0] * (n_scenarios - 1), 1000)
    assert covered >= binom.ppf(1e-3, 1000, 0.945)


def method_by_task_draws(n_tasks: int, n_seeds: int, n_draws: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Differences of two methods that are equal over all tasks, and differ on each: ``(n_draws, n_blocks)``."""
    rng = np.random.default_rng(seed)
    effects = rng.standard_normal((n_draws, n_tasks, 1)) + 0.5 * rng.standard_normal((n_draws, n_tasks, n_seeds))
    return effects.reshape(n_draws, -1), [f"task{i}/m/gpu" for i in range(n_tasks) for _ in range(n_seeds)]


@pytest.mark.parametrize(("n_tasks", "n_seeds"), [(3, 3), (4, 3), (8, 10), (16, 10)])
def test_intervals_on_tasks_like_these_cover_the_truth_where_methods_differ_by_task(n_tasks: int, n_seeds: int) -> None:
    draws, scenarios = method_by_task_draws(n_tasks, n_seeds, n_draws=1000, seed=3)
    found = np.array([interval_on_tasks_like_these(values, scenarios) for values in draws])
    covered = ((found[:, 1] <= 0) & (found[:, 2] >= 0)).sum()
    assert binom.ppf(1e-3, 1000, 0.95) <= covered <= binom.ppf(1 - 1e-3, 1000, 0.95)


def test_intervals_on_these_tasks_do_not_cover_the_mean_of_other_tasks() -> None:
    # The reason for two readings: seeds alone tell nothing about how methods differ by task.
    draws, scenarios = method_by_task_draws(16, 10, n_draws=300, seed=4)
    found = np.array([interval_on_these_tasks(values, scenarios) for values in draws])
    assert ((found[:, 1] <= 0) & (found[:, 2] >= 0)).mean() < 0.5


def test_intervals_of_two_kinds_of_tasks_cover_the_true_difference() -> None:
    """Four tasks of each kind: the difference of these tasks with other seeds, and that of tasks like these."""
    n_tasks, n_seeds, rng = 4, 3, np.random.default_rng(5)
    claim = Claim("for tests", "better than", "relative test metric", "")
    scenarios = np.array([f"task{i}/m/cpu" for i in range(2 * n_tasks) for _ in range(n_seeds)])
    is_first = np.arange(len(scenarios)) < n_tasks * n_seeds
    here = elsewhere = 0
    for _ in range(N_DRAWS):
        effects = rng.standard_normal(2 * n_tasks)
        values = np.repeat(effects, n_seeds) + 0.5 * rng.standard_normal(len(scenarios))
        found = contrasted(claim, values, scenarios, is_first, 0.0)
        truth = effects[:n_tasks].mean() - effects[n_tasks:].mean()
        here += found.low <= truth <= found.high
        elsewhere += found.task_low <= 0 <= found.task_high
    assert 0.93 < elsewhere / N_DRAWS < 0.97
    # Half widths of both groups, each with its own quantile, cover somewhat more than 95 %.
    assert 0.94 < here / N_DRAWS <= 1


def test_wilcoxon_over_tasks_rejects_equal_methods_at_the_nominal_rate() -> None:
    draws, scenarios = method_by_task_draws(16, 10, n_draws=400, seed=5)
    rejected = sum(compare(values, np.zeros(len(values)), scenarios).p < 0.05 for values in draws)
    assert rejected <= binom.ppf(1 - 1e-3, 400, 0.05)


def test_equal_entries_are_seldom_judged_different() -> None:
    for n_tasks, most in ((2, 0.0), (3, 0.05), (8, 0.05)):
        draws, scenarios = method_by_task_draws(n_tasks, 3, n_draws=1000, seed=6)
        verdicts = [
            judge("better than", *interval_on_tasks_like_these(values, scenarios)[1:], margin=0.05) for values in draws
        ]
        wrong = sum(verdict != "undecided" for verdict in verdicts)
        assert wrong <= binom.ppf(1 - 1e-3, len(draws), most), n_tasks
