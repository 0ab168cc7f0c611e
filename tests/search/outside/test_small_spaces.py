"""Optimisers of other libraries in spaces that end, and with three objectives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.libraries import NEEDS_OPTUNA

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace, make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.objectives.costs import counted_costs
from nasbench.search import outside
from nasbench.search.loop import search
from nasbench.testing.analytic import PROBLEMS

PYMOO = [f"pymoo:{name}" for name in ("NSGA2", "NSGA3", "SMSEMOA", "MOEAD", "SPEA2")]
OPTUNA = [pytest.param(f"optuna:{name}", marks=NEEDS_OPTUNA) for name in ("NSGAIISampler", "BruteForceSampler")]


class Ends:
    """A problem whose evaluations are counted."""

    def __init__(self, space: SearchSpace) -> None:
        self.space, self.n_evaluated, self.n_duplicates = space, 0, 0

    def note_duplicate(self) -> None:
        self.n_duplicates += 1

    def evaluate(self, config: Config, _: SubNetwork) -> Any:
        self.n_evaluated += 1
        return SimpleNamespace(error=float((config * np.arange(1, len(config) + 1)).sum() % 7) / 7, cost_values=(0.5,))


@pytest.mark.parametrize("n_layers", [2, 4, 6])
@pytest.mark.parametrize("name", [*PYMOO, *OPTUNA])
def test_search_ends_once_a_space_is_exhausted(name: str, n_layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    space = make_space("layer", Dimensions(n_layers, 2, 5, hidden_size=8, head_size=4, n_fixed_params=100))
    searcher, n_asked = outside.find(name)(space, np.random.default_rng(0)), 0
    inner: Any = searcher
    ask = inner._new_proposal

    def count() -> Any:
        nonlocal n_asked
        n_asked += 1
        return ask()

    monkeypatch.setattr(searcher, "_new_proposal", count)
    problem = Ends(space)
    search(problem, searcher, problem.evaluate)
    assert problem.n_evaluated == 2**n_layers
    assert problem.n_duplicates >= 1000  # the loop gives up, not the searcher
    assert n_asked <= 3 * 2**n_layers + 2


@pytest.mark.parametrize("name", PYMOO)
def test_pymoo_searches_with_three_objectives(name: str) -> None:
    space, costs = PROBLEMS["smooth"].space, counted_costs(("error", "params", "macs"))
    cls = outside.find(name)

    def values(config: Config) -> FloatArray:
        share = config / space.upper
        return np.array([1 - share.mean(), share[0], share[1]])

    searcher = cls(space, np.random.default_rng(0))
    searcher.costs = costs
    assert len(costs.names) == 2
    found = []
    for _ in range(80):
        config = searcher.ask()
        space.check(config)
        found.append(values(config))
        searcher.tell(config, found[-1])
    assert len({tuple(value) for value in found}) > 60
    assert np.mean(found[60:], axis=0).sum() < 3  # finite, as they were told


@pytest.mark.parametrize("name", PYMOO)
def test_a_search_leaves_nothing_to_the_next_one_of_the_process(name: str) -> None:
    space = PROBLEMS["smooth"].space

    def proposals(scales: tuple[float, float]) -> list[list[int]]:
        searcher, asked = outside.find(name)(space, np.random.default_rng(3)), []
        for _ in range(60):
            asked.append(searcher.ask().tolist())
            share = np.array(asked[-1]) / space.upper
            searcher.tell(np.array(asked[-1]), np.array(scales) * [1 - share.mean(), share[0]])
        return asked

    first = proposals((1, 1))
    proposals((-50, 1))
    assert proposals((1, 1)) == first
