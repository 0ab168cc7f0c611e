"""Runs on a table: they agree with runs on the network, and their clock is simulated."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tables.conftest import SEED, MakeRequest

from nasbench.analysis.reading.results import read_results
from nasbench.errors import UserError
from nasbench.export.command import command_of
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.objectives.costs import counted_costs
from nasbench.records.record import RunFolder, RunRecord
from nasbench.runs.problem import Problem
from nasbench.runs.request import RunRequest
from nasbench.tables.simulation import CLOCKS, make_simulation, simulate
from nasbench.tables.table import Table, write_table
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import NOT_REPEATABLE, Outcome
from nasbench.testing.tasks import TINY_PAIR, TINY_REGRESSION

TRAINED = ["epochs=2", "learning_rate=0.002"]


def request_for(table: Table, results: Path, **changes: object) -> RunRequest:
    usual: dict[str, object] = {"model": TINY_BERT, "settings": TRAINED, "seed": SEED, "results": results}
    return make_simulation("ws-nas", TINY_REGRESSION, table=table.path, **{**usual, **changes})[0]


def run_on(table: Table, results: Path, **changes: object) -> tuple[RunRecord, Outcome]:
    request = request_for(table, results, **changes)
    record = simulate(request, table)
    return record, Outcome(record, RunFolder(request.folder).read_evaluations())


def test_table_and_real_run_record_the_same_values(table: Table, real_run: Outcome, tmp_path: Path) -> None:
    """The same searcher and seed propose the same networks, because every error is the same."""
    record, simulated = run_on(table, tmp_path, max_evaluations=60)
    assert record.status == "complete", record.reason
    assert len(simulated.evaluations) == 60
    measured = ("error", "metrics", "test_error", "test_metrics")
    without = (*NOT_REPEATABLE, "weights", *measured)
    assert simulated.comparable(without) == real_run.comparable(without)
    for ours, theirs in zip(simulated.evaluations, real_run.evaluations, strict=True):
        for name in measured:
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-6)


def test_a_table_answers_for_other_counted_objectives(table: Table, tmp_path: Path) -> None:
    names = ("error", "params", "macs")
    record, found = run_on(table, tmp_path, searcher="ehvi-exact", max_evaluations=12, objectives=",".join(names))
    assert record.status == "complete", record.reason
    costs = counted_costs(names)
    for evaluation in found.evaluations:
        config = table.space.from_json(evaluation.config)
        assert evaluation.cost_values == tuple(costs.of(table.space, config)[0])
    assert record.costs is not None
    assert [*record.costs] == ["params", "macs"]


@pytest.mark.parametrize("searcher", ["local", "nsga2", "ehvi-exact"])
def test_searchers_find_the_same_networks_on_the_table(
    searcher: str, table: Table, make_request: MakeRequest, tmp_path: Path
) -> None:
    from nasbench.runs import runner

    request = make_request(tmp_path / "real", searcher, space="small-grid", max_evaluations=25)
    runner.run(request)
    real = [evaluation.key for evaluation in RunFolder(request.folder).read_evaluations()]
    _, simulated = run_on(table, tmp_path, searcher=searcher, max_evaluations=25)
    assert [evaluation.key for evaluation in simulated.evaluations] == real


def test_clock_charges_recorded_seconds_and_the_searchers_own(table: Table, tmp_path: Path) -> None:
    """The fake clock advances by a nanosecond at every reading, so the searcher's own time is known to be small."""
    readings = itertools.count()
    request = request_for(table, tmp_path, max_evaluations=20)
    record = simulate(request, table, clock=lambda: 1e-9 * next(readings))
    evaluations = RunFolder(request.folder).read_evaluations()
    configs = [table.space.from_json(evaluation.config) for evaluation in evaluations]
    passes = [table.entry(config).seconds for config in configs]
    own = 1e-9 * next(readings)
    assert 0 < own < 0.1 * min(passes)  # a pass that is left out is more than the tolerance
    assert record.charged_s["training"] == pytest.approx(table.info.training_s, abs=own)
    assert record.charged_s["validation"] == pytest.approx(sum(passes), abs=own)
    assert 0 < record.charged_s["search"] < own
    n = table.info.n_validation
    assert evaluations[-1].latency_ms == pytest.approx(1e3 * passes[-1] / n, abs=1e3 * own / n)


