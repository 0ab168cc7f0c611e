"""The leaderboard's numbers, computed again from the raw records without any code of the suite.

Only pandas, numpy and Student's quantiles are used: for reading, the fronts, the quantiles, the areas and the means.
The numbers are then looked up in the text of ``leaderboard.md``.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.recomputed import fitted, hypervolumes

ROOT = Path(__file__).parents[3]
SECTIONS = {
    "## Models of BERT-base's size, CPU": ("mpnet-base", ["mrpc", "stsb"], range(3)),
    "## Compact models, CPU": ("minilm-l6", ["cola", "mrpc", "rte", "stsb"], range(3)),
    "## Demo, CPU": ("minilm-l6", ["demo"], range(10)),
}
"""Model, tasks and seeds of the sections with records."""


def records() -> pd.DataFrame:
    """One row per official finished run of the committed results, with its evaluations as a table."""
    rows = []
    for path in sorted((ROOT / "results").rglob("run.json")):
        record = json.loads(path.read_text())
        if record["status"] == "running" or record["unofficial"]:
            continue
        identity = record["identity"]
        names = [identity["method"], identity["searcher"]]
        rows.append(
            {
                "entry": "/".join(name for name in names if name) + "@" + identity["space"],
                "task": identity["task"],
                "model": identity["model"],
                "scenario": f"{identity['task']}/{identity['model']}/{identity['device_class']}",
                "seed": identity["seed"],
                "evaluations": pd.read_json(path.with_name("evaluations.jsonl"), lines=True, precise_float=True),
            }
        )
    return pd.DataFrame(rows)


def knots(runs: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Frozen quantiles by scenario and objective; those of the runs at hand where nothing is frozen."""
    newest = max((ROOT / "benchmark").glob("quantiles_v*.json"), key=lambda path: int(path.stem.partition("_v")[2]))
    frozen = json.loads(newest.read_text())["cells"]
    found = {}
    for scenario, own in runs.groupby("scenario"):
        if scenario in frozen:
            texts = frozen[scenario]["knots"]
            found[scenario] = {name: np.array(texts[name].split(), dtype=float) for name in ("error", "params")}
        else:
            found[scenario] = fitted(own["evaluations"].tolist())
    return found


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    found = records()
    quantiles = knots(found)
    both = [hypervolumes(run["evaluations"], quantiles[run["scenario"]]) for _, run in found.iterrows()]
    found[["test", "validation"]] = both
    return found.drop(columns="evaluations")


def printed(title: str) -> pd.DataFrame:
    """The first table below a heading of ``leaderboard.md``, as texts."""
    lines = (ROOT / "leaderboard.md").read_text().partition(title + "\n")[2].splitlines()
    end = next(i for i, line in enumerate(lines) if line.startswith("Mean test"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end] if line.startswith("|")]
    return pd.DataFrame(cells[2:], columns=cells[0]).set_index("entry")


def of_section(title: str, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that a section lists."""
    model, tasks, seeds = SECTIONS[title]
    return runs[(runs["model"] == model) & runs["task"].isin(tasks) & runs["seed"].isin(seeds)]


@pytest.mark.parametrize("title", SECTIONS)
def test_printed_numbers_equal_a_recomputation_from_the_raw_records(title: str, runs: pd.DataFrame) -> None:
    tasks, seeds = SECTIONS[title][1:]
    own = of_section(title, runs)
    assert len(own) > 0
    grid = pd.MultiIndex.from_product([tasks, seeds], names=["task", "seed"])
    table = printed(title)
    assert sorted(table.index) == sorted(own["entry"].unique())
    means = {}
    for entry, group in own.groupby("entry"):
        by_block = group.set_index(["task", "seed"])[["test", "validation"]].reindex(grid)
        means[entry] = by_block["test"].fillna(1.0).clip(lower=1.0).groupby("task").mean().mean()
        expected = {
            "test hypervolume": means[entry],
            "own runs": by_block["test"].groupby("task").mean().mean(),
            "validation": by_block["validation"].groupby("task").mean().mean(),
        }
        for column, value in expected.items():
            assert table.loc[entry, column] == f"{value:.3f}", (entry, column)
        assert table.loc[entry, "runs"] == f"{by_block['test'].notna().sum()} of {len(grid)}"
    assert table.index.tolist() == sorted(means, key=lambda entry: -means[entry])


def is_separated(upper: pd.Series, lower: pd.Series) -> bool:
    """Whether the entry below has a place of its own, from test hypervolumes by task and seed; NaN = no such run.

    The 95 % interval of the paired difference is Welch's, over the seeds of each task.
    """
    if (upper.notna() & lower.isna()).any():
        return True
    known = upper.notna() | lower.notna()
    worst = {"lower": 1.0}
    difference = (upper.fillna(1.0).clip(**worst) - lower.fillna(1.0).clip(**worst))[known]
    groups = difference.groupby("task")
    if (groups.size() == 1).all():
        return False  # no spread, so no interval
    assert (groups.size() > 1).all()
    parts = groups.var() / groups.size() / len(groups) ** 2
    degrees = parts.sum() ** 2 / (parts**2 / (groups.size() - 1)).sum()
    return bool(groups.mean().mean() > stats.t.ppf(0.975, degrees) * np.sqrt(parts.sum()))


@pytest.mark.parametrize("title", SECTIONS)
def test_printed_places_and_ranks_equal_a_recomputation(title: str, runs: pd.DataFrame) -> None:
    own = of_section(title, runs)
    values = own.pivot_table("test", ["task", "seed"], "entry")
    table = printed(title)
    if len(table) == 1:  # nothing to rank
        assert table[["place", "average rank"]].to_numpy().tolist() == [["-", "-"]]
        return
    ranks = values.fillna(1.0).clip(lower=1.0).rank(axis=1, ascending=False).groupby("task").mean().mean()
    for entry, rank in ranks.items():
        assert table.loc[str(entry), "average rank"] == f"{rank:.2f}", entry
    places = ["1"]
    for i, (upper, lower) in enumerate(itertools.pairwise(table.index), 2):
        first = table.index[int(places[-1]) - 1]
        alone = any(is_separated(values[other], values[lower]) for other in (upper, first))
        places.append(str(i) if alone else places[-1])
    assert table["place"].tolist() == places


def test_order_of_two_fronts_differs_between_validation_and_test(runs: pd.DataFrame) -> None:
    """The reason to rank by test errors, in committed records with frozen quantiles."""
    own = of_section("## Compact models, CPU", runs)
    found = own[(own["task"] == "stsb") & (own["seed"] == 2)].set_index("entry").round(3)
    assert found.loc["s-nas/random@small", ["validation", "test"]].tolist() == [3.463, 3.382]
    assert found.loc["rfp@large", ["validation", "test"]].tolist() == [3.385, 3.412]
