"""A table of the tabular benchmark whose errors follow a formula with noise."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from nasbench.networks.subnetwork import Dimensions
from nasbench.tables.table import Table, TableInfo, grid_of, write_table
from nasbench.training.configuration import SuperNetworkOptions

DIMS = Dimensions(n_layers=4, n_heads=8, n_units=64, hidden_size=32, head_size=4, n_fixed_params=2000)


def formula_table(path: Path, clock: str = "wall", seed: int = 0) -> Table:
    """Write a table of ``demo`` with ``demo-bert``; a pass takes half a second.

    Args:
        clock: of its seconds, ``wall`` or ``cpu``.
        seed: of the noise.
    """
    info = TableInfo(
        task="demo", model="demo-bert", seed=0, metric="accuracy", metrics=("accuracy",), unit_step=4,
        dimensions=DIMS.to_json(), options=json.loads(json.dumps(dataclasses.asdict(SuperNetworkOptions()))),
        track="demo", training_s=50.0, n_validation=100, depth_shares=(0.0, 0.3, 0.6, 0.9, 1.0), depth_0_s=0.1,
        clock=clock, suite_version="0",
    )  # fmt: skip
    shape = tuple(info.space.upper + 1)
    h, u, n = (grid_of(info.space) / info.space.upper).T
    noise = np.random.default_rng(seed).normal(0, 0.01, len(h))
    accuracy = (0.5 + 0.4 * np.tanh(2 * n * (0.6 * h + 0.4 * u)) + noise).reshape(*shape, 1)
    write_table(path, info, accuracy, accuracy - 0.02, np.full(shape[:2], 0.5))
    return Table(path)
