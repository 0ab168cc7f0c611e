"""The tables of a report, as CSV for programs and Markdown for readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tabulate import tabulate

from nasbench.analysis.experiments import prediction
from nasbench.analysis.experiments.selection import subset, unchanged
from nasbench.analysis.reading.results import Results
from nasbench.analysis.reading.zero_shot import measured
from nasbench.analysis.report.formatting import csv_cell, escape, interval, number, percent
from nasbench.analysis.report.sections import Ranking, as_ranked
from nasbench.analysis.scoring.comparison import compare_all
from nasbench.analysis.scoring.relative_performance import relative_performance
from nasbench.analysis.scoring.scores import Scores, block_table


def make_tables(results: Results, scores: Scores, boards: list[Ranking]) -> dict[str, pd.DataFrame]:
    """All tables by name.

    Returns:
        ``leaderboard``: the rows of all sections. ``runs``: one row for each finished run, with its hypervolumes.
        ``hypervolume``: mean and standard deviation for each entry and scenario. ``comparison``: every pair of entries
        with default options and the usual budget, within a track and device class, by test hypervolume. ``relative``:
        test metric relative to the full network for each entry, scenario and limit on the parameters.
        ``weight_sharing``: how well a super-network predicts, if there are runs of that study, see
        :func:`nasbench.analysis.experiments.prediction.table`. ``zero_shot``: what ``nasbench zero-shot`` has measured
        of any runs.

        Test hypervolumes are those of the rankings in scenarios with frozen quantiles. Elsewhere, a ranking is
        normalised by the runs that it counts, and the tables by all finished runs.
    """
    scores = as_ranked(scores)
    runs = scores.runs
    columns = ["run", "entry", "task", "model", "track", "device_class", "seed", "official", "status"]
    listed = runs[[*columns, "n_evaluations", "n_failed", "elapsed_s", "budget_s"]]
    listed = listed.assign(test_hypervolume=scores.test, validation_hypervolume=scores.final)
    by_scenario = listed.assign(scenario=runs["scenario"]).groupby(["entry", "scenario"], as_index=False)
    hypervolume = by_scenario.agg(
        test=("test_hypervolume", "mean"),
        test_std=("test_hypervolume", "std"),
        validation=("validation_hypervolume", "mean"),
        validation_std=("validation_hypervolume", "std"),
        n_runs=("run", "size"),
    )
    relative = relative_performance(results.finished()).dropna(subset="relative")
    relative = relative.groupby(["entry", "scenario", "threshold"], as_index=False).agg(
        relative=("relative", "mean"), test_metric=("test_metric", "mean"), n_runs=("run", "size")
    )
    leaderboard = [board.table.assign(section=board.title) for board in boards]
    pairs = prediction.pairs(results)
    study = {} if pairs.empty else {"weight_sharing": prediction.table(pairs)}
    zero_shot = measured(results.runs)
    study |= {} if zero_shot.empty else {"zero_shot": zero_shot}
    return study | {
        "leaderboard": pd.concat(leaderboard, ignore_index=True) if leaderboard else pd.DataFrame({"section": []}),
        "runs": listed,
        "hypervolume": hypervolume,
        "comparison": _comparison(scores),
        "relative": relative,
    }


def zero_shot_choices(runs: pd.DataFrame) -> pd.DataFrame:
    """What ``nasbench zero-shot`` has measured, for readers: a row for each network of a run, a column for each task.

    Args:
        runs: as in :class:`~nasbench.analysis.reading.results.Results`.

    Returns:
        Texts ``entry, scenario, seed, network``, then each task with its metric, its examples and the metric of a
        constant answer. A cell is a value with its 95 % interval, ``-`` if the network was not measured on the task.
        Empty if nothing was measured.
    """
    order = ["entry", "scenario", "seed", "run", "is_full", "params"]
    found = measured(runs).sort_values(order, ascending=[True] * 4 + [False] * 2, kind="stable")
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for each in found.to_dict("records"):
        network = "full network" if each["is_full"] else f"{percent(each['params'])} of the parameters"
        named = {"entry": each["entry"], "scenario": each["scenario"], "seed": str(each["seed"]), "network": network}
        row = rows.setdefault((each["run"], each["index"]), named)
        facts = f"{each['metric']} on {each['n_examples']}, by chance {number(each['chance'], 3)}"
        row[f"{each['task']} ({facts})"] = interval(each["value"], each["low"], each["high"], 3)
    return pd.DataFrame(list(rows.values())).fillna("-")


def _comparison(scores: Scores) -> pd.DataFrame:
    group = ["track", "device_class"]
    parts = [pd.DataFrame({name: pd.Series(dtype=str) for name in group})]
    runs, keep = scores.runs, unchanged(scores.runs)
    for track, device in sorted(set(runs.loc[keep, group].itertuples(index=False, name=None))):
        chosen = keep & ((runs["track"] == track) & (runs["device_class"] == device)).to_numpy(dtype=np.bool_)
        own = subset(scores, chosen)
        pairs = compare_all(block_table(own, values=own.test[:, None]))
        parts.append(pairs[pairs["n"] > 0].assign(track=track, device_class=device))
    return pd.concat(parts, ignore_index=True)


def write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write ``<name>.csv`` and ``<name>.md`` for each table; return the paths. The same data give the same bytes.

    A text from a record is inert in both: neither markup nor the formula of a spreadsheet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in tables.items():
        csv, markdown = folder / f"{name}.csv", folder / f"{name}.md"
        inert = table.map(lambda value: csv_cell(value) if isinstance(value, str) else value)
        csv.write_bytes(inert.to_csv(index=False, float_format="%.9g", lineterminator="\n").encode())
        markdown.write_bytes(_markdown(table).encode())
        paths += [csv, markdown]
    return paths


def _markdown(table: pd.DataFrame) -> str:
    shown = table.copy()
    for name in shown.columns:
        if pd.api.types.is_float_dtype(shown[name]):
            shown[name] = shown[name].map(lambda value: "" if np.isnan(value) else f"{value:.4g}")
        else:
            shown[name] = shown[name].map(lambda value: escape(str(value)))
    return (
        tabulate(shown.to_numpy().tolist(), headers=list(shown.columns), tablefmt="pipe", disable_numparse=True) + "\n"
    )
