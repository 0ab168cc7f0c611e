"""Paired comparisons, corrections and critical differences, each checked against a second answer."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from nasbench.analysis.scoring.comparison import compare, compare_all, critical_difference, holm
from nasbench.analysis.scoring.scores import Blocks

NAN = np.nan


def blocks(values: np.ndarray, scenarios: str, names: str = "abcdefgh") -> Blocks:
    n = values.shape[1]
    return Blocks(
        tuple(names[: len(values)]), np.array(list(scenarios), dtype=object), np.arange(n), values[:, :, None]
    )


def test_compare_equals_a_case_worked_by_hand() -> None:
    # Differences by task: a (1 + 2) / 2, b -3, c 4, d 0.5. Signed ranks 2, -3, 4, 1: (7 - 3) / 10. Two blocks are
    # unpaired.
    found = compare([2, 4, 0, 9, 1.5, NAN, 1], [1, 2, 3, 5, 1, 7, NAN], list("aabcdaa"))
    assert (found.n, found.n_unpaired, found.n_tasks) == (5, 2, 4)
    assert found.difference == pytest.approx((1.5 - 3 + 4 + 0.5) / 4)
    assert found.rank_biserial == pytest.approx(0.4)
    assert found.p == pytest.approx(stats.wilcoxon([1.5, -3, 4, 0.5]).pvalue)
    assert found.low < found.difference < found.high
    assert (found.task_low, found.task_high) == pytest.approx(
        tuple(stats.ttest_1samp([1.5, -3, 4, 0.5], 0.0).confidence_interval())
    )


def test_scenarios_weigh_the_same_whatever_their_number_of_seeds() -> None:
    found = compare([1, 1, 1, 5], [0, 0, 0, 0], list("aaab"))
    assert found.difference == pytest.approx(3.0)


def test_difference_is_the_centre_of_both_intervals_whatever_the_models_of_a_task() -> None:
    # Task a has two models, with differences 1 and 3; tasks b and c have one, with differences 5 and 0.2.
    scenarios = ["a/x/cpu"] * 2 + ["a/y/cpu"] * 2 + ["b/x/cpu"] * 2 + ["c/x/cpu"] * 2
    values = [0.9, 1.1, 2.8, 3.2, 4.9, 5.1, 0.0, 0.4]
    found = compare(values, np.zeros(8), scenarios)
    assert found.difference == pytest.approx((2 + 5 + 0.2) / 3)
    assert (found.low + found.high) / 2 == pytest.approx(found.difference)
    assert (found.task_low + found.task_high) / 2 == pytest.approx(found.difference)
    # Variances of the means of two seeds, with one degree of freedom each, and the squares of their weights.
    parts = np.array([0.01, 0.04, 0.01, 0.04]) * np.array([1 / 6, 1 / 6, 1 / 3, 1 / 3]) ** 2
    half = stats.t.ppf(0.975, parts.sum() ** 2 / (parts**2).sum()) * np.sqrt(parts.sum())
    assert found.high - found.difference == pytest.approx(half)


def test_exchanging_the_entries_changes_the_sign() -> None:
    a, b = np.random.default_rng(1).random((2, 12))
    scenarios = list("aabbccddeeff")
    one, other = compare(a, b, scenarios), compare(b, a, scenarios)
    assert (one.task_low, one.low) == pytest.approx((-other.task_high, -other.high))
    assert one.difference == pytest.approx(-other.difference)
    assert one.rank_biserial == pytest.approx(-other.rank_biserial)
    assert one.p == pytest.approx(other.p)


def test_equal_entries_and_entries_without_common_blocks() -> None:
    same = compare([1.0, 0.1 + 0.2], [1.0, 0.3], ["x", "x"])
    assert (same.difference, same.rank_biserial, same.p) == (0.0, 0.0, 1.0)
    nothing = compare([1.0, NAN], [NAN, 1.0], ["x", "x"])
    assert (nothing.n, nothing.n_unpaired) == (0, 2)
    assert np.isnan([nothing.difference, nothing.low, nothing.p]).all()
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        compare([1, 2], [1, 2, 3], ["x"] * 3)


def plain_holm(p: np.ndarray) -> list[float]:
    """Holm's procedure by its definition: a corrected p is the level at which its hypothesis is first rejected."""
    order, n, level, found = sorted(range(len(p)), key=lambda i: p[i]), len(p), 0.0, [0.0] * len(p)
    for step, i in enumerate(order):
        level = max(level, min(1.0, (n - step) * p[i]))
        found[i] = level
    return found


