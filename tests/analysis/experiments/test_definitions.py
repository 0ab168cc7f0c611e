import re
import shlex
from collections import Counter

import pytest
from click.testing import CliRunner

from nasbench.analysis.experiments.definitions import DECODER_ENTRIES, EXPERIMENTS, MissingRuns, find_experiment
from nasbench.cli import main as cli
from nasbench.errors import UnknownName
from nasbench.plugins import options, registry
from nasbench.runs.request import choose_space


def runs(name, **restrictions):
    return EXPERIMENTS[name].runs(**restrictions)


def test_experiments_have_the_papers_numbers_of_runs():
    # 8 tasks, 2 models, 10 seeds
    per_experiment = {
        "fig5": 4,
        "fig5-shared": 4,
        "fig6": 9,
        "fig7": 8,
        "fig8": 5,
        "weight-sharing": 2,
        "fig11": 5,
        "fig12": 4,
    }
    assert {name: len(runs(name)) for name in EXPERIMENTS} == {n: 160 * k for n, k in per_experiment.items()}


def test_runs_keeps_only_the_given_tasks_models_and_seeds():
    chosen = runs("fig8", tasks=("stsb",), models=("minilm-l6",), seeds=(3,))
    assert [(run.method, run.searcher, run.space) for run in chosen] == [
        ("head-pruning", None, "large"),
        ("layer-dropping", None, "layer"),
        ("rfp", None, "large"),
        ("s-nas", "random", "small"),
        ("ws-nas", "ehvi", "small"),
    ]
    assert {(run.task, run.model, run.seed) for run in chosen} == {("stsb", "minilm-l6", 3)}


def test_seeds_vary_slowest():
    assert [run.seed for run in runs("fig5", tasks=("rte", "mrpc"), models=("roberta-base",), seeds=(0, 1))] == [
        0
    ] * 8 + [1] * 8


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_has_no_run_twice(name):
    assert max(Counter(run.command() for run in runs(name)).values()) == 1


def test_fig5_trains_a_super_network_in_each_space():
    chosen = runs("fig5", tasks=("rte",), models=("bert-base-cased",))
    assert len({run.super_network for run in chosen}) == len(chosen) == 40
    assert all(run.super_network.trained_in == run.space and not run.options for run in chosen)
    assert {run.max_evaluations for run in runs("fig5")} == {103}


def test_fig5_shared_compares_spaces_on_one_super_network_per_seed():
    chosen = runs("fig5-shared", tasks=("rte",), models=("bert-base-cased",))
    shared = Counter(run.super_network for run in chosen)
    assert len(shared) == 10
    assert set(shared.values()) == {4}
    assert {run.options.get("training_space", run.space) for run in chosen} == {"small"}
    # SMALL is trained in SMALL in both experiments: it is the same run.
    assert len({run.command() for run in chosen} & {run.command() for run in runs("fig5")}) == 10


def test_fig7_compares_six_strategies_and_two_variants_on_equal_samples():
    chosen = runs("fig7", tasks=("rte",), models=("bert-base-cased",), seeds=(0,))
    assert [run.super_network.training for run in chosen] == [
        "standard", "random", "random-linear", "sandwich", "kd", "full", "full, T=1", "full, T^2",
    ]  # fmt: skip
    assert [run.options for run in chosen[-3:]] == [{}, {"temperature": "1"}, {"t_squared": "true"}]
    assert {(run.space, run.searcher, run.seed, run.max_evaluations) for run in chosen} == {("small", "random", 0, 103)}


def test_runs_of_different_experiments_share_super_networks():
    def networks(name):
        return {run.super_network for run in runs(name, tasks=("rte",), models=("roberta-base",), seeds=(0,))} - {None}

    assert networks("fig5-shared") == networks("fig12") == networks("fig8") < networks("fig5")
    assert networks("fig8") < networks("fig7")


def test_fig6_contains_the_runs_of_fig11_and_fig12():
    together = {run.command() for run in runs("fig6")}
    assert together == {run.command() for run in runs("fig11")} | {run.command() for run in runs("fig12")}


def test_command_makes_one_run():
    first = runs("fig7", tasks=("rte",), models=("bert-base-cased",), seeds=(2,))[0]
    assert first.command() == (
        "nasbench run --task rte --model bert-base-cased --method ws-nas --space small --searcher random "
        "--set strategy=standard --seed 2 --max-evaluations 103"
    )


def test_commands_only_use_options_of_the_command_line():
    known = CliRunner().invoke(cli.cli, ["run", "--help"]).output
    words = {word for name in EXPERIMENTS for run in runs(name) for word in shlex.split(run.command())}
    assert {word for word in words if word.startswith("--")} <= set(known.replace(",", " ").split())


@pytest.mark.parametrize("name", ["fig5", "fig5-shared", "fig6", "fig7", "fig8", "weight-sharing"])
def test_methods_searchers_and_options_exist(name):
    for run in runs(name, tasks=("rte",), seeds=(0,)):
        method = registry.find("method", run.method, registry.methods())
        options.parse(method.Options, run.options, run.method)
        assert run.space in method.spaces
        if run.searcher is None:
            assert method.default_searcher is None
        else:
            registry.find("searcher", run.searcher, registry.searchers())


def test_entries_on_language_modelling_exist_and_are_told_apart_by_their_algorithms():
    found = [
        re.fullmatch(r"([\w-]+)(?:/([\w-]+))?@(\w+)(?: \[method\.(\w+)=(\w+)\])?", entry) for entry in DECODER_ENTRIES
    ]
    for name, searcher, space, option, value in (entry.groups() for entry in found):
        method = registry.find("method", name, registry.methods())
        assert method.default_searcher == searcher
        assert {choose_space(method, task) for task in registry.suite_tasks() if task.needs_language_model} == {space}
        if option:
            changed = options.parse(method.Options, {option: value}, name)
            assert getattr(changed, option) != getattr(method.Options(), option)
    assert len({entry.partition("@")[0] for entry in DECODER_ENTRIES}) == len(DECODER_ENTRIES)


def test_find_experiment_accepts_any_figure_of_an_experiment():
    assert find_experiment("fig8") is find_experiment("fig9") is find_experiment("fig10") is find_experiment("front")
    assert find_experiment("fig11").name == "fig11"
    # Figures 11 and 12 need one half of the runs of figure 6 each.
    names = ("5", "6", "11", "12", "fig12", "6-window", "12-window")
    made_by = [find_experiment(name).name for name in names]
    assert made_by == ["fig5", "fig6", "fig11", "fig12", "fig12", "fig6", "fig12"]
    with pytest.raises(UnknownName, match="did you mean 'fig5'"):
        find_experiment("fig55")


def test_missing_runs_name_the_experiment():
    error = MissingRuns("figure 5", "fig5")
    assert error.experiment == "fig5"
    assert str(error) == "no run to show in figure 5; see: nasbench experiment fig5 --dry-run"
    assert error.exit_code == 2
