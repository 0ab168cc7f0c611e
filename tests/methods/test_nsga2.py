"""NSGA-II: survivors by rank and crowding distance, integer proposals, generations with failed evaluations."""

import numpy as np
import pytest

from nasbench.methods.nsga2 import Nsga2, Nsga2Options
from nasbench.networks.space import make_space
from nasbench.search.pareto import hypervolume
from nasbench.testing.analytic import BERT_BASE, PROBLEMS, REFERENCE

SPACE = PROBLEMS["smooth"].space


def _generation(searcher, values_of, n):
    asked = []
    for _ in range(n):
        config = searcher.ask()
        SPACE.check(config)
        asked.append(config)
        searcher.tell(config, values_of(config))
    return np.array(asked)


def test_uniform_samples_complete_the_first_generation():
    searcher = Nsga2(SPACE, np.random.default_rng(0), Nsga2Options(population_size=8))
    values_of = lambda config: PROBLEMS["smooth"].values(config[None])[0]  # noqa: E731
    for config in (SPACE.largest, SPACE.smallest, SPACE.midpoint):
        searcher.tell(config, values_of(config))
    uniform = _generation(searcher, values_of, 5)
    offspring = _generation(searcher, values_of, 8)
    assert len(np.unique(uniform, axis=0)) == 5
    assert len(np.unique(offspring, axis=0)) == 8


def test_parents_are_the_survivors_by_rank_and_crowding_distance():
    """With a large eta, offspring stay near their parents and show which members survived."""
    options = Nsga2Options(population_size=4, crossover_eta=300.0, mutation_eta=300.0)
    searcher = Nsga2(SPACE, np.random.default_rng(0), options)
    units = {
        100: (0.9, 0.1),
        200: (0.5, 0.5),
        2000: (0.1, 0.9),
        300: (0.52, 0.49),
        2500: (0.95, 0.95),
        3000: (0.96, 0.96),
    }
    for n_units, values in units.items():
        searcher.tell(np.array([6, n_units, 6]), np.array(values))
    offspring = [searcher.ask() for _ in range(4)]
    survivors = np.array([100, 200, 300, 2000])
    for config in offspring:
        assert np.abs(survivors - config[1]).min() < 100


def test_generations_continue_if_evaluations_fail():
    searcher = Nsga2(SPACE, np.random.default_rng(0), Nsga2Options(population_size=6))
    told = []
    for i in range(60):
        config = searcher.ask()
        SPACE.check(config)
        if i % 2:
            told.append(PROBLEMS["smooth"].values(config[None])[0])
            searcher.tell(config, told[-1])
    for _ in range(6):  # begins a generation, so survivors are selected
        SPACE.check(searcher.ask())
    assert len(searcher._members) == 6 < len(told)
    assert {*np.min(told, axis=0)} <= {value for member in searcher._members for value in member}


def test_configurations_with_equal_values_count_as_one_member():
    searcher = Nsga2(SPACE, np.random.default_rng(0), Nsga2Options(population_size=4))
    for i in range(10):
        searcher.tell(np.array([i, i, 0]), np.array([0.55, 0.2]))
    proposals = np.array([searcher.ask() for _ in range(3)])
    assert len(np.unique(proposals[:, 1])) == 3  # three more uniform samples, not offspring of ten copies


def test_later_generations_improve_on_the_first():
    run = PROBLEMS["smooth"].run(Nsga2(SPACE, np.random.default_rng(1)), 200, np.random.default_rng(2))
    parts = [hypervolume(run.observed[i : i + 40], REFERENCE) for i in (0, 160)]
    assert parts[1] > parts[0]


def test_proposals_in_a_space_of_bits_are_valid():
    space = make_space("layer", BERT_BASE)
    searcher = Nsga2(space, np.random.default_rng(0), Nsga2Options(population_size=4))
    for _ in range(30):
        config = searcher.ask()
        space.check(config)
        searcher.tell(config, np.array([1 - config[:6].mean(), config.mean()]))


@pytest.mark.parametrize(
    "options", [{"population_size": 3}, {"crossover_probability": 0}, {"crossover_eta": 0}, {"mutation_eta": -1.0}]
)
def test_options_out_of_range_are_rejected(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Nsga2Options(**options)
