"""Multi-objective asynchronous successive halving (Schmucker et al. 2021; Li et al. 2020), the stopping variant."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace
from nasbench.objectives.declared import MOST_OBJECTIVES
from nasbench.search.pareto import crowding_distances, nondominated_ranks
from nasbench.search.searcher import Decision, MultiFidelitySearcher


@dataclass(frozen=True)
class MoashaOptions:
    """Attributes:
    eta: a trial must be among the best 1/eta of its rung to continue; also the ratio between rungs.
    r_min: epochs before the first decision; with ``r_max`` epochs or more nothing is stopped.
    r_max: epochs of a trial that is never stopped; None for the epochs declared with the model, so that MO-ASHA and
        the other searchers train networks alike.
    """

    eta: int = 3
    r_min: int = 1
    r_max: int | None = None

    def __post_init__(self) -> None:
        if self.eta < 2:
            raise ValueError(f"eta is {self.eta}; it must be at least 2")
        if self.r_min < 1 or (self.r_max is not None and self.r_max < self.r_min):
            raise ValueError(f"r_min is {self.r_min} and r_max {self.r_max}; they must be 1 <= r_min <= r_max")


class Moasha(MultiFidelitySearcher):
    """Samples uniformly, and stops trials that are not among the best 1/eta of the trials that reached the same rung.

    Trials are ordered by non-dominated rank, then by crowding distance, the largest first (Deb et al. 2002), then by
    arrival. So a non-dominated trial is stopped only if the first front has more trials than the rung lets pass.
    """

    name = "moasha"
    summary = "successive halving by non-dominated rank; standard NAS only"
    Options = MoashaOptions
    most_objectives = MOST_OBJECTIVES

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._reports: defaultdict[int, list[FloatArray]] = defaultdict(list)

    @property
    def rungs(self) -> tuple[int, ...]:
        """``r_min * eta^k`` below ``r_max``, then ``r_max``: 1, 3, 5 for five epochs."""
        r_max = self.declared_epochs if self.options.r_max is None else self.options.r_max
        rungs, epoch = [], self.options.r_min
        while epoch < r_max:
            rungs.append(epoch)
            epoch *= self.options.eta
        return (*rungs, r_max)

    def ask(self) -> Config:
        return self.space.sample(self.rng)

    def tell(self, config: Config, values: FloatArray) -> None:
        """Do nothing: :meth:`report` has already seen the values."""

    def report(self, trial: int, epoch: int, values: FloatArray) -> Decision:
        rungs = self.rungs
        if epoch not in rungs:
            raise ValueError(f"trial {trial} reports after {epoch} epochs; the rungs are {rungs}")
        if epoch == rungs[-1]:
            return Decision.FINISHED
        rung = self._reports[epoch]
        rung.append(values)
        position = _position_of_last(np.array(rung))
        return Decision.CONTINUE if position < len(rung) / self.options.eta else Decision.STOP


def _position_of_last(values: FloatArray) -> int:
    """Number of the trials of a rung that are ordered before the last trial.

    Args:
        values: ``(n, n_objectives)``, in the order of arrival.
    """
    ranks = nondominated_ranks(values)
    n_better = int((ranks < ranks[-1]).sum())
    peers = np.flatnonzero(ranks == ranks[-1])
    distances = crowding_distances(values[peers])
    return n_better + int((distances[:-1] >= distances[-1]).sum())
