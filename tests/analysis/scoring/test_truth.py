"""The true front of a table: recomputed by brute force, and regret against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nasbench.analysis.scoring.truth import Truth
from nasbench.networks.subnetwork import Dimensions
from nasbench.tables.table import Table, TableInfo, grid_of, write_table

DIMS = Dimensions(n_layers=3, n_heads=4, n_units=8, hidden_size=16, head_size=4, n_fixed_params=500)


def make_table(path: Path, error_of) -> Table:
    """A table whose errors follow a function of heads, units and layers."""
    info = TableInfo(
        task="made-up", model="tiny", seed=0, metric="accuracy", metrics=("accuracy",), unit_step=2,
        dimensions=DIMS.to_json(), options={}, track="demo", training_s=10.0, n_validation=100,
        depth_shares=(0.0, 0.4, 0.7, 1.0), depth_0_s=0.1, clock="wall", suite_version="0",
    )  # fmt: skip
    grid = grid_of(info.space)
    shape = tuple(info.space.upper + 1)
    metrics = 1 - np.array([error_of(h, 2 * u, n) for h, u, n in grid]).reshape(*shape, 1)
    write_table(path, info, metrics, np.clip(metrics - 0.01, 0, 1), np.ones(shape[:2]))
    return Table(path)


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    rng = np.random.default_rng(0)
    return Truth(make_table(tmp_path / "t.parquet", lambda h, u, n: 0.7 - 0.002 * n * (8 * h + u) + 0.1 * rng.random()))


def test_true_front_is_that_of_brute_force(truth: Truth) -> None:
    values = truth.table.values
    kept = np.flatnonzero(truth.table.is_first_copy)

    def is_beaten(i: int) -> bool:
        return any((values[j] <= values[i]).all() and (values[j] < values[i]).any() for j in kept)

    assert np.flatnonzero(truth.front).tolist() == [i for i in kept if not is_beaten(i)]


def test_networks_without_blocks_count_once(truth: Truth) -> None:
    assert truth.networks.sum() == 5 * 5 * 4 - (5 * 5 + 3) + 1


def test_hypervolume_is_the_area_under_the_staircase(truth: Truth) -> None:
    """Recomputed from the normalised front, point by point."""
    points = truth.normalise(truth.table.values[truth.front])
    points = points[np.argsort(points[:, 1])]
    edges = np.append(points[1:, 1], 2.0)
    assert truth.hypervolume == pytest.approx(((2 - points[:, 0]) * (edges - points[:, 1])).sum())
    assert 1 < truth.hypervolume < 4


def test_regret_falls_to_zero_when_the_front_is_found(truth: Truth) -> None:
    order = np.random.default_rng(1).permutation(np.flatnonzero(truth.networks))
    regret = truth.hypervolume - truth.found(truth.table.values[order])
    assert (np.diff(regret) <= 1e-12).all()
    assert regret[-1] == pytest.approx(0, abs=1e-9)
    last = max(np.flatnonzero(np.isin(order, np.flatnonzero(truth.front))))
    assert regret[last - 1] > 1e-6
    assert regret[last] == pytest.approx(0, abs=1e-9)


def test_failed_evaluations_add_nothing(truth: Truth) -> None:
    values = truth.table.values[[50, 60, 70]]
    values[1, 0] = np.nan
    found = truth.found(values)
    assert found[1] == found[0]


def test_failed_networks_are_not_in_the_truth(tmp_path: Path) -> None:
    table = make_table(tmp_path / "t.parquet", lambda h, u, n: np.nan if (h, u, n) == (4, 8, 3) else 0.5)
    truth = Truth(table)
    assert not truth.networks[-1]
    assert truth.front.sum() == 1  # the smallest network: all errors are equal
    assert truth.hypervolume == pytest.approx(4.0)
