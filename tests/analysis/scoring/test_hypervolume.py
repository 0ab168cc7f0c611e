"""Hypervolume of many runs over time against a closed form and two libraries."""

import moocore
import numpy as np
import pytest
from pymoo.indicators.hv import HV

from nasbench.analysis.scoring import hypervolume

REFERENCE = np.array([2.0, 2.0])
N_FRONTS = 3000


def closed_form(points: np.ndarray) -> float:
    """Sum of rectangles under the staircase of the points inside the reference."""
    inside = sorted((x, y) for x, y in points if x < REFERENCE[0] and y < REFERENCE[1])
    area, ceiling = 0.0, REFERENCE[1]
    for x, y in inside:
        if y < ceiling:
            area += (REFERENCE[0] - x) * (ceiling - y)
            ceiling = y
    return area


def generated_fronts(rng: np.random.Generator) -> list[np.ndarray]:
    """Sets of 0 to 30 points: spread, on a coarse grid (ties and duplicates), on one front, outside the reference."""
    fronts = [np.empty((0, 2)), np.array([[2.0, 2.0]]), np.array([[2.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 0.0]])]
    while len(fronts) < N_FRONTS:
        n = int(rng.integers(0, 31))
        spread = rng.uniform(-0.5, 2.5, (n, 2))
        kind = len(fronts) % 4
        if kind == 1:
            spread = rng.integers(0, 5, (n, 2)) / 2.0
        elif kind == 2:
            spread[:, 1] = 1.9 - spread[:, 0]
        elif kind == 3:
            spread = np.repeat(spread, 2, axis=0)
        fronts.append(spread)
    return fronts


def test_final_agrees_with_closed_form_moocore_and_pymoo_on_thousands_of_fronts() -> None:
    fronts = generated_fronts(np.random.default_rng(1))
    runs = np.repeat(np.arange(len(fronts)), [len(front) for front in fronts])
    found = hypervolume.final(np.concatenate(fronts), runs, len(fronts))
    indicator = HV(ref_point=REFERENCE)
    by_form = np.array([closed_form(front) for front in fronts])
    inside = [front[(front < REFERENCE).all(axis=1)] for front in fronts]
    by_moocore = [moocore.hypervolume(front, ref=REFERENCE) if len(front) else 0.0 for front in inside]
    by_pymoo = [indicator(front) if len(front) else 0.0 for front in inside]
    assert len({len(front) for front in fronts}) > 30
    assert (by_form == 0).any()
    np.testing.assert_allclose(found, by_form, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found, by_moocore, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found, by_pymoo, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_over_time_agrees_with_one_call_a_run_and_time_step(seed: int) -> None:
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


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    values, times, runs = rng.random((500, 2)), rng.random(500), rng.integers(0, 40, 500)
    values[:, 1] = 1 - values[:, 0]  # nothing is dominated, so nothing is dropped beforehand
    grid = np.linspace(0.1, 1, 10)
    whole = hypervolume.over_time(values, times, runs, 40, grid)
    monkeypatch.setattr(hypervolume, "_MAX_CELLS", 100)
    np.testing.assert_array_equal(hypervolume.over_time(values, times, runs, 40, grid), whole)


def test_nan_points_outside_and_late_points_add_nothing() -> None:
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
    hypervolume.regret(values, runs)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_wrong_shapes_are_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(2,\)"):
        hypervolume.over_time(np.zeros((3, 2)), np.zeros(2), np.zeros(3, int), 1, [1.0])
    with pytest.raises(ValueError, match="ascending"):
        hypervolume.over_time(np.zeros((1, 2)), np.zeros(1), np.zeros(1, int), 1, [1.0, 0.5])


def test_regret_is_measured_from_the_best_of_the_scenario() -> None:
    hypervolumes = [[1.0, 3.0], [2.0, 2.5], [0.5, 0.75], [np.nan, np.nan]]
    found = hypervolume.regret(hypervolumes, ["a", "a", "b", "b"])
    np.testing.assert_array_equal(found, [[2.0, 0.0], [1.0, 0.5], [0.25, 0.0], [np.nan, np.nan]])