def test_holm_equals_a_case_worked_by_hand_and_its_definition() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.04, NAN, 0.01]), [0.04, NAN, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.9]), [1.0, 1.0])
    p = np.random.default_rng(2).random(15) ** 3
    np.testing.assert_allclose(holm(p), plain_holm(p))


def test_compare_all_compares_every_pair_and_corrects_p() -> None:
    values = np.random.default_rng(3).random((3, 20))
    values[0] += 1.0
    values[1, :4] = NAN
    found = compare_all(blocks(values, "abcdefghijklmnopqrst"))
    assert list(zip(found["a"], found["b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["n"].tolist() == [16, 20, 16]
    assert found["n_unpaired"].tolist() == [4, 0, 4]
    np.testing.assert_allclose(found["p_holm"], plain_holm(found["p"].to_numpy()))
    assert (found["p_holm"] < 0.05).tolist() == [True, True, False]
    assert compare_all(blocks(values[:1], "abcdefghijklmnopqrst")).empty


def test_critical_difference_equals_published_values() -> None:
    # Demsar 2006, table 5: q_0.05 is 2.343 for 3 methods and 2.569 for 4; his example has 4 methods, 14 data sets.
    values = np.random.default_rng(4).random((4, 14))
    scenarios = "abcdefghijklmn"
    found = critical_difference(blocks(values, scenarios))
    assert found.difference == pytest.approx(1.25, abs=0.005)
    assert found.n == 14
    three = critical_difference(blocks(values[:3], scenarios))
    assert three.difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 14)), abs=1e-3)
    assert three.p == pytest.approx(stats.friedmanchisquare(*values[:3]).pvalue)


def test_groups_hold_entries_that_do_not_differ() -> None:
    # On 10 scenarios a beats b beats ... always: ranks 1 to 6, critical difference 2.385.
    values = -np.arange(6.0)[:, None] * np.ones((6, 10))
    found = critical_difference(blocks(values, "abcdefghij"))
    assert found.names == tuple("abcdef")
    np.testing.assert_array_equal(found.ranks, [1, 2, 3, 4, 5, 6])
    assert found.difference == pytest.approx(2.850 * np.sqrt(6 * 7 / 60), abs=1e-3)
    assert found.groups == ((0, 2), (1, 3), (2, 4), (3, 5))
    assert found.p < 1e-6


def test_nemenyi_decides_as_scikit_posthocs() -> None:
    # p-values of posthoc_nemenyi_friedman, scikit-posthocs 0.17.1: a-b 0.827, a-c 0.256, a-d 0.008, b-c 0.761,
    # b-d 0.092, c-d 0.533. The table has ties in three of its five scenarios, some only up to the last bit.
    values = np.array(
        [[0.9, 0.8, 0.7, 0.9, 0.6], [0.8, 0.8, 0.5, 0.7, 0.6], [0.3, 0.4, 0.7, 0.2, 0.5], [0.1, 0.2, 0.3, 0.1, 0.5]]
    )
    for last_bits in (0.0, 2.0**-52):
        nudged = values * (1 + last_bits * np.array([[1], [-1], [-1], [1]]))
        found = critical_difference(blocks(nudged, "abcde"))
        np.testing.assert_allclose(found.ranks, [1.3, 2.0, 2.8, 3.9])
        assert found.groups == ((0, 2), (1, 3))
    p_of_a_d = stats.studentized_range.sf(2.6 / np.sqrt(4 * 5 / (6 * 5)) * np.sqrt(2), 4, np.inf)
    assert p_of_a_d == pytest.approx(0.007913, abs=1e-6)


