"""Runs with different objectives are never mixed: names, fronts, scores, sections, figures."""

import dataclasses

import numpy as np
import pytest
from support.generated_results import Entry, Plan, write_results
from support.record_edits import edit_identity, edit_line, edit_run

from nasbench.analysis.experiments.selection import usual
from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.explorer import script_data
from nasbench.analysis.report.leaderboard import render
from nasbench.analysis.report.sections import sections
from nasbench.analysis.scoring.fronts import front_mask
from nasbench.analysis.scoring.quantiles import apply_knots, fit_knots
from nasbench.analysis.scoring.scores import largest_hypervolume, score
from nasbench.records.record import Evaluation, RunFolder
from nasbench.search.pareto import hypervolume, pareto_mask

PLAN = Plan([Entry("ws-nas", "ehvi"), Entry("ws-nas", "random")], tasks=["rte"], seeds=range(2), n_evaluations=12)
TWO, THREE = ["error", "macs"], ["error", "params", "macs"]


def _with_objectives(folder, objectives, seed):
    """Runs as in the plan, with random costs in their lines."""
    rng = np.random.default_rng(seed)
    for path in write_results(folder, PLAN, seed=seed):
        files = RunFolder(path)
        record, lines = files.read_run(), files.read_evaluations()
        costs = {name: float(rng.random()) for name in objectives[1:]}
        (path / RunFolder.EVALUATIONS).unlink()
        again = RunFolder(path)
        for line in lines:
            costs = {name: line.params if name == "params" else float(rng.random()) for name in objectives[1:]}
            again.append(dataclasses.replace(line, costs=costs))
        identity = dataclasses.replace(record.identity, objectives=objectives)
        again.finish(dataclasses.replace(record, identity=identity))
        path.rename(path.with_name(path.name.replace("_seed", f"_{'+'.join(objectives)}_seed")))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    write_results(alone, PLAN, seed=1)
    _with_objectives(together, TWO, 2)
    _with_objectives(together, THREE, 3)
    write_results(together, PLAN, seed=1)
    return alone, together


def test_tracks_and_scenarios_of_other_objectives_have_names_of_their_own(folders):
    runs = read_results(folders[1]).runs
    assert len(runs) == 12
    assert set(runs["scenario"]) == {
        "rte/bert-base-cased/gpu", "rte/bert-base-cased/gpu:error+macs", "rte/bert-base-cased/gpu:error+params+macs"
    }  # fmt: skip
    assert set(runs["track"]) == {"paper", "paper:error+macs", "paper:error+params+macs"}
    assert set(runs["objectives"]) == {"error,params", "error,macs", "error,params,macs"}
    assert usual(runs).sum() == 4
    assert (runs.loc[usual(runs), "objectives"] == "error,params").all()


def test_usual_runs_have_the_same_scores_with_and_without_the_others(folders):
    alone, together = (score(read_results(folder)) for folder in folders)
    own = (together.runs["objectives"] == "error,params").to_numpy()
    np.testing.assert_array_equal(together.hypervolume[own], alone.hypervolume)
    np.testing.assert_array_equal(together.test[own], alone.test)


def test_fronts_are_those_of_the_runs_own_objectives(folders):
    found = read_results(folders[1])
    mask = front_mask(found.evaluations)
    for row, part in found.evaluations.groupby("run_row"):
        names = found.runs["objectives"][row].split(",")
        values = part[["cost.macs" if name == "macs" else name for name in names]].to_numpy()
        np.testing.assert_array_equal(mask[part.index], pareto_mask(values))


@pytest.mark.parametrize(("objectives", "largest"), [("error,macs", 4), ("error,params,macs", 8)])
def test_hypervolumes_are_those_of_the_normalised_objectives(folders, objectives, largest):
    found = read_results(folders[1])
    found = found.select(found.runs["objectives"] == objectives)
    names = ["cost.macs" if name == "macs" else name for name in objectives.split(",")]
    knots = {name: fit_knots(found.evaluations[name]) for name in names}
    scores = score(found)
    for row, part in found.evaluations.groupby("run_row"):
        values = np.column_stack([apply_knots(part[name], knots[name]) for name in names])
        assert scores.final[row] == pytest.approx(hypervolume(values, [2.0] * len(names)))
    assert set(largest_hypervolume(scores.runs)) == {largest}
    np.testing.assert_allclose(scores.regret, largest - scores.hypervolume)


