"""Relative performance by parameter threshold: picked by validation error, reported by test metric."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.scoring.relative_performance import (
    FULL_NETWORK_METHODS,
    THRESHOLDS,
    full_metric,
    relative_performance,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("results")
    entries = [Entry("ws-nas", "ehvi"), Entry("rfp", space="large"), Entry("head-pruning")]
    write_results(folder, Plan(entries, tasks=["rte"], seeds=range(3), n_evaluations=60))
    write_results(folder, Plan([Entry("ws-nas", "ehvi")], tasks=["cola"], seeds=range(2), n_evaluations=60))
    return read_results(folder)


def plain_pick(own: pd.DataFrame, threshold: float) -> pd.Series | None:
    """The row with the lowest validation error within the threshold, found row by row."""
    best = None
    for _, row in own.iterrows():
        if row["status"] != "ok" or row["params"] > threshold:
            continue
        if best is None or (row["error"], row["params"], row["index"]) < (best["error"], best["params"], best["index"]):
            best = row
    return best


def test_picks_equal_a_plain_loop(results: Results) -> None:
    found = relative_performance(results)
    assert len(found) == len(results.runs) * len(THRESHOLDS)
    for row in found.to_dict("records"):
        own = results.evaluations[results.evaluations["run_row"] == row["run_row"]]
        wanted = plain_pick(own, row["threshold"])
        if wanted is None:
            assert np.isnan(row["test_metric"])
            assert row["threshold"] == 0.2  # below the smallest network
        else:
            assert row["index"] == wanted["index"]
            assert row["test_metric"] == pytest.approx(1 - wanted["test_error"], abs=1e-15)


def test_limits_of_prunable_parameters_equal_limits_of_all_parameters(results: Results) -> None:
    """Half of what can be pruned is a fraction of all parameters: fixed + half of the rest."""
    (dims,) = {tuple(sorted(dims.items())) for dims in results.runs["dimensions"]}
    whole, fixed = int(results.runs["n_params_full"].iloc[0]), dict(dims)["n_fixed_params"]
    assert 0.1 < fixed / whole < 0.9
    limits = (0.25, 0.5, 0.75, 1.0)
    found = relative_performance(results, limits, prunable=True)
    assert found["test_metric"].notna().any()
    for row in found.to_dict("records"):
        own = results.evaluations[results.evaluations["run_row"] == row["run_row"]]
        wanted = plain_pick(own, (fixed + row["threshold"] * (whole - fixed)) / whole + 1e-12)
        if wanted is None:
            assert np.isnan(row["test_metric"])
        else:
            assert row["index"] == wanted["index"]


def test_picked_networks_always_have_a_test_metric(results: Results) -> None:
    found = relative_performance(results, np.linspace(0.22, 1.0, 40))
    assert found["test_metric"].notna().all()


def test_full_metric_is_the_pruning_methods_or_the_runs_own(results: Results) -> None:
    full = results.evaluations[results.evaluations["params"] == 1.0].groupby("run_row").first()
    metric = 1 - full["test_error"]
    method, task, seed = (results.runs[name] for name in ("method", "task", "seed"))
    fine_tuned = [metric[(method.isin(["rfp", "head-pruning"])) & (seed == k)].mean() for k in range(3)]
    found = full_metric(results)
    np.testing.assert_allclose(found[(task == "rte").to_numpy()], np.mean(fine_tuned))
    np.testing.assert_allclose(found[(task == "cola").to_numpy()], metric[(task == "cola").to_numpy()])


def test_runs_with_changed_options_or_budget_give_no_reference(tmp_path: Path) -> None:
    entries = [Entry("ws-nas", "ehvi"), Entry("rfp", space="large"), Entry("head-pruning")]
    write_results(tmp_path, Plan(entries, tasks=["rte"], seeds=range(3), n_evaluations=60))
    usual = full_metric(read_results(tmp_path))[0]
    worse = [
        Entry(method, space="large", shift=0.1, options={"learning_rate": 1e-9}, changed_options=True)
        for method in FULL_NETWORK_METHODS
    ]
    write_results(tmp_path, Plan(worse, tasks=["rte", "cola"], seeds=range(3), n_evaluations=60))
    shorter = Plan([Entry("rfp", space="small", shift=0.1)], tasks=["rte"], seeds=range(3), budget_s=60.0)
    write_results(tmp_path, shorter)
    found = read_results(tmp_path)
    assert found.runs["entry"].str.contains("[", regex=False).sum() == 15
    on_rte = (found.runs["task"] == "rte").to_numpy()
    np.testing.assert_allclose(full_metric(found)[on_rte], usual)
    # Where no usual run has evaluated it, each run is compared with its own full network.
    full = found.evaluations[found.evaluations["params"] == 1.0].groupby("run_row").first()
    np.testing.assert_allclose(full_metric(found)[~on_rte], (1 - full["test_error"])[~on_rte])


AS_THEY_ARE = [
    Entry("shortgpt", space="layer"), Entry("wanda-sp", space="large"), Entry("flap", space="large"),
    Entry("magnitude", space="large", options={"method": {"epochs": 0}}, changed_options=True),
]  # fmt: skip
TRAINED = [
    Entry("ws-nas", "random", "medium", shift=0.05),
    Entry("rfp", space="large", shift=-0.05, options={"method": {"epochs": 1}}, changed_options=True),
]


def test_full_metric_of_a_language_model_is_that_of_the_untouched_network(tmp_path: Path) -> None:
    entries, models = [*AS_THEY_ARE, *TRAINED], ["smollm2-135m-q4_1"]
    write_results(tmp_path, Plan(entries, ["wikitext2"], models, seeds=range(2), n_evaluations=9, track="decoder"))
    # On a classification task the same methods fine-tune, so a run without RFP's full network is compared with its own.
    write_results(tmp_path, Plan(entries[:-1], ["rte"], models, seeds=range(2), n_evaluations=9, track="decoder"))
    # A user may have given a classification the name of a task of the suite.
    write_results(tmp_path, Plan(entries[:2], ["piqa"], ["mine"], seeds=range(2), n_evaluations=9, track="user"))
    found = read_results(tmp_path)
    full = found.evaluations[found.evaluations["params"] == 1.0].groupby("run_row").first()
    own, runs = 1 - full["test_error"], found.runs
    on_text = (runs["task"] == "wikitext2").to_numpy()
    untouched = own[on_text & runs["method"].isin(["shortgpt", "wanda-sp", "flap", "magnitude"]).to_numpy()]
    assert len(untouched) == 8
    metric = full_metric(found)
    np.testing.assert_allclose(metric[on_text], untouched.mean())
    np.testing.assert_allclose(metric[~on_text], own[~on_text])


def small_results(rows: list[tuple[float | None, float, float | None]]) -> Results:
    """One run; each row is (error, params, test error)."""
    names = ("run", "entry", "algorithm", "scenario", "task", "track", "model", "method")
    runs = pd.DataFrame({name: ["x"] for name in names})
    runs["seed"], runs["n_params_full"], runs["status"], runs["options"] = 0, 100, "complete", "{}"
    columns = ["error", "params", "test_error"]
    evaluations = pd.DataFrame(rows, columns=columns, dtype=float)
    evaluations["n_params"] = (evaluations["params"] * 100).round().astype(int)
    evaluations["status"] = np.where(evaluations["error"].isna(), "failed", "ok")
    evaluations["run_row"], evaluations["index"] = 0, range(len(rows))
    return Results(runs, evaluations)


def test_relative_is_one_for_the_runs_own_full_network() -> None:
    found = relative_performance(small_results([(0.1, 1.0, 0.2), (0.3, 0.5, 0.36), (0.2, 0.75, 0.1)]), [0.5, 0.75, 1.0])
    assert found["index"].tolist() == [1, 2, 0]
    assert found["full_metric"].tolist() == [0.8] * 3
    np.testing.assert_allclose(found["relative"], [0.8, 1.125, 1.0])


def test_ties_failures_and_limits_worked_by_hand() -> None:
    found = relative_performance(
        small_results(
            [
                (0.3, 1.0, 0.2),  # 0: the full network, test metric 0.8
                (0.3, 0.5, 0.36),  # 1: equally good and smaller: picked at 1.0 and 0.5
                (0.3, 0.5, 0.99),  # 2: the same again, later
                (None, 0.4, None),  # 3: failed
                (0.4, 0.4, 0.6),  # 4: exactly at the limit counts
                (0.6, 0.3, 0.0),  # 5: better on test, worse on validation
            ]
        ),
        [0.25, 0.3, 0.4, 0.5, 1.0],
    )
    np.testing.assert_array_equal(found["index"], [np.nan, 5, 4, 1, 1])
    np.testing.assert_allclose(found["test_metric"], [np.nan, 1.0, 0.4, 0.64, 0.64])
    np.testing.assert_allclose(found["relative"], [np.nan, 1.25, 0.5, 0.8, 0.8])


@pytest.mark.parametrize("full_error", [1.0, 1.2, None])
def test_relative_is_nan_if_the_full_metric_is_not_positive(full_error: float | None) -> None:
    found = relative_performance(small_results([(0.3, 1.0, full_error), (0.5, 0.4, 0.5)]), [0.5])
    assert found["test_metric"].tolist() == [0.5]
    assert found["relative"].isna().all()


def test_inputs_stay_unchanged(results: Results) -> None:
    runs, evaluations = results.runs.copy(), results.evaluations.copy()
    relative_performance(results)
    pd.testing.assert_frame_equal(results.runs, runs)
    pd.testing.assert_frame_equal(results.evaluations, evaluations)


def test_runs_without_evaluations_have_no_metric(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([Entry("rfp")], tasks=["rte"], seeds=range(2), n_evaluations=5))
    (tmp_path / "rte/bert-base-cased/rfp_small_gpu_seed1/evaluations.jsonl").unlink()
    found = relative_performance(read_results(tmp_path), [0.5])
    assert found["test_metric"].isna().tolist() == [False, True]
    assert relative_performance(read_results(tmp_path).select([False, False])).empty