def groups_by_trying_everything(ranks: np.ndarray, difference: float) -> set[tuple[int, ...]]:
    """The largest sets of at least two places in which no two ranks differ by more than ``difference``."""
    alike = [
        set(chosen)
        for size in range(2, len(ranks) + 1)
        for chosen in combinations(range(len(ranks)), size)
        if all(abs(ranks[i] - ranks[j]) <= difference for i, j in combinations(chosen, 2))
    ]
    return {tuple(sorted(chosen)) for chosen in alike if not any(chosen < other for other in alike)}


@pytest.mark.parametrize("seed", range(20))
def test_groups_equal_the_largest_sets_found_by_trying_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_entries, n_scenarios = int(rng.integers(2, 8)), int(rng.integers(1, 15))
    values = rng.integers(0, 4, (n_entries, n_scenarios)) + np.arange(n_entries)[:, None] * (seed % 3)
    found = critical_difference(blocks(values.astype(float), "abcdefghijklmno"[:n_scenarios]))
    groups = {tuple(range(first, last + 1)) for first, last in found.groups}
    assert groups == groups_by_trying_everything(found.ranks, found.difference)
    assert len(groups) == len(found.groups)


def test_seeds_are_averaged_and_incomplete_scenarios_counted() -> None:
    values = np.array([[1.0, 3.0, 5.0, 1.0], [2.0, 2.5, NAN, NAN]])
    found = critical_difference(blocks(values, "aabb"))
    assert (found.n, found.n_incomplete) == (1, 1)  # in scenario a 2.0 against 2.25
    assert found.names == ("b", "a")
    assert np.isnan(found.p)


def two_models(values: np.ndarray) -> Blocks:
    """The values of entries on scenarios of two models per task, neighbours in ``values``."""
    n = values.shape[1]
    scenarios = np.array([f"task-{i // 2:02}/model-{i % 2}/gpu" for i in range(n)], dtype=object)
    return Blocks(tuple("abcdefgh"[: len(values)]), scenarios, np.arange(n), values[:, :, None])


def test_models_of_a_task_are_averaged_first() -> None:
    # On task 0, b is better on average, on task 1 worse. On task 2, b lacks a model, and on task 3 all.
    values = np.array([[1.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0], [4.0, 1.0, 1.0, 1.5, 2.0, NAN, NAN, NAN]])
    found = critical_difference(two_models(values))
    assert (found.n, found.n_incomplete) == (3, 1)
    assert found.names == ("b", "a")
    np.testing.assert_allclose(found.ranks, [4 / 3, 5 / 3])


def test_equal_entries_on_two_models_of_each_task_seldom_differ() -> None:
    """Both models of a task share its effect. As independent values, they would reject too often."""
    rng, n_draws, rejected, as_independent = np.random.default_rng(7), 300, 0, 0
    for _ in range(n_draws):
        by_task = rng.standard_normal((4, 10))
        values = np.repeat(by_task, 2, axis=1) + 0.3 * rng.standard_normal((4, 20))
        rejected += critical_difference(two_models(values)).p < 0.05
        as_independent += stats.friedmanchisquare(*values).pvalue < 0.05
    assert rejected <= stats.binom.ppf(1 - 1e-3, n_draws, 0.05)
    assert as_independent > 2 * stats.binom.ppf(1 - 1e-3, n_draws, 0.05)


def test_critical_difference_without_common_scenarios_or_differences() -> None:
    found = critical_difference(blocks(np.array([[1.0, NAN], [NAN, 1.0]]), "ab"))
    assert (found.n, found.n_incomplete) == (0, 2)
    assert np.isnan(found.difference)
    assert found.groups == ()
    alike = critical_difference(blocks(np.ones((3, 4)), "abcd"))
    assert alike.p == 1.0
    assert alike.groups == ((0, 2),)
