"""Runs with other objectives than error and parameters: record, front, resuming, searchers, identity."""

import dataclasses
import io
import json

import numpy as np
import pytest
from support.runs import QUICK, Evaluates, folder_of, kill, run

from nasbench.analysis.reading.results import read_results
from nasbench.errors import CannotResume, UserError
from nasbench.export.command import command_of
from nasbench.methods.random_search import RandomSearch
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.objectives.costs import counted_costs
from nasbench.objectives.measurers import MEASURERS
from nasbench.objectives.measuring import Measurer
from nasbench.plugins import registry
from nasbench.records.front import front_of
from nasbench.records.record import RunFolder
from nasbench.records.resume import check_same
from nasbench.records.schema import RecordError
from nasbench.runs.observer import Observer
from nasbench.runs.request import make_request
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import Killed, MethodSubject
from nasbench.testing.tasks import TINY_PAIR
from nasbench.trust.checks import record_checks

THREE = ("error", "params", "macs")


@pytest.fixture
def subject(tmp_path):
    return MethodSubject(Evaluates, tmp_path)


@pytest.fixture
def outcome(subject, tmp_path):
    return run(subject, tmp_path / "three", objectives=THREE)


def test_a_usual_record_does_not_mention_objectives(subject, tmp_path):
    run(subject, tmp_path / "usual")
    folder = folder_of(tmp_path / "usual")
    texts = (folder / "run.json").read_text(), (folder / "evaluations.jsonl").read_text()
    assert all(word not in text for text in texts for word in ("objectives", '"costs"'))
    assert "error" not in folder.name


def test_evaluations_have_the_costs_of_their_networks(outcome):
    dims = Dimensions.from_json(outcome.record.dimensions)
    costs, space = counted_costs(THREE), make_space("small", dims)
    for evaluation in outcome.evaluations:
        found = costs.of(space, space.from_json(evaluation.config))[0]
        assert evaluation.cost_values == tuple(found)
        assert [*evaluation.costs] == ["params", "macs"]
        assert evaluation.costs["params"] == evaluation.params
    assert outcome.record.identity.objectives == [*THREE]
    assert outcome.record.costs["macs"]["source"] == "counted"


def test_only_members_of_the_front_of_all_objectives_have_a_test_error(outcome):
    seen = []
    for evaluation in outcome.evaluations:
        values = np.array([evaluation.error, *evaluation.cost_values])
        beaten = any((other <= values).all() and (other < values).any() for other in seen)
        assert (evaluation.test_error is None) == beaten
        seen.append(values)
    kept = {e.index for e in front_of(outcome.evaluations)}
    final = [i for i, v in enumerate(seen) if not any((o <= v).all() and (o < v).any() for o in seen)]
    assert kept == set(final)


def test_the_folder_of_a_run_names_its_objectives(subject, tmp_path):
    names = [
        run(subject, tmp_path / "a", objectives=each).record.identity.folder(False, True).split("/")[-1]
        for each in (("error", "params"), ("error", "macs"), THREE)
    ]
    assert names == [f"evaluates_small_cpu{each}_seed3" + names[0][-9:] for each in ("",)] + names[1:]
    assert "_cpu_error+macs_seed3" in names[1]
    assert "_cpu_error+params+macs_seed3" in names[2]
    assert len({path.parent for path in (tmp_path / "a").rglob("run.json")}) == 3


def test_a_killed_run_resumes_to_the_same_record(tmp_path):
    subject = MethodSubject(WeightSharingNAS, tmp_path, QUICK, registry.searchers()["ehvi-exact"], n_evaluations=9)
    whole = run(subject, tmp_path / "whole", objectives=THREE)
    kill(subject, tmp_path / "killed", at=8, objectives=THREE)
    again = run(subject, tmp_path / "killed", objectives=THREE)
    assert again.comparable() == whole.comparable()
    other = dataclasses.replace(whole.record.identity, objectives=None)
    with pytest.raises(CannotResume, match="objectives"):
        check_same(whole.record, dataclasses.replace(whole.record, identity=other), tmp_path)


def test_the_command_of_a_record_names_its_objectives(outcome, subject, tmp_path):
    assert "--objectives error,params,macs" in command_of(outcome.record)
    assert "--objectives" not in command_of(run(subject, tmp_path / "usual").record)


