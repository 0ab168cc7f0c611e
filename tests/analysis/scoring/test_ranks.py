"""Average ranks: a case worked by hand, missing runs, and bands checked against a plain loop."""

import numpy as np
import pytest
from scipy.stats import rankdata

from nasbench.analysis.scoring.bootstrap import resample_scenarios
from nasbench.analysis.scoring.ranks import block_ranks, bootstrap_ranks

NAN = np.nan


def test_ranks_of_a_case_worked_by_hand() -> None:
    # Three entries in four blocks. Block 2: a tie for the first place. Block 3: all equal.
    values = [[3.0, 2.0, 5.0, 1.0], [1.0, 3.0, 5.0, 1.0], [2.0, 1.0, 4.0, 1.0]]
    expected = [[1, 2, 1.5, 2], [3, 1, 1.5, 2], [2, 3, 3, 2]]
    np.testing.assert_array_equal(block_ranks(values), expected)
    # Blocks 0 and 1 are scenario a, 2 and 3 are scenario b: the scenarios' means are averaged.
    bands = bootstrap_ranks(np.array(values)[:, :, None], ["a", "a", "b", "b"], np.random.default_rng(0))
    np.testing.assert_allclose(bands.mean[:, 0], [1.625, 1.875, 2.5])
    np.testing.assert_array_equal(bands.n_blocks, [4, 4, 4])
    # Unequal numbers of seeds: scenario a has one block less, but the same weight.
    bands = bootstrap_ranks(np.array(values)[:, 1:, None], ["a", "b", "b"], np.random.default_rng(0))
    np.testing.assert_allclose(bands.mean[:, 0], [(2 + 1.75) / 2, (1 + 1.75) / 2, (3 + 2.5) / 2])


def test_missing_runs_stretch_the_other_ranks_and_are_counted() -> None:
    # Block 0: complete. Block 1: the second of two ranks like the third of three. Block 2: alone, no rank. Block 3:
    # empty.
    values = np.array([[3.0, 1.0, 7.0, NAN], [2.0, NAN, NAN, NAN], [1.0, 2.0, NAN, NAN]])
    np.testing.assert_array_equal(block_ranks(values), [[1, 3, NAN, NAN], [2, NAN, NAN, NAN], [3, 1, NAN, NAN]])
    bands = bootstrap_ranks(values[:, :, None], list("abcd"), np.random.default_rng(0))
    np.testing.assert_array_equal(bands.mean[:, 0], [2, 2, 2])
    np.testing.assert_array_equal(bands.n_blocks, [2, 1, 2])
    assert bands.n_alone == 1


def test_last_bits_do_not_break_ties() -> None:
    value = 0.1 + 0.2
    assert value != 0.3
    np.testing.assert_array_equal(block_ranks([[value], [0.3]]), [[1.5], [1.5]])


def plain_bands(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One call of rankdata per sample, block and time step; the weights say how often a block was drawn."""
    n_entries, n_blocks, n_times = values.shape
    samples = np.zeros((len(weights), n_entries, n_times))
    for sample, weight in zip(samples, weights, strict=True):
        for block in range(n_blocks):
            for time in range(n_times):
                sample[:, time] += weight[block] * rankdata(-values[:, block, time])
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    return low, high


def test_bands_equal_a_plain_loop_over_samples() -> None:
    values = np.random.default_rng(5).integers(0, 9, (4, 9, 3)).astype(float)
    scenarios = np.array(list("aaabbcccc"))
    found = bootstrap_ranks(values, scenarios, np.random.default_rng(7), n_samples=60)
    low, high = plain_bands(values, resample_scenarios(scenarios, np.random.default_rng(7), 60))
    np.testing.assert_allclose(found.low, low, atol=1e-12)
    np.testing.assert_allclose(found.high, high, atol=1e-12)
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high).all()
    assert (found.low < found.high).any()


def test_inputs_stay_unchanged() -> None:
    values = np.random.default_rng(0).random((3, 4, 2))
    values.setflags(write=False)
    copy = values.copy()
    bootstrap_ranks(values, list("aabb"), np.random.default_rng(0), 10)
    np.testing.assert_array_equal(values, copy)


def test_no_entries_or_a_single_entry_have_no_ranks() -> None:
    bands = bootstrap_ranks(np.zeros((0, 0, 5)), [], np.random.default_rng(0))
    assert bands.mean.shape == (0, 5)
    alone = bootstrap_ranks(np.ones((1, 3, 2)), list("abc"), np.random.default_rng(0))
    assert np.isnan(alone.mean).all()
    assert alone.n_alone == 3


def test_bootstrap_ranks_rejects_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 1\)"):
        bootstrap_ranks(np.zeros((2, 3, 1)), ["a"], np.random.default_rng(0))
