"""Fronts, hypervolume and its expected improvement with three objectives, each against slow and obvious answers."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from nasbench.analysis.scoring.hypervolume import over_time
from nasbench.search.expected_improvement import expected_hypervolume_improvement, reference_point
from nasbench.search.pareto import (
    LargeFront,
    crowding_distances,
    dominates,
    empty_front,
    hypervolume,
    pareto_mask,
)

REFERENCE = np.array([1.0, 1.0, 1.0])


def _boxes(points, reference=REFERENCE):
    """The grid of boxes between all coordinates of the points and the reference: edges of each axis."""
    inside = points[(points < reference).all(axis=1)] if len(points) else points
    return [np.unique([*inside[:, k], reference[k]]) for k in range(3)], inside


def _volume_by_boxes(points, reference=REFERENCE):
    """Hypervolume as the sum of all boxes of the grid whose lower corner is dominated."""
    edges, inside = _boxes(points, reference)
    total = 0.0
    for corner in itertools.product(*(range(len(axis) - 1) for axis in edges)):
        lower = np.array([axis[i] for axis, i in zip(edges, corner, strict=True)])
        upper = np.array([axis[i + 1] for axis, i in zip(edges, corner, strict=True)])
        if (inside <= lower).all(axis=1).any():
            total += np.prod(upper - lower)
    return total


def _improvement_by_boxes(mean, deviation, costs, front):
    """Expected improvement as a sum over boxes of the two costs; in each, errors below the front's lowest count."""
    inside = front[(front < REFERENCE).all(axis=1)]
    axes = [np.unique([*inside[:, k], costs[k - 1], 1.0]) for k in (1, 2)]
    axes = [axis[axis <= 1.0] for axis in axes]
    total = 0.0
    for i, j in itertools.product(range(len(axes[0]) - 1), range(len(axes[1]) - 1)):
        low = np.array([axes[0][i], axes[1][j]])
        if (low < costs).any():
            continue
        reached = inside[(inside[:, 1:] <= low).all(axis=1), 0]
        best = min([1.0, *reached])
        z = (best - mean) / deviation
        gain = (best - mean) * norm.cdf(z) + deviation * norm.pdf(z)
        total += gain * (axes[0][i + 1] - low[0]) * (axes[1][j + 1] - low[1])
    return total


@pytest.mark.parametrize("seed", range(6))
def test_hypervolume_is_the_volume_of_the_dominated_boxes(seed):
    rng = np.random.default_rng(seed)
    points = rng.random((9, 3)) * 1.1
    assert hypervolume(points, REFERENCE) == pytest.approx(_volume_by_boxes(points), rel=1e-12)
    draws = rng.random((200_000, 3))
    dominated = (points[None] <= draws[:, None]).all(axis=2).any(axis=1).mean()
    assert hypervolume(points, REFERENCE) == pytest.approx(dominated, abs=5e-3)


