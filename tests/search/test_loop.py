"""The search loop: first evaluations, duplicates, values that are told, and errors of searchers."""

import re

import numpy as np
import pytest

from nasbench.errors import BudgetExhausted, MethodError
from nasbench.methods.random_search import RandomSearch
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.records.record import Evaluation
from nasbench.search.loop import MAX_CONSECUTIVE_DUPLICATES, climb, search
from nasbench.search.searcher import Decision, MultiFidelitySearcher, Searcher

DIMS = Dimensions(n_layers=2, n_heads=2, n_units=3, hidden_size=8, head_size=4, n_fixed_params=100)


class Problem:
    """Evaluations whose error is a counter, up to a limit; those of ``failing`` fail."""

    def __init__(self, space="small", limit=100, failing=()):
        self.space = make_space(space, DIMS)
        self.limit = limit
        self.failing = [self.space.to_subnetwork(np.array(config)).key for config in failing]
        self.evaluated = []
        self.n_duplicates = 0

    def note_duplicate(self):
        self.n_duplicates += 1

    def evaluate(self, config, subnetwork):
        if len(self.evaluated) == self.limit:
            raise BudgetExhausted
        self.evaluated.append(tuple(config.tolist()))
        failed = subnetwork.key in self.failing
        return Evaluation(
            index=len(self.evaluated) - 1,
            config=self.space.to_json(config),
            key=subnetwork.key,
            head_counts=subnetwork.head_counts.tolist(),
            unit_counts=subnetwork.unit_counts.tolist(),
            error=None if failed else float(len(self.evaluated)),
            params=0.5,
            n_params=1,
            elapsed_s=0.0,
            status="failed" if failed else "ok",
        )


class Scripted(Searcher):
    """Proposes a fixed list and then repeats its last item; remembers the values it was told."""

    name = "scripted"
    summary = ""

    def __init__(self, space, proposals):
        super().__init__(space, np.random.default_rng(0))
        self.proposals = list(proposals)
        self.told = []

    def ask(self):
        return self.proposals.pop(0) if len(self.proposals) > 1 else self.proposals[0]

    def tell(self, config, values):
        self.told.append((tuple(config.tolist()), tuple(values.tolist())))


def test_largest_smallest_and_middle_networks_are_evaluated_and_told_first():
    problem = Problem(limit=4)
    with pytest.raises(BudgetExhausted):
        search(problem, Scripted(problem.space, [np.array([1, i, 2]) for i in range(4)]), problem.evaluate)
    assert problem.evaluated == [(2, 3, 2), (0, 0, 0), (1, 1, 1), (1, 0, 2)]
    problem = Problem()
    searcher = Scripted(problem.space, [np.array([1, 2, 2])])
    search(problem, searcher, problem.evaluate)
    assert searcher.told[:4] == [
        ((2, 3, 2), (1, 0.5)),
        ((0, 0, 0), (2, 0.5)),
        ((1, 1, 1), (3, 0.5)),
        ((1, 2, 2), (4, 0.5)),
    ]


def test_a_known_network_is_not_evaluated_again_but_its_old_values_are_told():
    problem = Problem()
    no_layers, again = np.array([2, 3, 0]), np.array([1, 1, 1])
    searcher = Scripted(problem.space, [no_layers, again, np.array([2, 2, 2]), again])
    search(problem, searcher, problem.evaluate)
    assert problem.evaluated == [(2, 3, 2), (0, 0, 0), (1, 1, 1), (2, 2, 2)]
    assert searcher.told[3:6] == [((2, 3, 0), (2.0, 0.5)), ((1, 1, 1), (3.0, 0.5)), ((2, 2, 2), (4.0, 0.5))]
    assert problem.n_duplicates == 2 + MAX_CONSECUTIVE_DUPLICATES


def test_a_failed_evaluation_is_neither_told_nor_repeated():
    problem = Problem(failing=[(2, 1, 1)])
    searcher = Scripted(problem.space, [np.array([2, 1, 1]), np.array([2, 1, 1]), np.array([2, 2, 2])])
    search(problem, searcher, problem.evaluate)
    assert problem.evaluated.count((2, 1, 1)) == 1
    assert (2, 1, 1) not in [config for config, _ in searcher.told]
    assert searcher.told[3] == ((2, 2, 2), (5.0, 0.5))


@pytest.mark.parametrize(("space", "n_networks"), [("small", 1 + 2 * (3 * 4 - 1)), ("layer", 4)])
def test_the_search_ends_after_every_network_of_a_small_space_was_evaluated_once(space, n_networks):
    problem = Problem(space)
    search(problem, RandomSearch(problem.space, np.random.default_rng(0)), problem.evaluate)
    keys = {problem.space.to_subnetwork(np.array(config)).key for config in problem.evaluated}
    assert len(problem.evaluated) == len(keys) == n_networks


@pytest.mark.parametrize(
    ("proposal", "complaint"),
    [
        (np.array([1, 1]), "shape (3,), not (2,)"),
        (np.array([1.0, 1.0, 1.0]), "holds integers, not float64"),
        (np.array([1, 4, 1]), "units = 4 is outside [0, 3]"),
        (np.array([-1, 1, 1]), "heads = -1 is outside"),
        ([1, 1, 1], "it is a list"),
        (None, "it is a NoneType"),
    ],
)
def test_a_proposal_outside_the_space_raises_method_error(proposal, complaint):
    problem = Problem()
    with pytest.raises(MethodError, match=f"'scripted' proposed .*{re.escape(complaint)}") as caught:
        search(problem, Scripted(problem.space, [proposal]), problem.evaluate)
    assert repr(proposal) in str(caught.value)
    assert len(problem.evaluated) == 3


def test_changing_a_proposal_afterwards_does_not_change_the_record():
    problem = Problem(limit=5)

    class Changing(Scripted):
        def ask(self):
            self.proposals[0][1] = (self.proposals[0][1] + 1) % 4
            return self.proposals[0]

    with pytest.raises(BudgetExhausted):
        search(problem, Changing(problem.space, [np.array([2, 0, 2])]), problem.evaluate)
    assert problem.evaluated[3:] == [(2, 1, 2), (2, 2, 2)]


class Rungs(MultiFidelitySearcher, RandomSearch):
    """Answers every report with ``answer``."""

    rungs = (1, 2)
    answer = Decision.CONTINUE

    def report(self, trial, epoch, values):  # noqa: ARG002
        return self.answer


@pytest.mark.parametrize("answer", [True, None, "continue"])
def test_an_answer_to_a_report_must_be_a_decision(answer):
    problem = Problem()
    searcher = Rungs(problem.space, np.random.default_rng(0))
    config = problem.space.largest
    subnetwork = problem.space.to_subnetwork(config)
    assert climb(searcher, 0, lambda _: problem.evaluate(config, subnetwork)).error == 2
    searcher.answer = answer
    with pytest.raises(MethodError, match=f"answered a report with {answer!r}, not a Decision"):
        climb(searcher, 1, lambda _: problem.evaluate(config, subnetwork))
