"""Successive halving over search spaces: which of several spaces is best is found out in the course of a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata

from nasbench.arrays import FloatArray
from nasbench.networks.space import Auto, Config
from nasbench.networks.subnetwork import SubNetwork
from nasbench.search.loop import Inside, Outcome, SearchLoop, SearchProblem
from nasbench.search.pareto import hypervolume
from nasbench.search.searcher import Searcher

N_FIRST = 12
"""Networks that each space evaluates in the first round. Each round has twice as many for half of the spaces."""


def search_parts(
    problem: SearchProblem, space: Auto, chosen: Searcher, evaluate: Callable[[Config, SubNetwork], Outcome]
) -> None:
    """Search all spaces of a union, then the better half of them, and so on (Jamieson and Talwalkar 2016, algorithm 1).

    Each space has a searcher of its own, of the chosen kind. A space is as good as the hypervolume of the networks that
    it has evaluated. Spaces that went out come back, the best first, if the others have no new networks.

    Args:
        chosen: the searcher whose kind, options and costs those of the spaces have; it is not asked itself.
        evaluate: as for :func:`~nasbench.search.loop.search`, with configurations of the union.
    """
    known: dict[str, FloatArray | None] = {}

    def evaluate_in_union(_: Config, subnetwork: SubNetwork) -> Outcome:
        return evaluate(space.from_subnetwork(subnetwork), subnetwork)

    loops = []
    for part in space.parts:
        searcher = type(chosen)(part, chosen.rng, chosen.options)
        searcher.costs = chosen.costs
        loops.append(SearchLoop(Inside(problem, part), searcher, evaluate_in_union, known))
    n_left, n_more = len(loops), N_FIRST
    while n_left > 1:
        for loop in loops[:n_left]:
            loop.run(n_more)
        shape = -1, 1 + len(chosen.costs.names)
        volumes = hypervolumes([np.array(_once(loop.told)).reshape(shape) for loop in loops[:n_left]])
        loops[:n_left] = [loops[i] for i in np.argsort(-volumes, kind="stable")]
        n_left, n_more = n_left // 2, 2 * n_more
    for loop in loops:
        loop.run()


def _once(told: Sequence[FloatArray]) -> list[FloatArray]:
    """The values of each network once: of a network that is proposed again, the searcher is told the same array."""
    return list({id(values): values for values in told}.values())


def hypervolumes(values: list[FloatArray]) -> FloatArray:
    """The hypervolume of each set of networks, on a common scale: the ranks of each objective, from 0 to 1.

    Args:
        values: for each set the errors and costs of its networks, ``(n_i, n_objectives)``.

    Returns:
        ``(len(values),)``, each between 0 and 1.
    """
    ranks = rankdata(np.concatenate(values), method="min", axis=0)
    scaled = (ranks - 1) / len(ranks)
    ends = np.cumsum([len(part) for part in values])[:-1]
    return np.array([hypervolume(part, np.ones(part.shape[1])) for part in np.split(scaled, ends)])