@pytest.mark.parametrize("change", ["value", "missing", "none"])
def test_costs_that_are_not_those_of_the_network_are_found(outcome, change):
    space = make_space("small", Dimensions.from_json(outcome.record.dimensions))
    assert all(check.outcome == "ok" for check in record_checks(outcome.record, outcome.evaluations, space))

    def changed(costs):
        return {"value": costs | {"macs": 0.01}, "missing": {"params": costs["params"]}, "none": None}[change]

    lines = [dataclasses.replace(each, costs=changed(each.costs)) for each in outcome.evaluations]
    found = {check.name: check for check in record_checks(outcome.record, lines, space)}
    assert found["parameters"].outcome == "wrong"


def test_lines_with_costs_of_different_objectives_are_damage(outcome, tmp_path):
    folder = folder_of(tmp_path / "three")
    lines = (folder / "evaluations.jsonl").read_text().splitlines()
    assert len(lines) == len(outcome.evaluations)
    line = json.loads(lines[2])
    lines[2] = json.dumps(line | {"costs": {"macs": line["costs"]["macs"]}})
    (folder / "evaluations.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(RecordError, match=r"line 3: costs \['macs'\] where the first line has"):
        RunFolder(folder).read_evaluations()


def test_more_objectives_than_a_searcher_handles_are_refused():
    with pytest.raises(UserError, match="'depth' handles 2 objectives, not error,params,macs"):
        make_request("ws-nas-depth", "demo", objectives="error,params,macs")
    assert make_request("ws-nas-depth", "demo", objectives="macs,error").objectives == ("error", "macs")


@pytest.mark.parametrize("name", ["ehvi", "ehvi-exact", "morea", "local", "nsga2"])
def test_searchers_are_told_three_values_and_go_on(name, tmp_path):
    cls = registry.searchers()[name]
    options = cls.Options()
    if hasattr(options, "n_candidates"):
        options = dataclasses.replace(options, n_candidates=60)
    subject = MethodSubject(WeightSharingNAS, tmp_path, QUICK, cls, n_evaluations=12)
    found = run(subject, tmp_path / name, objectives=THREE, searcher_options=options)
    assert found.record.status == "complete"
    assert len({evaluation.key for evaluation in found.evaluations}) == 12


def test_a_method_of_a_process_of_its_own_gets_the_costs(tmp_path):
    from nasbench import api

    plugin = tmp_path / "climber.py"
    plugin.write_text(
        "from nasbench import Searcher\n\n\n"
        "class Climber(Searcher):\n"
        '    """Notes costs."""\n\n'
        '    name = "cost-climber"\n    summary = "for tests"\n\n'
        "    def ask(self):\n        return self.space.redraw(self.space.midpoint, self.rng)\n\n"
        "    def tell(self, config, values):\n"
        "        error, cost = values\n"
        "        assert self.costs.names == ('macs',)\n"
        "        assert self.costs.of(self.space, config)[0, 0] == cost\n"
    )
    from nasbench.isolation.running import prepared

    arguments = {"searcher": "cost-climber", "plugins": (plugin,), "results": tmp_path / "runs", "device": "cpu"}
    with prepared(
        None, "ws-nas", TINY_PAIR, **arguments, objectives="error,macs", max_evaluations=4, settings=["epochs=1"],
        model=TINY_BERT,
    ) as (_, carry_out):  # fmt: skip
        record = carry_out(None)
    assert (record.status, record.reason) == ("complete", None)
    found = api.Run(next((tmp_path / "runs").rglob("run.json")).parent)
    assert len(found.evaluations) == 4
    assert json.loads((found.folder / "evaluations.jsonl").read_text().splitlines()[0])["costs"] == {"macs": 1.0}


def test_random_search_handles_as_many_objectives_as_a_run_may_have():
    assert RandomSearch.most_objectives == 3


@pytest.fixture
def quick(monkeypatch):
    """The models of costs fitted by the runs of a test. Each takes 10,000 s; the clock's readings add few seconds."""
    from nasbench.objectives import measurers, measuring, modelled

    monkeypatch.setattr(measuring, "QUICK_S", 0.0)
    monkeypatch.setattr(modelled, "N_NETWORKS", 8)
    fitted = []
    fit = measurers.fit_model

    def slow(*arguments):
        fitted.append(dataclasses.replace(fit(*arguments), seconds=10_000.0))
        return fitted[-1]

    monkeypatch.setattr(measurers, "fit_model", slow)
    return fitted


def test_a_run_with_latency_fits_a_model_pays_for_it_and_measures_its_front(subject, tmp_path, quick):
    changes, phases = {"objectives": ("error", "latency")}, []

    class Phases(Observer):
        def phase(self, name, elapsed_s):  # noqa: ARG002
            phases.append(name)

    found = run(subject, tmp_path / "a", observer=Phases(), **changes)
    (model,) = quick
    described = found.record.costs["latency"]
    front = front_of(found.evaluations)
    n = len(front)
    assert phases[-n:] == [f"measuring network {place} of {n} of the front" for place in range(1, n + 1)]
    assert [entry["index"] for entry in described["front"]] == [each.index for each in front]
    for entry in described["front"]:
        assert 0 < entry["low"] <= entry["ratio"] <= entry["high"]
    assert (described["median_error"], described["n_networks"]) == (model.median_error, 8)
    space = make_space("small", Dimensions.from_json(found.record.dimensions))
    for evaluation in found.evaluations:
        counts = np.array([evaluation.head_counts]), np.array([evaluation.unit_counts])
        assert evaluation.cost_values == (model.of(space.dims, *counts)[0],)
        assert 10_000 < evaluation.elapsed_s < 20_000
    assert all(check.outcome == "ok" for check in record_checks(found.record, found.evaluations, space))
    lies = [dataclasses.replace(each, costs={"latency": 0.5}) for each in found.evaluations]
    checks = {check.name: check for check in record_checks(found.record, lies, space)}
    assert checks["parameters"].outcome == "wrong"
    # Another run on this device takes the model from the results folder and is charged the same seconds.
    other = run(subject, tmp_path / "a", seed=4, **changes)
    assert len(quick) == 1
    assert other.evaluations[0].elapsed_s == pytest.approx(found.evaluations[0].elapsed_s)


def test_a_resumed_run_keeps_its_latency_model_and_is_charged_once(subject, tmp_path, quick):
    changes = {"objectives": ("error", "params", "latency")}
    whole = run(subject, tmp_path / "whole", **changes)
    kill(subject, tmp_path / "whole" / "killed", at=3, **changes)
    for path in (tmp_path / "whole" / "killed" / "latency-models").glob("*"):
        path.write_text("{}")
    n_fitted = len(quick)
    again = run(subject, tmp_path / "whole" / "killed", **changes)
    assert len(quick) == n_fitted == 2
    assert again.record.costs["latency"]["seconds"] == 10_000
    assert 10_000 < again.evaluations[0].elapsed_s < again.evaluations[-1].elapsed_s < 20_000
    assert 10_000 < sum(again.record.charged_s.values()) < 20_000
    assert [each.key for each in again.evaluations] == [each.key for each in whole.evaluations]


def test_a_run_killed_before_anything_was_saved_is_charged_for_its_latency_model(subject, tmp_path, quick):
    changes = {"objectives": ("error", "params", "latency")}
    lost = Observer()

    def fails(*_):
        raise Killed

    lost.run_started = fails
    with pytest.raises(Killed):
        run(subject, tmp_path, observer=lost, **changes)
    again = run(subject, tmp_path, **changes)
    assert len(quick) == 1
    assert 10_000 < again.evaluations[0].elapsed_s < 20_000


@pytest.mark.parametrize("name", ["latency", "peak_memory", "energy"])
def test_a_table_has_no_network_to_measure(name):
    from nasbench.tables.simulation import make_simulation

    with pytest.raises(UserError, match=f"leave out the objective {name}"):
        make_simulation("ws-nas", "demo", objectives=f"error,{name}")


@pytest.mark.parametrize("name", ["latency", "peak_memory", "energy"])
def test_networks_of_low_rank_have_no_modelled_cost(name):
    with pytest.raises(UserError, match=f"{name} is modelled from heads and units"):
        make_request("low-rank", "demo", objectives=f"error,{name}")


def test_an_objective_that_the_device_cannot_measure_is_refused_before_anything_is_written(subject, tmp_path):
    with pytest.raises(UserError, match="needs a GPU: a CPU has no counter"):
        run(subject, tmp_path / "a", objectives=("error", "energy"))
    assert not (tmp_path / "a").exists()


class KnownCosts(Measurer):
    """Stands for a measurer: costs by heads and units, and networks of a front cost twice as much."""

    def ratios(self, subnetworks):
        counts = np.array([[n.head_counts.sum(), n.unit_counts.sum()] for n in subnetworks]) / [8, 48 * 4]
        return np.repeat(0.1 + counts.sum(axis=1, keepdims=True), len(self.shapes), axis=1)

    def measured(self, subnetwork):
        ratio = 2 * float(self.ratios([subnetwork])[0, 0])
        return {"ratio": ratio, "low": ratio, "high": ratio}


def test_a_record_of_what_only_another_machine_can_measure_is_read_and_verified(subject, tmp_path, quick, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(MEASURERS, "energy", KnownCosts)
        elsewhere.setitem(MEASURERS, "peak_memory", KnownCosts)
        found = run(subject, tmp_path, objectives=("error", "peak_memory", "energy"))
    assert [model.name for model in quick] == ["peak_memory", "energy"]
    assert 20_000 < found.evaluations[0].elapsed_s < 30_000
    assert {path.parent.name for path in tmp_path.glob("*-models/*")} == {"peak_memory-models", "energy-models"}
    space = make_space("small", Dimensions.from_json(found.record.dimensions))
    assert all(check.outcome == "ok" for check in record_checks(found.record, found.evaluations, space))
    results = read_results(tmp_path)
    assert not results.findings
    front = {each.index: each for each in front_of(found.evaluations)}
    for name in ("peak_memory", "energy"):
        measured = results.evaluations[f"measured_{name}"].dropna()
        assert [*measured.index] == sorted(front)
        recorded = {entry["index"]: entry["ratio"] for entry in found.record.costs[name]["front"]}
        assert measured.to_dict() == recorded
    assert command_of(found.record).count("--objectives error,peak_memory,energy") == 1
    make_request("ws-nas", "demo", device="cpu", objectives=found.record.identity.objectives)


def test_the_picture_has_the_first_cost_as_axis_and_the_second_as_colour(outcome, subject, tmp_path):
    from nasbench.runs.picture import draw_front

    two = run(subject, tmp_path / "two", objectives=("error", "macs"))
    axes = draw_front(two.record, two.evaluations).axes
    assert [ax.get_xlabel() for ax in axes] == ["multiply-accumulates (% of the full network)"]
    front = front_of(two.evaluations)
    shown = [line for line in axes[0].lines if line.get_label().startswith("Pareto front")]
    np.testing.assert_allclose(shown[0].get_xdata(), [100 * each.costs["macs"] for each in front])
    axes = draw_front(outcome.record, outcome.evaluations).axes
    assert axes[0].get_xlabel() == "parameters (% of the full network)"
    assert axes[1].get_ylabel() == "multiply-accumulates (% of the full network)"


def test_the_summary_and_the_frame_of_a_run_have_its_costs(outcome, tmp_path):
    from rich.console import Console

    from nasbench.api import Run
    from nasbench.cli.summary import front_table

    console = Console(width=120, record=True, file=io.StringIO())
    console.print(front_table(outcome.record, front_of(outcome.evaluations), None))
    text = console.export_text()
    assert "macs" in text.splitlines()[0]
    for evaluation in front_of(outcome.evaluations):
        assert f"{100 * evaluation.costs['macs']:.1f} %" in text
    frame = Run(folder_of(tmp_path / "three")).evaluations
    np.testing.assert_array_equal(frame["cost.macs"], [each.costs["macs"] for each in outcome.evaluations])
    assert "cost.params" not in frame


def test_the_view_of_a_run_has_the_hypervolume_of_all_objectives(outcome, tmp_path):
    from nasbench.cli.progress import Progress
    from nasbench.search.pareto import hypervolume

    view = Progress()
    view.run_started(outcome.record, folder_of(tmp_path / "three"), len(outcome.evaluations), 1.0)
    values = [(each.error, *each.cost_values) for each in outcome.evaluations]
    assert view.raw_hypervolume == pytest.approx(hypervolume(values, [1.0, 1.0, 1.0]))
