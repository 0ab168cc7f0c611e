"""The leaderboard's numbers, computed again from the raw records without any code of the suite.

Only pandas, numpy and scipy are used: for reading, the fronts, the quantiles, the areas, the means and the intervals.
The numbers are then looked up in the text of ``leaderboard.md``.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.recomputed import best_within, fitted, hypervolumes, seeds_interval, tasks_interval

ROOT = Path(__file__).parents[3]
SECTIONS = {
    "## Models of BERT-base's size, CPU": ("mpnet-base", ["mrpc", "stsb"], range(3)),
    "## Compact models, CPU": ("minilm-l6", ["cola", "mrpc", "rte", "stsb"], range(3)),
    "## Decoders, CPU": ("smollm2-135m-q4_1", ["wikitext2"], range(3)),
    "## Demo, CPU": ("minilm-l6", ["demo"], range(10)),
}
"""Model, tasks and seeds of the sections with records."""
LIMITS = (0.5, 0.3)
TEXT = "wikitext2"
"""The task of the decoders: its full network is the untouched one."""
FINE_TUNE_FIRST = ("head-pruning", "rfp")
LEAVE_TEXT_MODELS = (*FINE_TUNE_FIRST, "shortgpt", "wanda-sp", "flap", "magnitude")
"""Methods whose first network is the full network of a scenario; on text, unless ``epochs`` says to train it."""


def entry_name(record: dict[str, Any]) -> str:
    """Algorithm and space, and the options that the record calls changed."""
    identity = record["identity"]
    changed = [
        f"{part}.{name}={value if isinstance(value, str) else json.dumps(value)}"
        for part, values in (record.get("changed_options") or {}).items()
        for name, value in values.items()
    ]
    algorithm = "/".join(name for name in (identity["method"], identity["searcher"]) if name)
    return f"{algorithm}@{identity['space']}" + (f" [{', '.join(sorted(changed))}]" if changed else "")


def gives_full_network(identity: dict[str, Any]) -> bool:
    """Whether the full network that a run measured is that of the scenario."""
    if identity["task"] != TEXT:
        return identity["method"] in FINE_TUNE_FIRST
    return identity["method"] in LEAVE_TEXT_MODELS and not identity["options"]["method"].get("epochs")


def records() -> pd.DataFrame:
    """One row per official finished run of the committed results, with its evaluations as a table."""
    rows = []
    for path in sorted((ROOT / "results").rglob("run.json")):
        record = json.loads(path.read_text())
        identity = record["identity"]
        if record["status"] == "running" or record["unofficial"] or identity.get("objectives"):
            continue
        sizes = record["n_params_full"], record["dimensions"]["n_fixed_params"]
        evaluations = pd.read_json(path.with_name("evaluations.jsonl"), lines=True, precise_float=True)
        full = evaluations.loc[evaluations["n_params"] == sizes[0], "test_error"].dropna()
        rows.append(
            {
                "gives_full": gives_full_network(identity),
                "status": record["status"],
                "entry": entry_name(record),
                "task": identity["task"],
                "model": identity["model"],
                "scenario": f"{identity['task']}/{identity['model']}/{identity['device_class']}",
                "seed": identity["seed"],
                "evaluations": evaluations,
                "full": 1 - full.iloc[0] if len(full) else np.nan,
                **{f"metric_{limit}": best_within(evaluations, *sizes, limit) for limit in LIMITS},
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


def printed(title: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of entries and of scenarios below a heading of ``leaderboard.md``, as texts."""
    # Markdown would take underscores for emphasis, and brackets for links.
    text = re.sub(r"\\([_\[\]])", r"\1", (ROOT / "leaderboard.md").read_text())
    section = text.partition(title + "\n")[2].partition("\n## ")[0]
    found = []
    for is_table, lines in itertools.groupby(section.splitlines(), lambda line: line.startswith("|")):
        if is_table:
            cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            found.append(pd.DataFrame(cells[2:], columns=cells[0]).set_index("entry"))
    return found[0], found[1]


