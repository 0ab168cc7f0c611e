"""What ``nasbench zero-shot`` has recorded beside runs, as a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

COLUMNS = {
    **dict.fromkeys(("run", "entry", "scenario"), "str"),
    "seed": "int64",
    **dict.fromkeys(("task", "metric"), "str"),
    "n_examples": "int64",
    "index": "int64",
    "is_full": "bool",
    **dict.fromkeys(("params", "value", "low", "high", "chance"), "float64"),
}


def measured(runs: pd.DataFrame) -> pd.DataFrame:
    """All networks of runs that were measured on tasks without training.

    Args:
        runs: as in :class:`~nasbench.analysis.reading.results.Results`.

    Returns:
        One row for each run, task and network: ``run, entry, scenario, seed`` of the run, ``task, metric, n_examples``,
        ``index, is_full, params`` of the network, and its ``value`` with the 95 % interval ``low, high``. ``chance`` is
        the metric of a constant answer.
    """
    rows: list[dict[str, Any]] = []
    shared = ["run", "entry", "scenario", "seed"]
    for run in runs[[*shared, "zero_shot"]].to_dict("records"):
        for on_task in run["zero_shot"]:
            of_task = {name: getattr(on_task, name) for name in ("task", "metric", "n_examples", "chance")}
            for network in on_task.networks:
                of_network = {name: getattr(network, name) for name in COLUMNS if hasattr(network, name)}
                rows.append({**{column: run[column] for column in shared}, **of_task, **of_network})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