@pytest.mark.parametrize("kind", ["wall", "cpu"])
def test_searcher_is_charged_seconds_of_the_kind_of_its_table(kind: str, table: Table, tmp_path: Path) -> None:
    """Each clock of the two is a fake one that counts its readings; only that of the table is read."""
    own = Table(table.path)
    own.__dict__["info"] = dataclasses.replace(table.info, clock=kind)  # as read from a file
    readings = dict.fromkeys(CLOCKS, 0)

    def count(name: str) -> float:
        readings[name] += 1
        return 1e-3 * readings[name]

    with pytest.MonkeyPatch.context() as patch:
        for name in CLOCKS:
            patch.setitem(CLOCKS, name, functools.partial(count, name))
        record = simulate(request_for(table, tmp_path, max_evaluations=5), own)
    assert record.status == "complete", record.reason
    other = "wall" if kind == "cpu" else "cpu"
    assert (readings[kind] > 5, readings[other]) == (True, 0)
    assert 0 < record.charged_s["search"] < 1e-3 * readings[kind]


def test_clocks_of_tables_are_those_of_python() -> None:
    """Sleeping takes wall-clock seconds and no CPU seconds."""
    before = {name: clock() for name, clock in CLOCKS.items()}
    threading.Event().wait(0.05)
    passed = {name: clock() - before[name] for name, clock in CLOCKS.items()}
    assert passed["wall"] >= 0.049
    assert passed["cpu"] < passed["wall"]


def test_budget_ends_a_simulated_run(table: Table, tmp_path: Path) -> None:
    budget_s = 1.3 * table.info.training_s
    record, outcome = run_on(table, tmp_path, budget_s=budget_s, searcher="local")
    assert record.status == "complete"
    assert len(outcome.evaluations) > 3
    assert outcome.evaluations[-1].elapsed_s <= budget_s


def test_record_says_that_it_is_simulated(table: Table, tmp_path: Path) -> None:
    record, outcome = run_on(table, tmp_path, max_evaluations=5)
    assert record.simulated == "tiny"
    assert record.unofficial[0] == "simulated on table tiny"
    assert record.identity.device_class == "table"  # never in a section with runs on a network
    assert record.provenance["table"]["sha256"] == table.sha256
    assert all(evaluation.weights is None for evaluation in outcome.evaluations)
    assert " --model tiny-bert --table tiny.parquet --set learning_rate=0.002 " in command_of(record)
    assert "--space" not in command_of(record)
    assert RunFolder(next(tmp_path.rglob("run.json")).parent).read_run() == record


def test_runs_of_one_seed_on_two_tables_are_two_scenarios(table: Table, tmp_path: Path) -> None:
    shape = tuple(table.space.upper + 1)
    metrics = np.stack([table.columns[f"metric.{name}"] for name in table.info.metrics], axis=-1).reshape(*shape, -1)
    other = Table(tmp_path / "other.parquet")
    write_table(other.path, table.info, 0.9 * metrics, metrics, table.columns["pass_s"].reshape(shape)[..., 0])
    results = tmp_path / "results"
    for each in (table, other):
        assert run_on(each, results, max_evaluations=5)[0].status == "complete"
    read = read_results(results)
    assert read.findings == ()
    expected = {f"tiny-regression/tiny-bert/table-{each.sha256[:8]}" for each in (table, other)}
    assert set(read.runs["scenario"]) == expected
    for path in results.rglob("run.json"):  # in older records, only the provenance tells the tables apart
        data = json.loads(path.read_text())
        del data["identity"]["table"]
        path.write_text(json.dumps(data))
    assert read_results(results).findings == ()
    assert set(read_results(results).runs["scenario"]) == expected


def test_record_without_the_new_field_can_be_read(table: Table, tmp_path: Path) -> None:
    run_on(table, tmp_path, max_evaluations=5)
    path = next(tmp_path.rglob("run.json"))
    data = json.loads(path.read_text())
    del data["simulated"]
    path.write_text(json.dumps(data))
    assert RunFolder(path.parent).read_run().simulated is None


