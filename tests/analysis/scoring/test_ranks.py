"""Average ranks: cases worked by hand, missing runs, and intervals that contain the true ranks."""

import numpy as np
import pytest
from scipy import stats

from nasbench.analysis.scoring.ranks import MIN_RANKED_TASKS, average_ranks, block_ranks, scenario_means

NAN = np.nan


def test_ranks_of_a_case_worked_by_hand() -> None:
    # Three entries in four blocks. Block 2: a tie for the first place. Block 3: all equal.
    values = [[3.0, 2.0, 5.0, 1.0], [1.0, 3.0, 5.0, 1.0], [2.0, 1.0, 4.0, 1.0]]
    expected = [[1, 2, 1.5, 2], [3, 1, 1.5, 2], [2, 3, 3, 2]]
    np.testing.assert_array_equal(block_ranks(values), expected)
    # Blocks 0 and 1 are scenario a, 2 and 3 are scenario b: the means of the scenarios are averaged.
    ranks = average_ranks(np.array(values)[:, :, None], ["a", "a", "b", "b"])
    np.testing.assert_allclose(ranks.mean[:, 0], [1.625, 1.875, 2.5])
    np.testing.assert_array_equal(ranks.n_blocks, [4, 4, 4])
    # Unequal numbers of seeds: scenario a has one block less, but the same weight.
    ranks = average_ranks(np.array(values)[:, 1:, None], ["a", "b", "b"])
    np.testing.assert_allclose(ranks.mean[:, 0], [(2 + 1.75) / 2, (1 + 1.75) / 2, (3 + 2.5) / 2])


def test_ranks_of_incomplete_blocks_are_not_stretched() -> None:
    # Block 0: complete. Block 1: two of three entries. Block 2: one entry, no rank. Block 3: empty.
    values = np.array([[3.0, 1.0, 7.0, NAN], [2.0, NAN, NAN, NAN], [1.0, 2.0, NAN, NAN]])
    np.testing.assert_array_equal(block_ranks(values), [[1, 2, NAN, NAN], [2, NAN, NAN, NAN], [3, 1, NAN, NAN]])
    ranks = average_ranks(values[:, :, None], list("abcd"))
    np.testing.assert_array_equal(ranks.mean[:, 0], [1.5, 2, 2])
    np.testing.assert_array_equal(ranks.n_blocks, [2, 1, 2])


def test_last_bits_do_not_break_ties() -> None:
    value = 0.1 + 0.2
    assert value != 0.3
    np.testing.assert_array_equal(block_ranks([[value], [0.3]]), [[1.5], [1.5]])


def test_scenario_means_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    values = rng.random((4, 9, 3))
    values[rng.random((4, 9)) < 0.3] = NAN
    scenarios = np.array(list("bbbaacccc"))
    found = scenario_means(values, scenarios)
    for entry in range(4):
        for i, name in enumerate("abc"):
            own = values[entry, scenarios == name]
            own = own[~np.isnan(own).any(axis=1)]
            np.testing.assert_allclose(found[entry, i], own.mean(axis=0) if len(own) else [NAN] * 3)


def test_task_with_two_models_has_the_weight_of_one() -> None:
    # Task a has two models, b has one. Entry 0 is first in a/x and second elsewhere.
    values = np.array([[2.0, 2.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0]])
    ranks = average_ranks(values[:, :, None], ["a/x/gpu", "a/x/gpu", "a/y/gpu", "b/x/gpu"])
    np.testing.assert_allclose(ranks.mean[:, 0], [((1 + 2) / 2 + 2) / 2, ((2 + 1) / 2 + 1) / 2])


def test_interval_is_students_over_task_means_within_the_possible_ranks() -> None:
    rng = np.random.default_rng(2)
    values = rng.random((4, 16, 1))
    scenarios = [f"task-{i // 2}/model-{i % 2}" for i in range(16)]
    found = average_ranks(values, scenarios)
    for entry, ranks in enumerate(block_ranks(values)[:, :, 0].reshape(4, 8, 2).mean(axis=2)):
        expected = stats.ttest_1samp(ranks, 0.0).confidence_interval()
        assert found.low[entry, 0] == pytest.approx(max(expected.low, 1.0))
        assert found.high[entry, 0] == pytest.approx(min(expected.high, 4.0))