def of_section(title: str, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that a section lists."""
    model, tasks, seeds = SECTIONS[title]
    on_cpu = runs["scenario"].str.endswith("/cpu")
    return runs[on_cpu & (runs["model"] == model) & runs["task"].isin(tasks) & runs["seed"].isin(seeds)]


@pytest.mark.parametrize("title", SECTIONS)
def test_printed_numbers_equal_a_recomputation_from_the_raw_records(title: str, runs: pd.DataFrame) -> None:
    tasks, seeds = SECTIONS[title][1:]
    own = of_section(title, runs)
    assert len(own) > 0
    grid = pd.MultiIndex.from_product([tasks, seeds], names=["task", "seed"])
    table, _ = printed(title)
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
        n_runs = by_block["test"].notna().sum()
        n_failed = (group["status"] == "failed").sum()
        assert table.loc[entry, "runs"] == f"{n_runs} of {len(grid)}" + (f" ({n_failed} failed)" if n_failed else "")
        for column, interval in (("on these tasks", seeds_interval), ("on tasks like these", tasks_interval)):
            low, high = interval(by_block["test"].clip(lower=1.0)) if n_runs == len(grid) else (np.nan, np.nan)
            assert table.loc[entry, column] == ("-" if np.isnan(low) else f"[{low:.3f}, {high:.3f}]"), (entry, column)
    assert table.index.tolist() == sorted(means, key=lambda entry: -means[entry])


@pytest.mark.parametrize("title", SECTIONS)
def test_printed_metrics_under_limits_equal_a_recomputation(title: str, runs: pd.DataFrame) -> None:
    own = of_section(title, runs)
    # The full network is that of the methods that leave it alone or only fine-tune it, or the run's own without them.
    given = own[own["gives_full"]].dropna(subset="full")
    full = given.groupby(["task", "seed"])["full"].mean().groupby("task").mean()
    full = own["task"].map(full).fillna(own["full"])
    table, _ = printed(title)
    for limit in LIMITS:
        relative = (own[f"metric_{limit}"] / full.where(full > 0)).rename("relative")
        for entry, group in own.join(relative).groupby("entry"):
            known = group.dropna(subset="relative")
            text = f"{100 * known.groupby('task')['relative'].mean().mean():.1f} %" if len(known) else "-"
            text += f" ({len(known)} of {len(group)} runs)" if 0 < len(known) < len(group) else ""
            assert table.loc[entry, f"at {100 * limit:.0f} % of prunable"] == text, (entry, limit)


@pytest.mark.parametrize("title", SECTIONS)
def test_printed_means_of_scenarios_equal_a_recomputation(title: str, runs: pd.DataFrame) -> None:
    model, tasks, _ = SECTIONS[title]
    own = of_section(title, runs)
    table, by_scenario = printed(title)
    assert by_scenario.index.tolist() == table.index.tolist()
    assert by_scenario.columns.tolist() == [f"{task}/{model}" for task in tasks]
    for entry, task in itertools.product(table.index, tasks):
        values = own.loc[(own["entry"] == entry) & (own["task"] == task), "test"].clip(lower=1.0)
        text = f"{values.mean():.3f} ({len(values)})" if len(values) else "-"
        assert by_scenario.loc[entry, f"{task}/{model}"] == text, (entry, task)


def is_separated(upper: pd.DataFrame, lower: pd.DataFrame) -> bool:
    """Whether an entry is separated from one above it, from their runs by task and seed; NaN = no such run.

    The 95 % interval of the paired difference is Welch's, over the seeds of each task.
    """
    has_upper, has_lower = upper["test"].notna(), lower["test"].notna()
    fails = has_lower & (lower["status"] == "failed")
    if (has_upper & (~has_lower | fails & (upper["status"] != "failed"))).any():
        return True
    values = [each["test"].fillna(1.0).clip(lower=1.0) for each in (upper, lower)]
    low, _ = seeds_interval((values[0] - values[1])[has_upper | has_lower].round(9))
    return bool(low > 0)


@pytest.mark.parametrize("title", SECTIONS)
def test_printed_places_and_ranks_equal_a_recomputation(title: str, runs: pd.DataFrame) -> None:
    own = of_section(title, runs)
    values = own.pivot_table("test", ["task", "seed"], "entry")
    by_block = {entry: group.set_index(["task", "seed"]).reindex(values.index) for entry, group in own.groupby("entry")}
    table, _ = printed(title)
    if len(table) == 1:  # nothing to rank
        assert table[["place", "average rank"]].to_numpy().tolist() == [["-", "-"]]
        return
    ranks = values.fillna(1.0).clip(lower=1.0).rank(axis=1, ascending=False).groupby("task").mean().mean()
    for entry, rank in ranks.items():
        assert table.loc[str(entry), "average rank"] == f"{rank:.2f}", entry
    places = ["1"]
    for i, (upper, lower) in enumerate(itertools.pairwise(table.index), 2):
        first = table.index[int(places[-1]) - 1]
        alone = any(is_separated(by_block[other], by_block[lower]) for other in (upper, first))
        places.append(str(i) if alone else places[-1])
    assert table["place"].tolist() == places


def test_order_of_two_fronts_differs_between_validation_and_test(runs: pd.DataFrame) -> None:
    """The reason to rank by test errors, in committed records with frozen quantiles."""
    own = of_section("## Compact models, CPU", runs)
    found = own[(own["task"] == "stsb") & (own["seed"] == 2)].set_index("entry").round(3)
    assert found.loc["s-nas/random@small", ["validation", "test"]].tolist() == [3.463, 3.382]
    assert found.loc["rfp@large", ["validation", "test"]].tolist() == [3.385, 3.412]