@pytest.mark.parametrize("seed", range(6))
def test_expected_improvement_is_that_of_the_box_decomposition(seed):
    rng = np.random.default_rng(seed)
    front, costs = rng.random((8, 3)), rng.random((5, 2))
    mean, deviation = rng.random(5), 0.05 + 0.2 * rng.random(5)
    found = expected_hypervolume_improvement(mean, deviation, costs, front, REFERENCE)
    wanted = [_improvement_by_boxes(*each, front) for each in zip(mean, deviation, costs, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_expected_improvement_is_the_mean_over_sampled_errors():
    rng = np.random.default_rng(1)
    front, costs = rng.random((6, 3)), np.array([[0.3, 0.4], [0.7, 0.1], [0.05, 0.9]])
    mean, deviation = np.array([0.3, 0.5, 0.2]), np.array([0.1, 0.2, 0.05])
    found = expected_hypervolume_improvement(mean, deviation, costs, front, REFERENCE)
    before = hypervolume(front, REFERENCE)
    for i in range(3):
        errors = rng.normal(mean[i], deviation[i], size=4000)
        gains = [hypervolume(np.vstack([front, [error, *costs[i]]]), REFERENCE) - before for error in errors]
        assert found[i] == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / np.sqrt(len(gains)))


def test_expected_improvement_of_a_certain_error_is_the_exact_gain():
    rng = np.random.default_rng(2)
    front, points = rng.random((7, 3)), rng.random((20, 3))
    found = expected_hypervolume_improvement(points[:, 0], np.zeros(20), points[:, 1:], front, REFERENCE)
    gains = [hypervolume(np.vstack([front, point]), REFERENCE) - hypervolume(front, REFERENCE) for point in points]
    np.testing.assert_allclose(found, gains, atol=1e-12)


def test_a_third_objective_that_never_differs_adds_its_width_as_a_factor():
    rng = np.random.default_rng(3)
    front, costs, mean, deviation = rng.random((6, 2)), rng.random(9), rng.random(9), 0.1 * np.ones(9)
    flat = expected_hypervolume_improvement(mean, deviation, costs, front, [1.0, 1.0])
    front_3, costs_3 = np.column_stack([front, np.full(6, 0.25)]), np.column_stack([costs, np.full(9, 0.25)])
    found = expected_hypervolume_improvement(mean, deviation, costs_3, front_3, REFERENCE)
    np.testing.assert_allclose(found, 0.75 * flat, rtol=1e-12)


def test_one_column_of_costs_gives_what_an_array_without_columns_gives():
    rng = np.random.default_rng(4)
    front, costs, mean, deviation = rng.random((6, 2)), rng.random(9), rng.random(9), 0.1 * np.ones(9)
    np.testing.assert_array_equal(
        expected_hypervolume_improvement(mean, deviation, costs[:, None], front, [1.0, 1.0]),
        expected_hypervolume_improvement(mean, deviation, costs, front, [1.0, 1.0]),
    )


def test_the_reference_point_lies_beyond_the_full_network_in_every_cost():
    np.testing.assert_allclose(reference_point(np.array([[0.2, 0.5, 0.4], [0.4, 0.3, 0.2]])), [0.42, 1.07, 1.08])


@pytest.mark.parametrize("seed", range(4))
def test_a_growing_front_holds_what_no_other_point_dominates(seed):
    points = np.random.default_rng(seed).integers(0, 4, size=(40, 3)) / 4
    front, members = empty_front(3), set()
    assert isinstance(front, LargeFront)
    for i, point in enumerate(points):
        joins = not dominates(points[:i], point).any()
        assert front.would_hold(*point) == joins
        members = (members | ({i} if joins else set())) - set(front.add(tuple(point), i))
        wanted = {j for j in range(i + 1) if not dominates(points[: i + 1], points[j]).any()}
        assert members == wanted
        assert set(np.flatnonzero(pareto_mask(points[: i + 1]))) == wanted
        np.testing.assert_array_equal(front.values, np.unique(points[sorted(wanted)], axis=0))


def test_crowding_distances_add_the_gaps_between_neighbours_in_each_objective():
    front = np.array([[0.0, 4.0, 2.0], [1.0, 2.0, 3.0], [2.0, 1.0, 1.0], [4.0, 0.0, 4.0]])
    found = crowding_distances(front)
    assert np.isinf(found[[0, 2, 3]]).all()  # an end in at least one objective
    assert found[1] == pytest.approx(2 / 4 + 3 / 4 + 2 / 3)
    assert crowding_distances(front[:1]) == [np.inf]


def test_hypervolume_over_time_grows_to_that_of_all_points_of_each_run():
    rng = np.random.default_rng(0)
    values, times, runs = 2 * rng.random((60, 3)), rng.random(60), rng.integers(0, 3, size=60)
    grid = np.linspace(0.1, 1, 10)
    found = over_time(values, times, runs, 4, grid, (2.0, 2.0, 2.0))
    for run, step in itertools.product(range(4), range(10)):
        seen = (runs == run) & (times <= grid[step])
        assert found[run, step] == pytest.approx(hypervolume(values[seen], (2.0, 2.0, 2.0)), abs=1e-12)
