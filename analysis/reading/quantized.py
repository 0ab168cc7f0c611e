"""What ``nasbench quantize`` has recorded beside runs, as a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

COLUMNS = {
    **dict.fromkeys(("run", "scenario", "task", "model", "device_class", "device"), "str"),
    "seed": "int64",
    "index": "int64",
    "is_full": "bool",
    "params": "float64",
    "scheme": "str",
    **dict.fromkeys(("error", "test_error", "megabytes", "latency", "low", "high"), "float64"),
    "reason": "object",
}


def variants(runs: pd.DataFrame) -> pd.DataFrame:
    """All measured variants of the networks of runs.

    Args:
        runs: as in :class:`~nasbench.analysis.reading.results.Results`.

    Returns:
        One row for each run, device, network and format: ``run, scenario, task, model, device_class, device, seed,
        index, is_full, params, scheme, error, test_error, megabytes, latency, low, high, reason``. ``latency`` is the
        ratio to the full network in fp32 with its 95 % interval. Values are NaN where a format does not run.
    """
    rows: list[dict[str, Any]] = []
    shared = ["run", "scenario", "task", "model", "device_class", "seed"]
    for run in runs[[*shared, "quantized"]].to_dict("records"):
        for device in run["quantized"]:
            name = device.device.get("cpu") or device.device.get("machine") or "an unknown device"
            for network in device.networks:
                for each in network.variants:
                    time = each.latency
                    rows.append(
                        {
                            **{column: run[column] for column in shared},
                            "device": f"{name}, threads: {device.device.get('n_threads')}",
                            "index": network.index,
                            "is_full": network.is_full,
                            "params": network.params,
                            "scheme": each.scheme,
                            "error": each.error,
                            "test_error": each.test_error,
                            "megabytes": None if each.n_bytes is None else each.n_bytes / 1e6,
                            **({} if time is None else {"latency": time.ratio, "low": time.low, "high": time.high}),
                            "reason": each.reason,
                        }
                    )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
