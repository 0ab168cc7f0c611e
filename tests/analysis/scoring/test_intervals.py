"""Intervals of a mean over scenarios: checked against scipy, and for their coverage of the true mean."""

import numpy as np
import pytest
from scipy import stats
from scipy.stats import binom

from nasbench.analysis.report.claims import judge
from nasbench.analysis.scoring.intervals import mean_interval


def test_one_scenario_gives_students_interval() -> None:
    values = np.random.default_rng(2).standard_normal(12)
    mean, low, high = mean_interval(values, ["a"] * 12)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(stats.ttest_1samp(values, 0.0).confidence_interval()))


def test_two_scenarios_give_welchs_interval() -> None:
    rng = np.random.default_rng(3)
    a, b = 5 + rng.standard_normal(4), 2 + 3 * rng.standard_normal(3)
    # Welch's interval is for a difference; the sum of a and b is the difference of a and -b.
    welch = stats.ttest_ind(a, -b, equal_var=False).confidence_interval()
    mean, low, high = mean_interval([*a, *b], list("aaaabbb"))
    assert mean == pytest.approx((a.mean() + b.mean()) / 2)
    assert (low, high) == pytest.approx((welch.low / 2, welch.high / 2))


def test_scenarios_with_one_seed_form_one_sample() -> None:
    values = [1.0, 2.0, 4.0]
    assert mean_interval(values, list("abc")) == pytest.approx(mean_interval(values, list("aaa")))
    # With another scenario of two seeds: the values 3 and 5 and the sample 1, 2, 4 are strata of weights 1/4 and 3/4.
    a, b = np.array([3.0, 5.0]) / 4, np.array(values) * 3 / 4
    welch = stats.ttest_ind(a, -b, equal_var=False).confidence_interval()
    found = mean_interval([3.0, 5.0, *values], list("ddabc"))
    assert found == pytest.approx((a.mean() + b.mean(), welch.low, welch.high))


def test_lone_scenario_with_one_seed_borrows_the_variance_of_the_others() -> None:
    # By hand: scenarios (1, 3) and (6,), mean 4; variance 2 in the first. V = 2 / 4 / 2 + 2 / 4 = 0.75, one degree.
    mean, low, high = mean_interval([1.0, 3.0, 6.0], list("aab"))
    half = stats.t.ppf(0.975, 1) * np.sqrt(0.75)
    assert (mean, low, high) == pytest.approx((4.0, 4.0 - half, 4.0 + half))


def test_few_values_have_no_interval() -> None:
    assert np.isnan(mean_interval([], [])).all()
    for values, scenarios in (([3.0], "a"), ([3.0, 3.0], "aa"), ([3.0, 4.0], "ab")):
        mean, low, high = mean_interval(values, list(scenarios))
        assert mean == np.mean(values)
        assert np.isnan([low, high]).all()
    assert mean_interval([3.0, 3.0, 3.0], list("aab")) == (3.0, 3.0, 3.0)


def test_order_does_not_matter_and_inputs_stay_unchanged() -> None:
    values, scenarios = np.random.default_rng(0).random(11), np.array(list("aaabbcccccd"))
    order = np.random.default_rng(1).permutation(11)
    values.setflags(write=False)
    assert mean_interval(values[order], scenarios[order]) == pytest.approx(mean_interval(values, scenarios))


def share_covered(sizes: list[int], spread: list[float], n_draws: int) -> int:
    """Number of intervals that contain the true mean 5, of ``n_draws`` samples of normal values."""
    rng = np.random.default_rng(11)
    scenarios = np.repeat(np.arange(len(sizes)), sizes)
    covered = 0
    for _ in range(n_draws):
        values = 5.0 + np.array(spread)[scenarios] * rng.standard_normal(len(scenarios))
        _, low, high = mean_interval(values, scenarios)
        covered += low <= 5.0 <= high
    return covered


@pytest.mark.parametrize(
    ("n_scenarios", "n_seeds"),
    [(1, 3), (3, 1), (2, 2), (4, 2), (8, 2), (2, 3), (1, 10), (1, 30), (8, 3), (16, 1)],
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


def test_equal_entries_are_seldom_judged_different() -> None:
    rng, n_draws = np.random.default_rng(5), 1000
    for scenarios, most in (("aa", 0.0), ("aaa", 0.05), ("aabb", 0.05)):
        verdicts = [
            judge("better than", *mean_interval(rng.standard_normal(len(scenarios)), list(scenarios))[1:], margin=0.05)
            for _ in range(n_draws)
        ]
        wrong = sum(verdict != "undecided" for verdict in verdicts)
        assert wrong <= binom.ppf(1 - 1e-3, n_draws, most), scenarios
