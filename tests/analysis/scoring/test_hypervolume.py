"""Hypervolume of many runs over time, checked against a closed form and two libraries."""

import moocore
import numpy as np
import pytest
from pymoo.indicators.hv import HV

from nasbench.analysis.scoring import hypervolume

REFERENCE = np.array([2.0, 2.0])
N_POINT_SETS = 3000


def closed_form(points: np.ndarray) -> float:
    """Sum of rectangles under the staircase of the points inside the reference."""
    inside = sorted((x, y) for x, y in points if x < REFERENCE[0] and y < REFERENCE[1])
    area, ceiling = 0.0, REFERENCE[1]
    for x, y in inside:
        if y < ceiling:
            area += (REFERENCE[0] - x) * (ceiling - y)
            ceiling = y
    return area


def generated_point_sets(rng: np.random.Generator) -> list[np.ndarray]:
    """Sets of 0 to 60 points, some outside the reference: random, on a coarse grid, on one front, with duplicates."""
    point_sets = [np.empty((0, 2)), np.array([[2.0, 2.0]]), np.array([[2.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 0.0]])]
    while len(point_sets) < N_POINT_SETS:
        n = int(rng.integers(0, 31))
        spread = rng.uniform(-0.5, 2.5, (n, 2))
        kind = len(point_sets) % 4
        if kind == 1:
            spread = rng.integers(0, 5, (n, 2)) / 2.0
        elif kind == 2:
            spread[:, 1] = 1.9 - spread[:, 0]
        elif kind == 3:
            spread = np.repeat(spread, 2, axis=0)
        point_sets.append(spread)
    return point_sets


def test_final_hypervolume_equals_closed_form_moocore_and_pymoo() -> None:
    point_sets = generated_point_sets(np.random.default_rng(1))
    runs = np.repeat(np.arange(len(point_sets)), [len(points) for points in point_sets])
    times = np.zeros(len(runs))
    found = hypervolume.over_time(np.concatenate(point_sets), times, runs, len(point_sets), grid=[0.0])[:, 0]
    indicator = HV(ref_point=REFERENCE)
    by_form = np.array([closed_form(points) for points in point_sets])
    inside = [points[(points < REFERENCE).all(axis=1)] for points in point_sets]
    by_moocore = [moocore.hypervolume(points, ref=REFERENCE) if len(points) else 0.0 for points in inside]
    by_pymoo = [indicator(points) if len(points) else 0.0 for points in inside]
    assert len({len(points) for points in point_sets}) > 30
    assert (by_form == 0).any()
    np.testing.assert_allclose(found, by_form, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found, by_moocore, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found, by_pymoo, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_over_time_equals_the_closed_form_at_every_time_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, n_runs, grid = 300, 7, np.linspace(0.1, 1.0, 13)
    values = rng.integers(0, 12, (n, 2)) / 5.0 if seed % 2 else rng.uniform(0, 2.2, (n, 2))
    times, runs = rng.uniform(0, 1.2, n), rng.integers(0, n_runs - 1, n)  # the last run has no point
    times[:13] = grid  # an evaluation that ends on a grid point counts from it
    found = hypervolume.over_time(values, times, runs, n_runs, grid)
    for run in range(n_runs):
        for step, time in enumerate(grid):
            arrived = values[(runs == run) & (times <= time)]
            assert found[run, step] == pytest.approx(closed_form(arrived), abs=1e-12)
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found[-1] == 0).all()


def test_order_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    values, times, runs = rng.integers(0, 20, (500, 2)) / 10.0, rng.random(500), rng.integers(0, 40, 500)
    grid = np.linspace(0.1, 1, 10)
    order = rng.permutation(500)
    shuffled = hypervolume.over_time(values[order], times[order], runs[order], 40, grid)
    np.testing.assert_allclose(shuffled, hypervolume.over_time(values, times, runs, 40, grid), rtol=0, atol=1e-12)


def test_front_that_holds_every_point_equals_moocore() -> None:
    x = np.random.default_rng(4).random(400)
    values, times = np.column_stack([x, 1 - x]), np.linspace(0, 1, 400)
    found = hypervolume.over_time(values, times, np.zeros(400, int), 1, times[::40])
    expected = [moocore.hypervolume(values[: 40 * i + 1], ref=REFERENCE) for i in range(10)]
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-12)


def test_no_runs_no_points_and_no_grid_give_zeros() -> None:
    nothing = np.zeros((0, 2)), np.zeros(0), np.zeros(0, int)
    np.testing.assert_array_equal(hypervolume.over_time(*nothing, 2, [0.5, 1.0]), np.zeros((2, 2)))
    assert hypervolume.over_time(*nothing, 0, [0.5]).shape == (0, 1)
    assert hypervolume.over_time([[1.0, 1.0]], [0.1], [0], 1, []).shape == (1, 0)


def test_nan_outside_and_late_points_add_nothing() -> None:
    values = np.array([[1.0, 1.0], [np.nan, 0.0], [0.0, np.nan], [3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    times = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.9])
    found = hypervolume.over_time(values, times, np.zeros(6, int), 1, [0.05, 0.1, 0.5])
    np.testing.assert_array_equal(found, [[0.0, 1.0, 1.0]])


def test_inputs_stay_unchanged() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.random((50, 2)), rng.random(50), rng.integers(0, 3, 50), np.linspace(0, 1, 5), np.full(2, 2.0)]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    values, times, runs, grid, reference = arrays
    hypervolume.over_time(values, times, runs, 3, grid, reference)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_over_time_rejects_lengths_that_differ_and_descending_grids() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(2,\)"):
        hypervolume.over_time(np.zeros((3, 2)), np.zeros(2), np.zeros(3, int), 1, [1.0])
    with pytest.raises(ValueError, match="ascending"):
        hypervolume.over_time(np.zeros((1, 2)), np.zeros(1), np.zeros(1, int), 1, [1.0, 0.5])
