"""Successive halving over the paper's spaces: who is searched when, by which value, and what is left at the end."""

from itertools import groupby, product
from types import SimpleNamespace

import numpy as np
import pytest

from nasbench.errors import BudgetExhausted
from nasbench.methods.random_search import RandomSearch
from nasbench.networks.space import Auto
from nasbench.networks.subnetwork import Dimensions
from nasbench.objectives.costs import PARAMETERS
from nasbench.search import halving
from nasbench.search.halving import N_FIRST, hypervolumes, search_parts

DIMS = Dimensions(n_layers=6, n_heads=12, n_units=50, hidden_size=8, head_size=4, n_fixed_params=100)


class Spied(RandomSearch):
    """Random search that writes down the space of each proposal."""

    spaces_asked: list[str]

    def ask(self):
        self.spaces_asked.append(self.space.name)
        return super().ask()


class Problem:
    """Errors that depend on the space that was asked last; they are given from outside."""

    def __init__(self, dims, limit, errors):
        self.space, self.limit, self.errors = Auto(dims), limit, errors
        self.evaluated, self.n_duplicates = {}, 0
        Spied.spaces_asked = []

    def note_duplicate(self):
        self.n_duplicates += 1

    def evaluate(self, config, subnetwork):
        if len(self.evaluated) == self.limit:
            raise BudgetExhausted
        assert self.space.to_subnetwork(config) == subnetwork
        assert subnetwork.key not in self.evaluated
        asked = Spied.spaces_asked[-1] if Spied.spaces_asked else "small"
        params = subnetwork.n_params(self.space.dims) / self.space.dims.n_params
        self.evaluated[subnetwork.key] = asked
        return SimpleNamespace(error=self.errors[asked] * (2 - params), cost_values=(params,))

    def search(self):
        search_parts(self, self.space, Spied(self.space, np.random.default_rng(0)), self.evaluate)


@pytest.mark.parametrize(
    ("best", "second"), [("small", "medium"), ("medium", "layer"), ("layer", "large"), ("large", "small")]
)
def test_better_half_of_the_spaces_goes_on_with_twice_as_many_networks(best, second):
    errors = dict.fromkeys(("small", "medium", "layer", "large"), 100) | {best: 1, second: 10}
    problem = Problem(DIMS, 8 * N_FIRST + 20, errors)
    with pytest.raises(BudgetExhausted):
        problem.search()
    rounds = ["small", "medium", "layer", "large", best, second, best]
    assert [name for name, _ in groupby(Spied.spaces_asked)] == [name for name, _ in groupby(rounds)]
    asked = list(problem.evaluated.values())
    for name in errors:
        # Nothing is asked for the first networks of a space, which count for the space before here.
        assert N_FIRST - 1 <= asked[: 4 * N_FIRST].count(name) <= N_FIRST + 1
        assert asked[4 * N_FIRST : 8 * N_FIRST].count(name) == (2 * N_FIRST if name in (best, second) else 0)


def test_spaces_that_went_out_come_back_when_the_best_is_exhausted():
    """Four bits: all 16 networks are in LARGE, four of them in LAYER. None is evaluated twice."""
    dims = Dimensions(n_layers=2, n_heads=1, n_units=1, hidden_size=8, head_size=8, n_fixed_params=100)
    problem = Problem(dims, 100, {"small": 0.5, "medium": 0.5, "layer": 0.1, "large": 0.9})
    problem.search()
    every = {problem.space.to_subnetwork(np.array(bits)).key for bits in product([0, 1], repeat=4)}
    assert set(problem.evaluated) == every
    assert problem.n_duplicates >= 4 * 3


def test_searchers_of_the_spaces_have_the_options_and_costs_of_the_chosen_one():
    made = []

    class Noted(RandomSearch):
        def __init__(self, space, rng, options=None):
            super().__init__(space, rng, options)
            made.append(self)

    problem, chosen = Problem(DIMS, 5, {"small": 0.5}), object()
    searcher = Noted(problem.space, np.random.default_rng(0), chosen)
    searcher.costs = costs = PARAMETERS
    with pytest.raises(BudgetExhausted):
        search_parts(problem, problem.space, searcher, problem.evaluate)
    assert [each.space.name for each in made] == ["auto", "small", "medium", "layer", "large"]
    assert all(each.options is chosen and each.costs is costs and each.rng is searcher.rng for each in made)


def test_hypervolumes_are_areas_on_the_ranks_of_all_networks():
    """Cells of the square of ranks that some network of the set dominates, counted one by one."""
    rng = np.random.default_rng(3)
    sets = [rng.random((n, 2)).round(1) for n in (5, 1, 8)]
    everything = np.concatenate(sets)
    n = len(everything)
    found = hypervolumes(sets)
    for values, volume in zip(sets, found, strict=True):
        places = [[sum(everything[:, i] < value[i]) for i in range(2)] for value in values]
        cells = sum(any(a <= i and b <= j for a, b in places) for i in range(n) for j in range(n))
        assert volume == pytest.approx(cells / n**2)


def test_network_that_is_proposed_again_counts_once(monkeypatch):
    """LAYER has four networks here, and proposes them until it is clear that there are no more."""
    seen = []
    monkeypatch.setattr(halving, "hypervolumes", lambda values: seen.append(values) or hypervolumes(values))
    problem = Problem(Dimensions(2, 12, 50, 8, 4, 100), 99, dict.fromkeys(("small", "medium", "layer", "large"), 1))
    with pytest.raises(BudgetExhausted):
        problem.search()
    assert len(seen[0][2]) == 4


def test_set_without_networks_has_no_volume():
    assert hypervolumes([np.zeros((0, 2)), np.array([[0.1, 0.5]])]).tolist() == [0.0, 1.0]
