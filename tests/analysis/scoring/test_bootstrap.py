"""Weights of resampled scenarios and seeds."""

import numpy as np
import pytest

from nasbench.analysis.scoring.bootstrap import resample_scenarios

SCENARIOS = np.array(list("aaabbcccccc"))


def test_weights_sum_to_one_and_scenarios_weigh_the_same_on_average() -> None:
    weights = resample_scenarios(SCENARIOS, np.random.default_rng(0), 20_000)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    expected = 1.0 / 3 / np.array([3, 3, 3, 2, 2, 6, 6, 6, 6, 6, 6])
    np.testing.assert_allclose(weights.mean(axis=0), expected, rtol=0.05)


def test_scenarios_and_blocks_are_both_resampled() -> None:
    drawn = resample_scenarios(SCENARIOS, np.random.default_rng(0))
    # Of three draws with replacement, scenario a is missing with probability 8/27.
    in_a = drawn[:, SCENARIOS == "a"]
    assert (in_a.sum(axis=1) == 0).mean() == pytest.approx(8 / 27, abs=0.05)
    # Where a is drawn once, its first block is missing with probability (2/3)^3.
    once = in_a[np.isclose(in_a.sum(axis=1), 1 / 3)]
    assert (once[:, 0] == 0).mean() == pytest.approx(8 / 27, abs=0.06)


def test_same_seed_gives_the_same_weights() -> None:
    first, second = (resample_scenarios(SCENARIOS, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert resample_scenarios([], np.random.default_rng(0), 5).shape == (5, 0)
