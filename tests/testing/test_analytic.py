"""The analytic problems have exact sizes, errors that depend on the masks, and known Pareto fronts."""

import numpy as np
import pytest
from support import searcher_table

from nasbench.methods.local_search import LocalSearch
from nasbench.methods.random_search import RandomSearch
from nasbench.search.pareto import hypervolume, pareto_mask
from nasbench.testing.analytic import BERT_BASE, PROBLEMS, REFERENCE


@pytest.fixture(params=sorted(PROBLEMS))
def problem(request):
    return PROBLEMS[request.param]


def test_network_is_bert_base():
    assert BERT_BASE.n_params == 108_311_810


def test_values_depend_only_on_the_masks(problem):
    rng = np.random.default_rng(0)
    configs = rng.integers(0, problem.space.upper + 1, size=(300, 3))
    no_layers = configs * [1, 1, 0]
    empty_layers = configs * [0, 0, 1]
    values = problem.values(np.concatenate([no_layers, empty_layers]))
    np.testing.assert_array_equal(values, np.tile(problem.values(problem.space.smallest[None]), (600, 1)))
    for config in configs[:20]:
        n_params = problem.space.to_subnetwork(config).n_params(BERT_BASE)
        assert problem.values(config[None])[0, 1] == n_params / BERT_BASE.n_params


def test_all_networks_dominate_the_reference_point(problem):
    rng = np.random.default_rng(1)
    values = problem.values(rng.integers(0, problem.space.upper + 1, size=(5000, 3)))
    assert (values[:, 0] > 0.05).all()
    assert (values[:, 0] < REFERENCE[0]).all()
    assert (values[:, 1] <= REFERENCE[1]).all()


def test_hypervolume_of_a_large_sample_is_just_below_the_optimum(problem):
    rng = np.random.default_rng(2)
    configs = rng.integers(0, problem.space.upper + 1, size=(60_000, 3))
    sampled = hypervolume(problem.values(configs), REFERENCE)
    assert 0.99 * problem.optimum < sampled <= problem.optimum


def test_deceptive_region_is_an_island():
    """With more and more units, the error of a deep network falls, rises and falls again."""
    units = np.arange(0, 3073, 64)
    configs = np.stack([np.full_like(units, 6), units, np.full_like(units, 10)], axis=1)
    errors = PROBLEMS["deceptive"].values(configs)[:, 0]
    island, ridge, *_ = np.flatnonzero(np.diff(np.sign(np.diff(errors)))) + 1
    assert 0 < units[island] < 600 < units[ridge] < 1200
    assert errors[island] < errors[ridge] - 0.01
    smooth = PROBLEMS["smooth"].values(configs)[:, 0]
    assert (errors < smooth - 0.01).any()
    assert (errors > smooth + 0.01).any()


def test_run_makes_all_its_evaluations_and_repeats_with_its_seed(problem):
    runs = [
        problem.run(LocalSearch(problem.space, np.random.default_rng(3)), 40, np.random.default_rng(4))
        for _ in range(2)
    ]
    assert len(runs[0].configs) == 40
    assert runs[0].observed == runs[1].observed
    assert runs[0].n_duplicates == runs[1].n_duplicates > 0
    keys = {problem.space.to_subnetwork(config).key for config in runs[0].configs}
    assert len(keys) == 40


def test_hypervolume_ignores_observation_noise():
    noisy = PROBLEMS["noisy"]
    run = noisy.run(RandomSearch(noisy.space, np.random.default_rng(0)), 400, np.random.default_rng(1))
    exact = noisy.values(np.array(run.configs))
    noise = np.array(run.observed) - exact
    assert noise[:, 0].std() == pytest.approx(0.02, rel=0.15)
    np.testing.assert_array_equal(noise[:, 1], 0)
    chosen = exact[pareto_mask(run.observed)]
    assert run.hypervolume == pytest.approx(hypervolume(chosen, REFERENCE))
    assert run.hypervolume < hypervolume(exact, REFERENCE)


def test_interval_of_the_median_has_its_nominal_coverage():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        median, low, high = searcher_table.interval(rng.standard_normal(20))
        assert low <= median <= high
        covered += low < 0 < high
    assert covered / 2000 == pytest.approx(0.959, abs=0.015)


def test_searchers_that_mutate_beat_random_search_on_the_smooth_problem():
    """Five of the twenty seeds in the table of searchers."""
    medians = {
        name: np.median([searcher_table.run("smooth", name, 200, seed) for seed in range(5)])
        for name in ("random", "local", "nsga2")
    }
    assert medians["local"] > medians["random"]
    assert medians["nsga2"] > medians["random"]
