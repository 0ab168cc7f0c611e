"""Missing runs of the figures, and the command that makes them."""

import shlex
from pathlib import Path

import pandas as pd
import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.experiments.definitions import EXPERIMENTS, experiment_of
from nasbench.analysis.experiments.missing import beginning, shortfall, take_inventory
from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.analysis.reading.results import read_results
from nasbench.cli.experiment import runs as runs_of


def row(algorithm="ws-nas/random", task="stsb", model="minilm-l6", seed=0, **changes):
    method, _, searcher = algorithm.partition("/")
    defaults = {"method": method, "searcher": searcher or None, "task": task, "model": model, "seed": seed}
    return {"track": "compact", "device_class": "cpu", "hypervolume": [1.0], **defaults, **changes}


@pytest.fixture
def lacks(make_scores):
    """Returns the shortfall of an experiment, given rows of runs."""

    def find(experiment, *rows, shows=lambda *_: True):
        inventory = take_inventory(make_scores(*rows).runs)
        return shortfall(EXPERIMENTS[experiment], inventory, inventory.where(shows))

    return find


SEARCHERS = [f"s-nas/{name}" for name in ("random", "local", "morea", "ehvi", "moasha")]
SEARCHERS += [f"ws-nas/{name}" for name in ("random", "local", "morea", "ehvi")]
SAMPLED = {"max_evaluations": 103, "budget_s": None, "marks": " [max_evaluations=103]"}


def test_shortfall_counts_missing_searchers(lacks):
    found = lacks("fig6", row("ws-nas/random"), row("ws-nas/ehvi"), row("s-nas/random"), row("rfp", space="large"))
    assert str(found) == (
        "3 of 9 runs; `nasbench experiment fig6 --task stsb --model minilm-l6 --seed 0` makes the others"
    )


def test_complete_experiment_has_no_shortfall(lacks):
    assert lacks("fig6", *(row(name) for name in SEARCHERS)) is None


def test_shortfall_of_an_experiment_without_runs(lacks):
    found = lacks("fig5", row("rfp", space="large", seed=3))
    assert str(found) == "none of 4 runs; `nasbench experiment fig5 --task stsb --model minilm-l6 --seed 3` makes them"


@pytest.mark.parametrize(
    "change",
    [{"status": "failed"}, {"marks": " [budget_s=7]"}, {"space": "large"}, SAMPLED, {"algorithm": "ws-nas/nsga2"}],
    ids=lambda change: next(iter(change)),
)
def test_shortfall_ignores_incomplete_and_other_runs(lacks, change):
    assert lacks("fig12", row(), row("ws-nas/ehvi")).has == "2 of 4 runs"
    assert lacks("fig12", row(), row(**{"algorithm": "ws-nas/ehvi", **change})).has == "1 of 4 runs"


def test_shortfall_distinguishes_spaces_and_strategies(lacks):
    full = {**SAMPLED, "options": {"strategy": "full"}}
    rows = [
        row(**full),
        row(**{**full, "options": {"strategy": "full", "training_space": "small"}}, space="large"),
        row(**full, space="medium"),
        row(**full, space="layer"),
        row(**SAMPLED, options={"strategy": "kd"}),
        row(**SAMPLED, options={"strategy": "full", "temperature": 1.0}),
    ]
    assert lacks("fig5", *rows).has == "3 of 4 runs"
    assert lacks("fig5-shared", *rows).has == "2 of 4 runs"
    assert lacks("fig7", *rows).has == "3 of 8 runs"


def test_command_is_restricted_to_tasks_and_seeds_with_missing_runs(lacks):
    complete = [row(name, task="rte") for name in SEARCHERS]
    found = lacks("fig6", *complete, row(task="cola", seed=1), row(task="mrpc", seed=1))
    assert found.has == "11 of 27 runs"
    assert found.command == "nasbench experiment fig6 --task mrpc --task cola --model minilm-l6 --seed 1"
    assert found.effect == "makes the others"


def test_command_does_not_mix_models_with_different_tasks(lacks):
    found = lacks("fig12", row(), row(task="rte"), row(task="demo", model="demo-bert", track="demo"))
    assert found.has == "3 of 12 runs"
    assert found.command == "nasbench experiment fig12 --task rte --task stsb --model minilm-l6 --seed 0"
    assert found.effect == "makes 6 of the others"


def test_command_does_not_mix_tasks_with_different_seeds(lacks):
    found = lacks("fig12", row(task="rte"), row(seed=2))
    assert found.command == "nasbench experiment fig12 --task rte --model minilm-l6 --seed 0"
    assert found.effect == "makes 3 of the others"
    found = lacks("fig12", row(task="rte"), row(seed=0), row(seed=2), row(task="mrpc", seed=2), row(task="mrpc"))
    assert found.command == "nasbench experiment fig12 --task mrpc --task stsb --model minilm-l6 --seed 0 --seed 2"
    assert found.effect == "makes 12 of the others"