def test_complete_simulated_run_is_not_repeated_and_a_killed_one_starts_afresh(table: Table, tmp_path: Path) -> None:
    request = request_for(table, tmp_path, max_evaluations=5)
    simulate(request, table)
    with pytest.raises(UserError, match="this run is complete"):
        simulate(request, table)
    path = request.folder / "run.json"
    path.write_text(path.read_text().replace('"complete"', '"running"'))
    assert simulate(request, table).status == "complete"
    assert len(RunFolder(request.folder).read_evaluations()) == 5


def test_table_has_no_values_of_modules(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def report(_: object, problem: Problem) -> None:
        problem.evaluate_module(torch.nn.Linear(2, 2), problem.space.largest, "module")

    monkeypatch.setattr(WeightSharingNAS, "run", report)
    record, _ = run_on(table, tmp_path, max_evaluations=10)
    assert record.reason == (
        "on a table there are no weights and no examples, so the problem has no 'evaluate_module'; run without --table"
    )


def test_networks_without_finite_outputs_fail_as_on_the_network(table: Table, tmp_path: Path) -> None:
    shape = tuple(table.space.upper + 1)
    metrics = np.stack([table.columns[f"metric.{name}"] for name in table.info.metrics], axis=-1).reshape(*shape, -1)
    metrics[2, 6, 1] = np.nan  # the middle configuration
    broken = Table(tmp_path / "broken.parquet")
    write_table(broken.path, table.info, metrics, metrics, table.columns["pass_s"].reshape(shape)[..., 0])
    record, outcome = run_on(broken, tmp_path, max_evaluations=10)
    assert record.status == "complete"
    assert [evaluation.status for evaluation in outcome.evaluations[:4]] == ["ok", "ok", "failed", "ok"]
    assert outcome.evaluations[2].reason == "the outputs were not finite when the table was made"


@pytest.mark.parametrize("damage", ["a page", "a row"])
def test_damaged_table_is_no_failure_of_the_method(damage: str, table: Table, tmp_path: Path) -> None:
    whole, broken = table.path.read_bytes(), Table(tmp_path / "broken.parquet")
    if damage == "a page":
        broken.path.write_bytes(whole[:4] + bytes(400) + whole[404:])
    else:
        pq.write_table(pq.read_table(table.path).slice(1), broken.path)
    with pytest.raises(UserError, match=r"broken\.parquet: not a complete table"):
        request_for(broken, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_depths_cost_one_pass(table: Table, tmp_path: Path) -> None:
    """ws-nas-depth runs on a table too: all depths of a width are charged as their recorded pass."""
    settings = {"model": TINY_BERT, "settings": TRAINED, "seed": SEED, "results": tmp_path, "max_evaluations": 4}
    request, _ = make_simulation("ws-nas-depth", TINY_REGRESSION, table=table.path, **settings)
    record = simulate(request, table, clock=lambda: 0.0)
    evaluations = RunFolder(request.folder).read_evaluations()
    assert [evaluation.config["layers"] for evaluation in evaluations] == [0, 1, 2, 3]
    assert record.charged_s["validation"] == pytest.approx(table.entry(table.space.largest).pass_s)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "s-nas"}, "--table holds the networks of one super-network; use --method ws-nas, not s-nas"),
        ({"space": "medium"}, "--table holds the space 'small-grid'; leave out --space medium"),
        ({"device": "cuda"}, "--table simulates the device on which the table was made; leave out --device cuda"),
        ({"precision": "bf16"}, "--table computes nothing; leave out --precision bf16"),
        ({"threads": 2}, "--table computes nothing; leave out --threads 2"),
        ({"task": TINY_PAIR}, "is of tiny-regression with tiny-bert, not tiny-pair with tiny-bert"),
        ({"settings": []}, "its super-network was trained with other options than these of --method"),
        ({"table": Path("none.parquet")}, "--table none.parquet: no such file; 'nasbench tabulate' makes one"),
        ({"budget_s": 0.01}, "leaves 0 s for it; give --budget"),
        ({"table": None}, "--table: no table of task 'tiny-regression' with model 'tiny-bert'"),
    ],
)
def test_mistakes_are_one_clear_line(changes: dict[str, object], message: str, table: Table, tmp_path: Path) -> None:
    usual: dict[str, object] = {
        "method": "ws-nas",
        "task": TINY_REGRESSION,
        "table": table.path,
        "model": TINY_BERT,
        "settings": TRAINED,
        "results": tmp_path,
    }
    with pytest.raises(UserError) as caught:
        make_simulation(**{**usual, **changes})  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
