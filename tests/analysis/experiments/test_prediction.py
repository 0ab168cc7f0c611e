"""Kendall's tau and the regret of the study of weight sharing, each against a second, independent answer."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.stats import kendalltau
from support.generated_results import DIMENSIONS, Entry, Plan, write_results

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.experiments.prediction import (
    ALL,
    DIFFERENCE,
    PREDICTORS,
    measures,
    pairs,
    table,
    tau,
    top_error,
)
from nasbench.analysis.figures import weight_sharing
from nasbench.analysis.reading.results import read_results

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n_levels", [3, 1000])
def test_tau_equals_scipys(n_levels: int) -> None:
    for _ in range(20):
        predicted, truth = RNG.integers(0, n_levels, (2, 30)).astype(float)
        assert tau(predicted, truth) == pytest.approx(kendalltau(predicted, truth).statistic)


def test_tau_within_bins_counts_the_pairs_of_each_bin() -> None:
    for _ in range(10):
        predicted, truth = RNG.integers(0, 5, (2, 20)).astype(float)
        bins = RNG.integers(0, 4, 20).astype(float)
        right = wrong = untied_predictions = untied_truths = 0
        for i, j in itertools.combinations(range(20), 2):
            if bins[i] == bins[j]:
                product = (predicted[i] - predicted[j]) * (truth[i] - truth[j])
                right, wrong = right + (product > 0), wrong + (product < 0)
                untied_predictions += predicted[i] != predicted[j]
                untied_truths += truth[i] != truth[j]
        slow = (right - wrong) / np.sqrt(untied_predictions * untied_truths)
        assert tau(predicted, truth, bins) == pytest.approx(slow)


def test_number_of_parameters_says_nothing_within_its_bins() -> None:
    params, truth = np.repeat([0.4, 0.6, 0.8], 5), RNG.random(15)
    assert tau(-params, truth, params) == 0.0
    assert np.isnan(tau(truth, np.zeros(15)))


@pytest.mark.parametrize("k", [1, 2, 5, 10, 12])
def test_top_error_is_the_mean_over_all_ways_to_break_ties(k: int) -> None:
    for _ in range(5):
        predicted, truth = RNG.integers(0, 4, 10).astype(float), RNG.random(10)
        order = np.argsort(predicted, kind="stable")
        limit = predicted[order[min(k, 10) - 1]]
        sure = [i for i in range(10) if predicted[i] < limit]
        tied = [i for i in range(10) if predicted[i] == limit]
        ways = [truth[[*sure, *some]].min() for some in itertools.combinations(tied, min(k, 10) - len(sure))]
        assert top_error(predicted, truth, k) == pytest.approx(np.mean(ways))


def test_measures_of_a_perfect_and_a_reversed_predictor() -> None:
    params, truth = np.repeat([0.4, 0.6, 0.8], 6), RNG.random(18)
    perfect, reversed_ = measures(truth, truth, params), measures(-truth, truth, params)
    assert (perfect["tau"], perfect["tau within bins"]) == (pytest.approx(1), pytest.approx(1))
    assert perfect["regret of top 1"] == perfect["regret within bins"] == 0
    assert reversed_["tau within bins"] == pytest.approx(-1)
    assert reversed_["regret of top 1"] == pytest.approx(truth.max() - truth.min())
    spans = [truth[params == value] for value in np.unique(params)]
    assert reversed_["regret within bins"] == pytest.approx(np.mean([s.max() - s.min() for s in spans]))


def write_study(folder: Path, noise: bool) -> None:
    """64 networks measured twice in six blocks; the shared error is the true one, or noise."""
    entries = [Entry(method, "exhaustive", "layer", options={"strategy": "full"}) for method in ("s-nas", "ws-nas")]
    paths = write_results(folder, Plan(entries, tasks=["stsb", "mrpc"], seeds=range(3), n_evaluations=64))
    rng = np.random.default_rng(1)
    truths: dict[str, list[float]] = {}
    for path in paths:
        record = json.loads((path / "run.json").read_text())
        record["identity"] |= {"budget_s": None, "max_evaluations": 64}
        (path / "run.json").write_text(json.dumps(record))
        lines = [json.loads(line) for line in (path / "evaluations.jsonl").read_text().splitlines()]
        block = str(record["identity"]["task"]) + str(record["identity"]["seed"])
        if record["identity"]["method"] == "s-nas":
            truths[block] = rng.random(64).tolist()
        for i, line in enumerate(lines):
            line["config"] = {f"layer_{bit}": (i >> bit) & 1 for bit in range(6)}
            line["n_params"] = DIMENSIONS.n_fixed_params + 14_175_744 * bin(i).count("1")  # two layers of BERT a bit
            line["params"] = line["n_params"] / DIMENSIONS.n_params
            is_noise = noise and record["identity"]["method"] == "ws-nas"
            line["error"] = float(rng.random()) if is_noise else truths[block][i]
        (path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("noise", [False, True])
def test_table_and_figure_of_a_study_with_a_known_answer(tmp_path: Path, noise: bool) -> None:
    write_study(tmp_path, noise)
    found = weight_sharing.data(read_results(tmp_path))
    assert len(found) == 6 * 64
    everything = table(found)
    rows = everything[everything["scenario"] != ALL].set_index(["measure", "predictor"])
    pooled = everything[everything["scenario"] == ALL].set_index(["measure", "predictor"])
    assert set(pooled["n_seeds"]) == {6}
    assert set(rows["n_seeds"]) == {3}
    assert rows["task_low"].isna().all()
    assert pooled["task_low"].isna().all()  # two tasks tell nothing about others
    means = rows["mean"].groupby(level=["measure", "predictor"]).mean()
    np.testing.assert_allclose(pooled["mean"], means[pooled.index], atol=1e-12)
    assert set(rows["n_networks"]) == {64}
    predicts = rows.loc[("tau within bins", PREDICTORS[0])]
    if noise:
        assert (predicts["mean"].abs() < 0.25).all()
    else:
        assert (predicts["mean"] == 1).all()
        assert (rows.loc[("regret of top 1", PREDICTORS[0]), "mean"] == 0).all()
        assert (rows.loc[("tau within bins", DIFFERENCE), "mean"] == 1).all()
    assert (rows.loc[("tau within bins", PREDICTORS[1]), "mean"] == 0).all()
    assert rows.loc[("tau", PREDICTORS[1]), "low"].notna().all()
    axes = weight_sharing.draw(found).axes
    assert len(axes) == 2
    if not noise:
        (shown,) = [text.get_text() for text in axes[0].texts if "τ" in text.get_text()]
        assert re.fullmatch(r"τ 1\.00 \(1\.00 to 1\.00\), by size .*\nwithin bins τ 1\.00 .*, by size 0\.00", shown)


def test_three_tasks_tell_what_to_expect_on_others() -> None:
    """The interval over tasks equals Student's over the means of the tasks, computed by scipy."""
    rng = np.random.default_rng(3)
    blocks = [
        pd.DataFrame({"scenario": f"{task}/m/cpu", "seed": seed, "params": rng.random(8), "shared": rng.random(8),
                      "alone": rng.random(8)})
        for task in ("rte", "mrpc", "stsb") for seed in range(2)
    ]  # fmt: skip
    found = table(pd.concat(blocks))
    own = [kendalltau(block["shared"], block["alone"]).statistic for block in blocks]
    means = np.array(own).reshape(3, 2).mean(axis=1)
    row = found.set_index(["scenario", "measure", "predictor"]).loc[(ALL, "tau", PREDICTORS[0])]
    expected = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    np.testing.assert_allclose([row["mean"], row["task_low"], row["task_high"]], [means.mean(), *expected])


def test_no_block_with_both_runs_is_missing(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([Entry("s-nas", "exhaustive", "layer")], tasks=["stsb"], seeds=[0]))
    assert pairs(read_results(tmp_path)).empty
    with pytest.raises(MissingRuns, match="nasbench experiment weight-sharing"):
        weight_sharing.data(read_results(tmp_path))
