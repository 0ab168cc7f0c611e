"""Weights of resampled blocks, and intervals that cover what they say."""

import numpy as np
import pytest
from scipy.stats import binom, t

from nasbench.analysis.bootstrap import mean_interval, resample_cells, resample_repetitions

CELLS = np.array(list("aaabbcccccc"))


def test_weights_sum_to_one_and_average_to_equal_cells() -> None:
    for resample in (resample_cells, resample_repetitions):
        weights = resample(CELLS, np.random.default_rng(0), 20_000)
        np.testing.assert_allclose(weights.sum(axis=1), 1.0)
        expected = 1.0 / 3 / np.array([3, 3, 3, 2, 2, 6, 6, 6, 6, 6, 6])
        np.testing.assert_allclose(weights.mean(axis=0), expected, rtol=0.05)


def test_cells_vary_in_one_scheme_and_not_in_the_other() -> None:
    in_a = CELLS == "a"
    fixed = resample_repetitions(CELLS, np.random.default_rng(0))[:, in_a].sum(axis=1)
    drawn = resample_cells(CELLS, np.random.default_rng(0))[:, in_a].sum(axis=1)
    np.testing.assert_allclose(fixed, 1 / 3)
    # Of three draws with replacement, cell a is missing with probability 8/27.
    assert (drawn == 0).mean() == pytest.approx(8 / 27, abs=0.05)


def test_cells_with_one_block_are_resampled_among_each_other() -> None:
    weights = resample_repetitions(list("abc"), np.random.default_rng(0))
    assert len(np.unique(weights[:, 0].round(9))) == 4  # drawn 0 to 3 times
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).random(11)
    first, second = (mean_interval(values, CELLS, np.random.default_rng(4)) for _ in range(2))
    assert first == second


def test_interval_of_little_or_nothing() -> None:
    assert np.isnan(mean_interval([], [], np.random.default_rng(0))).all()
    mean, low, high = mean_interval([3.0], ["a"], np.random.default_rng(0))
    assert mean == 3.0
    assert np.isnan([low, high]).all()
    assert mean_interval([3.0, 3.0], ["a", "a"], np.random.default_rng(0)) == (3.0, 3.0, 3.0)


@pytest.mark.parametrize(("n_cells", "n_seeds"), [(1, 10), (1, 30), (8, 3), (16, 1)])
def test_intervals_cover_the_truth_in_about_95_of_100_draws(n_cells: int, n_seeds: int) -> None:
    rng = np.random.default_rng(11)
    n_draws, cells = 600, np.repeat(np.arange(n_cells), n_seeds)
    covered = 0
    for _ in range(n_draws):
        values = 5.0 + rng.standard_normal(len(cells))
        _, low, high = mean_interval(values, cells, rng, 400)
        covered += low <= 5.0 <= high
    # What a right interval does, with less than one chance in a thousand of failing at each end.
    assert binom.ppf(1e-3, n_draws, 0.93) <= covered <= binom.ppf(1 - 1e-3, n_draws, 0.97)


def test_interval_is_near_students_for_normal_values() -> None:
    values = np.random.default_rng(2).standard_normal(12)
    mean, low, high = mean_interval(values, np.zeros(12), np.random.default_rng(3), 20_000)
    half = t.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert (low, high) == (pytest.approx(mean - half, abs=0.12 * half), pytest.approx(mean + half, abs=0.12 * half))