def test_command_names_the_device_if_there_are_two(lacks):
    on_gpu = [row(name, device_class="gpu") for name in SEARCHERS[5:]]
    found = lacks("fig12", *on_gpu, row())
    assert found.has == "5 of 8 runs"
    assert found.command == "nasbench experiment fig12 --task stsb --model minilm-l6 --seed 0 --device cpu"


def test_command_for_a_whole_experiment_has_no_options(tmp_path: Path):
    tasks = ("rte", "mrpc", "stsb", "cola", "imdb", "sst2", "swag", "qnli")
    models = ("bert-base-cased", "roberta-base")
    write_results(tmp_path, Plan([Entry("rfp", None, "large")], tasks, models, n_evaluations=3))
    inventory = take_inventory(read_results(tmp_path).runs)
    assert str(shortfall(EXPERIMENTS["fig8"], inventory, inventory.places)) == (
        "160 of 800 runs; `nasbench experiment fig8` makes the others"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"task": "films", "track": "user"},
        {"task": "wikitext2", "model": "smollm2-135m-q4_1", "track": "decoder"},
        {"device_class": "table", "space": "small-grid"},
        {"task": "rte", "objectives": "error,macs", "track": "compact:error+macs"},
    ],
    ids=lambda change: list(change)[-1],
)
def test_inventory_leaves_out_runs_that_no_experiment_contains(lacks, make_scores, change):
    usual = {"objectives": "error,params"}
    assert take_inventory(make_scores(row(**{**usual, **change})).runs).places == ()
    assert lacks("fig12", row(**usual), row(**{**usual, **change})).has == "1 of 4 runs"


def test_beginning_suggests_the_quickest_runs(tmp_path: Path):
    inventory = take_inventory(read_results(tmp_path).runs)
    assert inventory.places == ()
    found = beginning(EXPERIMENTS["fig5"], FIGURES["5"].shows)
    assert str(found) == "no run; `nasbench experiment fig5 --task demo --model demo-bert --seed 0` makes the first 4"
    on_roberta = beginning(EXPERIMENTS["fig8"], FIGURES["10-roberta"].shows)
    assert on_roberta.command == "nasbench experiment fig8 --task rte --model roberta-base --seed 0"


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_command_makes_the_missing_runs(name: str, make_scores):
    """With the command's runs in the results folder, the experiment has no shortfall."""
    inventory = take_inventory(make_scores(row("rfp", space="large", model="bert-base-cased")).runs)
    command = shlex.split(shortfall(EXPERIMENTS[name], inventory, inventory.places).command)
    assert command[:3] == ["nasbench", "experiment", name]
    asked = dict(zip(command[3::2], command[4::2], strict=True))
    rows = []
    for run in runs_of(name, [asked["--task"]], [asked["--model"]], [int(asked["--seed"])]):
        algorithm = run.method if run.searcher is None else f"{run.method}/{run.searcher}"
        values = {"temperature": 1.0, "t_squared": True}
        options = {name: values.get(name, text) for name, text in {"strategy": "full", **run.options}.items()}
        options = options if run.method == "ws-nas" else {}
        n = run.max_evaluations
        limit = {**SAMPLED, "max_evaluations": n, "marks": f" [max_evaluations={n}]"} if n else {}
        rows.append(row(algorithm, run.task, run.model, run.seed, space=run.space, options=options, **limit))
    made = take_inventory(make_scores(*rows).runs)
    assert shortfall(EXPERIMENTS[name], made, made.places) is None


def test_experiment_of_finds_the_smallest_experiment():
    found = {name: experiment_of(name) for name in FIGURES}
    assert {name: experiment.name for name, experiment in found.items() if experiment} == {
        "front": "fig8", "5": "fig5", "5-shared": "fig5-shared", "6": "fig6", "7": "fig7", "8": "fig8",
        "9": "fig8", "10": "fig8", "10-roberta": "fig8", "11": "fig11", "12": "fig12",
        "6-window": "fig6", "11-window": "fig11", "12-window": "fig12", "weight-sharing": "weight-sharing",
    }  # fmt: skip


def test_take_inventory_leaves_the_runs_unchanged(make_scores):
    runs = make_scores(row(), row("rfp", space="large")).runs
    before = runs.copy(deep=True)
    take_inventory(runs)
    pd.testing.assert_frame_equal(runs, before)