def test_fewer_than_six_tasks_have_no_interval() -> None:
    for n_tasks, has_interval in ((MIN_RANKED_TASKS - 1, False), (MIN_RANKED_TASKS, True)):
        values = np.random.default_rng(0).random((3, 10 * n_tasks, 2))
        scenarios = [f"task-{i}/model-{k}" for i in range(n_tasks) for k in range(2)]
        ranks = average_ranks(values, np.repeat(scenarios, 5))
        assert np.isfinite(ranks.low).all() == np.isfinite(ranks.high).all() == has_interval
        assert np.isfinite(ranks.mean).all()


@pytest.mark.parametrize(("n_scenarios", "n_seeds"), [(6, 3), (8, 10), (16, 10)])
def test_intervals_contain_the_true_average_rank(n_scenarios: int, n_seeds: int) -> None:
    """Five methods that differ on average and by task; the true ranks are those over 100,000 tasks."""
    rng, strength = np.random.default_rng(1), np.linspace(0.0, 1.0, 5)[:, None]

    def draw(n: int) -> np.ndarray:
        by_task = strength + rng.standard_normal((5, n))
        return (by_task[:, :, None] + 0.5 * rng.standard_normal((5, n, n_seeds))).reshape(5, -1)

    truth = block_ranks(draw(100_000 // n_seeds)).mean(axis=1)[:, None]
    scenarios, covered, n_draws = np.repeat(np.arange(n_scenarios), n_seeds), 0, 300
    for _ in range(n_draws):
        found = average_ranks(draw(n_scenarios)[:, :, None], scenarios)
        covered += int(((found.low <= truth) & (truth <= found.high)).sum())
    # Ranks have bounds and are no normal values, so the interval covers a little less than 95 of 100.
    assert 0.91 <= covered / (5 * n_draws) <= 0.98


@pytest.mark.parametrize(("n_tasks", "n_seeds"), [(6, 3), (8, 10)])
def test_intervals_contain_the_true_average_rank_with_two_models_of_each_task(n_tasks: int, n_seeds: int) -> None:
    """As above, with two models per task that share its effect: 0.8 of the variance between scenarios."""
    rng, strength = np.random.default_rng(3), np.linspace(0.0, 1.0, 5)[:, None]

    def draw(n: int) -> np.ndarray:
        shared, own = rng.standard_normal((5, n, 1)), rng.standard_normal((5, n, 2))
        by_scenario = strength[..., None] + 0.8**0.5 * shared + 0.2**0.5 * own
        return (by_scenario[..., None] + 0.5 * rng.standard_normal((5, n, 2, n_seeds))).reshape(5, -1)

    truth = block_ranks(draw(100_000 // n_seeds)).mean(axis=1)[:, None]
    names, n_draws, covered, too_few = [f"task-{i}/model-{k}" for i in range(n_tasks) for k in range(2)], 300, 0, 0
    for _ in range(n_draws):
        values = draw(n_tasks)[:, :, None]
        found = average_ranks(values, np.repeat(names, n_seeds))
        covered += int(((found.low <= truth) & (truth <= found.high)).sum())
        # What was done before: every scenario as a task of its own.
        apart = average_ranks(values, np.repeat(np.arange(2 * n_tasks), n_seeds))
        too_few += int(((apart.low <= truth) & (truth <= apart.high)).sum())
    assert 0.91 <= covered / (5 * n_draws) <= 0.98
    assert too_few / (5 * n_draws) < 0.87


def test_inputs_stay_unchanged() -> None:
    values = np.random.default_rng(0).random((3, 4, 2))
    values.setflags(write=False)
    copy = values.copy()
    average_ranks(values, list("aabb"))
    np.testing.assert_array_equal(values, copy)


def test_no_entries_or_a_single_entry_have_no_ranks() -> None:
    assert average_ranks(np.zeros((0, 0, 5)), []).mean.shape == (0, 5)
    alone = average_ranks(np.ones((1, 3, 2)), list("abc"))
    assert np.isnan(alone.mean).all()
    assert alone.n_blocks.tolist() == [0]


def test_average_ranks_reject_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 1\)"):
        average_ranks(np.zeros((2, 3, 1)), ["a"])
