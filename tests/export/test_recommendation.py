"""``nasbench recommend``: the network of a front to take, under limits on size, speed and accuracy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import nasbench
from nasbench.cli.main import cli
from nasbench.errors import UserError
from nasbench.export import recommendation
from nasbench.export.latency import Latency
from nasbench.export.recommendation import Limits, recommend
from nasbench.records.record import RunFolder
from nasbench.testing.models import TINY_MPNET
from nasbench.training.evaluation import Evaluator

RESULTS = Path(__file__).parents[2] / "results"
RECORD = RESULTS / "stsb" / "minilm-l6" / "ws-nas+ehvi_small_cpu_seed0"
RunOf = Callable[..., Path]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The evaluations of a committed run, read without the suite's code."""
    lines = (RECORD / "evaluations.jsonl").read_text().splitlines()
    return pd.DataFrame(map(json.loads, lines)).dropna(subset="error").sort_values(["error", "params", "index"])


@pytest.mark.parametrize("limit", [0.55, 0.6, 0.75, 0.9, 1.0])
def test_most_accurate_network_within_the_size(table: pd.DataFrame, limit: float) -> None:
    expected = table[table["params"] <= limit].iloc[0]
    assert recommend(RECORD, Limits(max_params=limit)).evaluation.index == expected["index"]


@pytest.mark.parametrize("limit", [0.55, 0.6, 0.75, 0.9, 1.0])
def test_most_accurate_network_within_the_bytes(table: pd.DataFrame, limit: float) -> None:
    """A parameter has four bytes. One byte less, and another network is the best."""
    n_bytes = 4 * int(table.loc[table["params"] <= limit, "n_params"].iloc[0])
    found = []
    for max_bytes in (n_bytes, n_bytes - 1):
        expected = table[4 * table["n_params"] <= max_bytes].iloc[0]
        found.append(recommend(RECORD, Limits(max_bytes=max_bytes)).evaluation)
        assert found[-1].index == expected["index"]
    assert 4 * found[0].n_params == n_bytes
    assert found[0].error < found[1].error


@pytest.mark.parametrize("size", ["50MB", "50mb", "50M", "50 MB", "50000000", "50000000B", "0.05GB", "50000kB"])
def test_command_takes_the_bytes_in_every_unit(table: pd.DataFrame, size: str) -> None:
    done = CliRunner().invoke(cli, ["recommend", str(RECORD), "--max-bytes", size])
    assert done.exit_code == 0, done.output
    index = table.loc[4 * table["n_params"] <= 50_000_000, "index"].iloc[0]
    assert done.output.startswith(f"evaluation {index}: ")
    assert index != table["index"].iloc[0]  # the most accurate of all is larger


@pytest.mark.parametrize("share", [0.8, 0.9, 0.95, 0.99])
def test_smallest_network_that_keeps_a_share_of_the_metric(table: pd.DataFrame, share: float) -> None:
    full = 1 - table[table["params"] == 1.0].sort_values("index")["error"].iloc[0]
    reaching = table[1 - table["error"] >= share * full].sort_values(["params", "error", "index"])
    found = recommend(RECORD, Limits(min_share=share)).evaluation
    assert (found.params, found.error) == (reaching["params"].iloc[0], reaching["error"].iloc[0])
    assert recommend(RECORD, Limits(min_metric=share * full)).evaluation == found


def test_command_prints_both_splits_and_how_to_save_the_network() -> None:
    done = CliRunner().invoke(cli, ["recommend", str(RECORD), "--min-metric", "95%"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert "% of those that can be pruned" in lines[0]
    assert lines[1].startswith("validation spearman: ")
    assert "the network was chosen by it" in lines[1]
    assert lines[2].startswith("test spearman: ")
    assert lines[3] == "save it: the same command with --export FOLDER"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-params", "0.3"], r"no network on the front .* the front reaches from 0\.5\d+ of the parameters"),
        (["--max-params", "0.6", "--min-metric", "99%"], r"no network on the front .* keeps the limits;"),
        (["--max-params", "2"], r"--max-params is a fraction, 0\.5 for half .* not 2"),
        (["--max-params", "0.9", "--max-prunable", "0.5"], r"exclude each other"),
        (["--min-metric", "much"], r"--min-metric is a number such as 0\.8, or a percentage such as 95%, not 'much'"),
        (["--max-bytes", "small"], r"--max-bytes is a size such as 50MB or 50000000, not 'small'"),
        (["--max-bytes", "0MB"], r"--max-bytes is a size such as 50MB or 50000000, not '0MB'"),
        (["--max-latency", "0.5"], r"has no configuration of the network, .*; leave out --max-latency"),
    ],
)
def test_limits_that_cannot_be_kept_get_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        CliRunner().invoke(cli, ["recommend", str(RECORD), *arguments], catch_exceptions=False, standalone_mode=False)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def run(run_of: RunOf) -> Path:
    """A run of networks of an MPNet, from the full one to the smallest."""
    configs = [[1] * (12 + 144), [1, 1, 0, 0] * 3 + [1] * 24 + [0] * 24 + [1] * 96, [0] * (12 + 144)]
    return run_of(configs, model=TINY_MPNET)