def test_the_leaderboard_has_a_section_for_each_set_of_objectives(folders):
    boards = sections(read_results(folders[1]))
    assert [board.title for board in boards] == [
        "Paper models, GPU", "Paper models, error, macs, GPU", "Paper models, error, params, macs, GPU"
    ]  # fmt: skip
    alone = sections(read_results(folders[0]))[0]
    np.testing.assert_array_equal(boards[0].table["test"], alone.table["test"])
    assert [board.n_blocks for board in boards[1:]] == [2, 2]
    text = render(read_results(folders[1]))
    assert text.count("With three objectives, the largest possible hypervolume is 8.") == 1


def test_the_page_has_the_first_cost_as_axis(folders):
    found = read_results(folders[1])
    scores = score(found)
    data = script_data(found, scores, sorted(scores.runs["entry"].unique()), 100)
    titles = sorted((scenario["cost"], scenario["n_objectives"]) for scenario in data["scenarios"])
    assert titles == [("multiply-accumulates", 2), ("parameters", 2), ("parameters", 3)]
    for row, run in enumerate(data["runs"]):
        own = found.evaluations[found.evaluations["run_row"] == row]
        assert ("cost" in run["points"]) == (found.runs["objectives"][row] == "error,macs")
        if "cost" in run["points"]:
            places = run["points"]["index"]
            wanted = own.set_index("index")["cost.macs"][places]
            np.testing.assert_allclose(run["points"]["cost"], wanted, rtol=1e-4)
    assert {each["title"] for each in data["ranks"]} == {
        "Paper models, GPU", "Paper models, error, macs, GPU", "Paper models, error, params, macs, GPU"
    }  # fmt: skip


def test_a_run_whose_evaluations_lack_a_cost_is_damaged(tmp_path):
    path = write_results(tmp_path, PLAN, seed=1)[0]
    edit_identity(path, objectives=TWO)
    found = read_results(tmp_path)
    assert len(found.runs) == 3
    assert "no 'cost.macs' of 0 or more" in found.findings[0].message
    for line in range(PLAN.n_evaluations):
        edit_line(path, line, costs={"macs": 0.5 if line else -1.0})
    assert "line 1: no 'cost.macs' of 0 or more" in read_results(tmp_path).findings[0].message


def test_an_evaluation_without_costs_has_its_parameters_as_cost():
    fields = {"index": 0, "config": {}, "key": "", "head_counts": [], "unit_counts": [], "error": 0.5}
    assert Evaluation(**fields, params=0.25, n_params=1, elapsed_s=0.0).cost_values == (0.25,)


@pytest.mark.parametrize("name", ["latency", "peak_memory", "energy"])
def test_test_hypervolumes_take_the_costs_that_were_measured(tmp_path, name):
    path = write_results(tmp_path, Plan([Entry("ws-nas", "ehvi")], tasks=["rte"], seeds=[0], n_evaluations=8))[0]
    for line in range(8):
        edit_line(path, line, costs={name: 0.1 + 0.1 * line}, error=0.9 - 0.1 * line, test_error=0.9 - 0.1 * line)
    measured = {0: 0.25, 3: 0.35, 7: 0.75}
    front = [{"index": index, "ratio": ratio, "low": 0.0, "high": 1.0} for index, ratio in measured.items()]
    odd = [{"index": 99, "ratio": 1.0}, {"index": 2, "ratio": "fast"}, "nonsense", {"index": 2, "ratio": -1.0}]
    edit_run(path, costs={name: {"source": "modelled", "front": [*front, *odd]}})
    edit_identity(path, objectives=["error", name])
    found = read_results(tmp_path)
    assert found.evaluations[f"measured_{name}"].dropna().to_dict() == measured
    scores = score(found)
    knots = {each: fit_knots(found.evaluations[each]) for each in ("error", f"cost.{name}")}
    costs = [measured.get(i, 0.1 + 0.1 * i) for i in range(8)]
    errors = apply_knots(found.evaluations["test_error"], knots["error"])
    values = np.column_stack([errors, apply_knots(costs, knots[f"cost.{name}"])])
    assert scores.test[0] == pytest.approx(hypervolume(values, [2.0, 2.0]))
    modelled = np.column_stack([errors, apply_knots(found.evaluations[f"cost.{name}"], knots[f"cost.{name}"])])
    assert scores.final[0] == pytest.approx(hypervolume(modelled, [2.0, 2.0]))
    assert scores.test[0] != pytest.approx(scores.final[0])
    (board,) = sections(dataclasses.replace(found, runs=found.runs.assign(official=True)))
    assert board.table["own_test"][0] == pytest.approx(scores.test[0])
