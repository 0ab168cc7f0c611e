"""Quantile normalisation, checked against scikit-learn, and freezing quantiles."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import QuantileTransformer
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.scoring.quantiles import (
    Frozen,
    Quantiles,
    ScenarioQuantiles,
    apply_knots,
    below_frozen,
    fit_knots,
    fit_quantiles,
    freeze,
    frozen_files,
    load_quantiles,
    normalise,
)
from nasbench.errors import NasbenchError, UserError

SMALL_PLAN = Plan([Entry("ws-nas", "ehvi"), Entry("rfp")], tasks=["rte"], seeds=range(2), n_evaluations=12)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=700),
        np.random.default_rng(1).normal(size=4321),
        np.random.default_rng(2).integers(0, 7, 500) / 7.0,
        np.append(np.ones(300), np.random.default_rng(3).random(100)),
        np.array([0.3]),
        np.array([0.3, 0.3, 0.3]),
        np.array([0.2, 0.8]),
    ],
    ids=["spread", "more values than knots", "ties", "mostly one value", "single", "constant", "two"],
)
def test_levels_equal_scikit_learn(values: np.ndarray) -> None:
    asked = np.concatenate([values, values - 1e-3, values + 0.37, [-100.0, 100.0, values.min(), values.max()]])
    theirs = QuantileTransformer(n_quantiles=min(1000, len(values)), subsample=None).fit(values[:, None])
    found = apply_knots(asked, fit_knots(values))
    np.testing.assert_allclose(found, theirs.transform(asked[:, None])[:, 0], rtol=0, atol=1e-12)


def test_inputs_stay_unchanged_and_nan_stays_nan() -> None:
    values = np.array([0.5, 0.1, np.nan])
    copy = values.copy()
    found = apply_knots(values, fit_knots([0.0, 1.0]))
    np.testing.assert_array_equal(values, copy)
    np.testing.assert_allclose(found, [0.5, 0.1, np.nan])


@pytest.mark.parametrize("values", [[], [0.0, np.nan], [np.inf]])
def test_fit_knots_rejects_empty_and_infinite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_knots(values)


def evaluations(scenario: list[str], error: list[float], suite_version: str = "1") -> pd.DataFrame:
    n = len(scenario)
    return pd.DataFrame(
        {
            "scenario": scenario,
            "error": error,
            "params": np.linspace(0.3, 1.0, n),
            "status": ["failed" if np.isnan(value) else "ok" for value in error],
            "suite_version": suite_version,
            "run_row": 0,
        }
    )


def test_scenarios_are_normalised_separately_and_failures_left_out() -> None:
    frame = evaluations(["a", "a", "b", "b", "a"], [0.1, 0.3, 5.0, 7.0, np.nan])
    before = frame.copy()
    values, warnings = normalise(frame, fit_quantiles(frame))
    np.testing.assert_allclose(values[:, 0], [0, 1, 0, 1, np.nan])
    assert values[4, 1] == 1.0  # a failed evaluation still has a size; here it is the largest
    assert warnings == []
    pd.testing.assert_frame_equal(frame, before)


def test_normalise_fits_a_scenario_without_frozen_quantiles_and_warns() -> None:
    values, warnings = normalise(evaluations(["a", "a"], [0.1, 0.3]), Quantiles(version=3))
    np.testing.assert_allclose(values[:, 0], [0, 1])
    assert len(warnings) == 1
    assert warnings[0].startswith("a: no frozen quantiles")


def test_normalise_warns_about_another_suite_version() -> None:
    knots = {name: np.array([0.0, 1.0]) for name in ("error", "params")}
    frozen = Quantiles({"a": ScenarioQuantiles(knots, "1", 1, 2)}, version=4)
    assert normalise(evaluations(["a"], [0.5], "1"), frozen)[1] == []
    (warning,) = normalise(evaluations(["a"], [0.5], "2"), frozen)[1]
    assert "suite version 2" in warning
    assert "v4" in warning


def test_values_outside_the_frozen_range_are_clipped() -> None:
    knots = {name: np.array([0.2, 0.4]) for name in ("error", "params")}
    frozen = Quantiles({"a": ScenarioQuantiles(knots, "1", 1, 2)}, version=1)
    values, warnings = normalise(evaluations(["a"] * 5, [0.1, 0.3, 0.9, 0.2, np.nan]), frozen)
    np.testing.assert_allclose(values[:, 0], [0.0, 0.5, 1.0, 0.0, np.nan])
    assert warnings == []


def test_validation_and_test_errors_below_the_frozen_range_are_counted() -> None:
    knots = {name: np.array([0.2, 0.4]) for name in ("error", "params")}
    frozen = Quantiles({name: ScenarioQuantiles(knots, "1", 1, 2) for name in "abc"}, version=1)
    frame = evaluations([*"aaaaabbc", "not-frozen"], [0.1, 0.3, 0.9, 0.2, np.nan, 0.2, 0.9, 0.3, 0.1])
    frame["test_error"] = [0.1, np.nan, 0.3, 0.15, np.nan, 0.2, 0.3, 0.1, 0.1]
    ends = "are below the lowest frozen error and count as equal to it: the hypervolume hides their progress"
    assert below_frozen(frame, frame, frozen) == [
        f"a: 25 % of the validation errors (1 of 4) and 67 % of the test errors on the final fronts (2 of 3) {ends}",
        f"c: 0 % of the validation errors (0 of 1) and 100 % of the test errors on the final fronts (1 of 1) {ends}",
    ]
    assert below_frozen(frame[:5], frame[:0], frozen) == [
        f"a: 25 % of the validation errors (1 of 4) and 0 % of the test errors on the final fronts (0 of 0) {ends}"
    ]
    assert below_frozen(frame, frame, Quantiles(frozen.scenarios)) == []


def test_freeze_round_trips_and_keeps_frozen_scenarios(tmp_path: Path) -> None:
    results, benchmark = tmp_path / "results", tmp_path / "benchmark"
    benchmark.mkdir()
    write_results(results, SMALL_PLAN)
    outcome = freeze(results, benchmark)
    first = outcome.path
    assert first.name == "quantiles_v1.json"
    assert outcome.scenarios == (
        "rte/bert-base-cased/gpu: 48 evaluations, runs: 4, methods: 2 (rfp, ws-nas), seeds: 2",
    )
    assert outcome.warnings == ()
    fitted = fit_quantiles(read_results(results).evaluations)
    loaded = load_quantiles(first)
    assert loaded.version == 1
    (scenario,) = fitted.scenarios
    for name, knots in fitted.scenarios[scenario].knots.items():
        np.testing.assert_array_equal(loaded.scenarios[scenario].knots[name], knots)
    assert freeze(results, benchmark) == Frozen(first, (), ())  # nothing new, nothing written
    assert len(frozen_files(benchmark)) == 1
    more = [Entry("s-nas", "random", shift=-0.1), Entry("rfp", None, "large")]
    write_results(results, Plan(more, ["rte", "cola"], seeds=[0], n_evaluations=9))
    second = freeze(results, benchmark).path
    assert second.name == "quantiles_v2.json"
    assert sorted(load_quantiles(second).scenarios) == ["cola/bert-base-cased/gpu", scenario]
    old, new = (json.loads(path.read_text())["cells"][scenario] for path in (first, second))
    assert old == new


def test_freeze_takes_only_the_scenarios_asked_for(tmp_path: Path) -> None:
    results, benchmark = tmp_path / "results", tmp_path / "benchmark"
    benchmark.mkdir()
    write_results(results, SMALL_PLAN)
    two = [Entry("s-nas", "random"), Entry("rfp", None, "large")]
    write_results(results, Plan(two, tasks=["cola"], seeds=[0], n_evaluations=9))
    with pytest.raises(UserError, match="unknown scenario 'cola/bert-base-cased/cpu'; did you mean 'cola/bert-base-ca"):
        freeze(results, benchmark, ["cola/bert-base-cased/cpu"])
    assert frozen_files(benchmark) == {}
    first = freeze(results, benchmark, ["cola/bert-base-cased/gpu"]).path
    assert list(load_quantiles(first).scenarios) == ["cola/bert-base-cased/gpu"]
    with pytest.raises(UserError, match="cola/bert-base-cased/gpu is frozen already"):
        freeze(results, benchmark, ["cola/bert-base-cased/gpu"])
    second = freeze(results, benchmark, ["rte/bert-base-cased/gpu"]).path
    together = tmp_path / "together"
    together.mkdir()
    everything = freeze(results, together).path
    cells = [json.loads(path.read_text())["cells"] for path in (second, everything)]
    assert cells[0] == cells[1]
    assert len(cells[0]) == 2


def test_freeze_rejects_damaged_records(tmp_path: Path) -> None:
    paths = write_results(tmp_path / "results", SMALL_PLAN)
    for path in paths[:3]:
        (path / "run.json").write_text("{")
    with pytest.raises(NasbenchError, match="nothing is frozen while records are damaged") as caught:
        freeze(tmp_path / "results", tmp_path)
    assert caught.value.exit_code == 1
    for path in paths[:3]:
        assert path.name in str(caught.value)
    assert frozen_files(tmp_path) == {}


def test_freeze_warns_about_failed_and_unfinished_runs(tmp_path: Path) -> None:
    write_results(tmp_path, SMALL_PLAN)
    write_results(tmp_path, Plan([Entry("unfinished")], tasks=["rte"], seeds=[0], status="running"))
    write_results(tmp_path, Plan([Entry("unlucky")], tasks=["rte"], seeds=[0], status="failed"))
    outcome = freeze(tmp_path, tmp_path)
    assert [("unfinished" in line, "unlucky" in line) for line in outcome.warnings] == [(True, False), (False, True)]
    assert "methods: 3 (rfp, unlucky, ws-nas)" in outcome.scenarios[0]


def test_freeze_rejects_a_scenario_with_one_method(tmp_path: Path) -> None:
    searchers = [Entry("ws-nas", "ehvi"), Entry("ws-nas", "random")]
    write_results(tmp_path, Plan(searchers, tasks=["cola"], seeds=[0, 1], n_evaluations=10))
    with pytest.raises(UserError, match="cola/bert-base-cased/gpu: not frozen, because only ws-nas has run there"):
        freeze(tmp_path, tmp_path)
    assert frozen_files(tmp_path) == {}
    write_results(tmp_path, SMALL_PLAN)
    outcome = freeze(tmp_path, tmp_path)
    assert list(load_quantiles(outcome.path).scenarios) == ["rte/bert-base-cased/gpu"]
    (warning,) = outcome.warnings
    assert warning.startswith("cola/bert-base-cased/gpu: not frozen")


def test_freeze_rejects_unofficial_runs(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([Entry("rfp")], tasks=["rte"], seeds=[0], unofficial=("another budget",)))
    with pytest.raises(UserError, match="no official runs"):
        freeze(tmp_path, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "cells": {"a": {"suite_version": "1"}}}'])
def test_load_quantiles_rejects_damaged_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "quantiles_v1.json"
    path.write_text(text)
    with pytest.raises(UserError, match="not a file of frozen quantiles"):
        load_quantiles(path)