@pytest.fixture
def _made_up_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times in proportion to the parameters, twice as bad in the second shape."""

    def measured(full: Any, pruned: Any, length: int) -> list[Latency]:
        share = sum(p.numel() for p in pruned.parameters()) / sum(p.numel() for p in full.parameters())
        return [Latency(1, length, 10.0, 5.0 * share, 1), Latency(16, length, 10.0, 10.0 * share, 1)]

    monkeypatch.setattr(recommendation, "measure", measured)


@pytest.mark.usefixtures("_made_up_times")
def test_slow_networks_are_passed_over(run: Path) -> None:
    by_size = sorted(RunFolder(run).read_evaluations(), key=lambda e: e.params)
    front = recommend(run, Limits()).evaluation
    best = min(e.error for e in by_size)
    assert (front.error, front.params) == (best, min(e.params for e in by_size if e.error == best))
    smallest = by_size[0]
    found = recommend(run, Limits(max_latency=smallest.params + 1e-9))
    assert found.evaluation == smallest
    assert [times.batch_size for times in found.latency] == [1, 16]
    with pytest.raises(UserError, match=r"keep the others and are too slow"):
        recommend(run, Limits(max_latency=smallest.params / 2))


@pytest.mark.usefixtures("_made_up_times")
def test_recommended_network_is_saved(run: Path, tmp_path: Path) -> None:
    arguments = [
        "recommend",
        str(run),
        "--max-prunable",
        "0.99",
        "--max-latency",
        "1",
        "--export",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "speed: " in done.output
    loaded: Any = nasbench.load(tmp_path / "out")
    index = int(done.output.split(":")[0].removeprefix("evaluation "))
    evaluation = RunFolder(run).read_evaluations()[index]
    assert sum(p.numel() for p in loaded.parameters()) == evaluation.n_params


def test_speed_is_measured_for_a_network_of_the_front(run: Path) -> None:
    smallest = min(RunFolder(run).read_evaluations(), key=lambda e: e.params)
    times = recommendation._Speed(run, RunFolder(run).read_run()).of(smallest)
    assert [each.batch_size for each in times] == [1, 16]
    assert all(each.full_ms > 0 and each.pruned_ms > 0 for each in times)


def test_largest_network_of_three_objectives_need_not_be_the_most_accurate(
    run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without half of the heads, more parameters are left than without most of the units, but fewer operations."""
    metrics, accuracies = Evaluator.metrics, iter([0.90, 0.90, 0.95, 0.95])  # validation and test of each
    monkeypatch.setattr(Evaluator, "metrics", lambda *args: metrics(*args) | {"accuracy": next(accuracies)})
    configs = [[1, 1, 0, 0] * 3 + [1] * 144, [1] * 12 + ([1] * 13 + [0] * 35) * 3]
    run = run_of(configs, objectives=("error", "params", "macs"))
    larger, better = RunFolder(run).read_evaluations()
    assert (larger.params, larger.costs["macs"]) == pytest.approx((0.7626, 0.6), abs=1e-4)
    assert (better.params, better.costs["macs"]) == pytest.approx((0.7423, 0.8542), abs=1e-4)
    assert recommend(run, Limits()).evaluation == better
    assert recommend(run, Limits(min_metric=0.9)).evaluation == better

    def measured(_full: Any, pruned: Any, length: int) -> list[Latency]:
        is_slow = sum(p.numel() for p in pruned.parameters()) == better.n_params
        return [Latency(1, length, 10.0, 9.0 if is_slow else 2.0, 1)]

    monkeypatch.setattr(recommendation, "measure", measured)
    arguments = ["recommend", str(run), "--max-latency", "0.5", "--export", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, arguments)
    assert done.output.startswith("evaluation 0: "), done.output
    loaded: Any = nasbench.load(tmp_path / "out")
    assert sum(p.numel() for p in loaded.parameters()) == larger.n_params
