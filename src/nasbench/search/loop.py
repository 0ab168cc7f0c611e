"""The search loop that standard and weight-sharing NAS share: ask, evaluate, tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from nasbench.arrays import FloatArray
from nasbench.errors import MethodError
from nasbench.networks.space import Config, SearchSpace
from nasbench.networks.subnetwork import SubNetwork
from nasbench.search.searcher import Decision, MultiFidelitySearcher, Searcher

MAX_CONSECUTIVE_DUPLICATES = 1000
"""A searcher that proposes nothing new this many times in a row has exhausted its space."""


class Outcome(Protocol):
    """The parts of an :class:`~nasbench.records.record.Evaluation` that a searcher may see."""

    @property
    def error(self) -> float | None:
        """Validation error; None if the evaluation failed."""

    @property
    def cost_values(self) -> tuple[float, ...]:
        """Costs as fractions of the full network's: the parameters, unless the run has other objectives."""


AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)


class SearchProblem(Protocol):
    """The parts of a :class:`~nasbench.runs.problem.Problem` that the loop uses."""

    @property
    def space(self) -> SearchSpace: ...

    def note_duplicate(self) -> None:
        """Count a proposal whose network was evaluated before."""


@dataclass(frozen=True)
class Inside:
    """A problem with another search space, for the loop of a method that chooses its own."""

    problem: SearchProblem
    space: SearchSpace

    def note_duplicate(self) -> None:
        """Count a proposal whose network was evaluated before."""
        self.problem.note_duplicate()


class SearchLoop:
    """Evaluates the largest, the smallest and the middle configuration, then the proposals of the searcher.

    Each network is evaluated once; two configurations with the same masks are the same network. If a network is
    proposed again, the searcher is told its old values, even if evaluations are noisy, and the problem counts a
    duplicate. Failed evaluations are never told.

    Args:
        evaluate: trains or slices a network, calls ``problem.evaluate`` and returns its result.
        known: values of networks that other loops have evaluated, by their masks; shared with those loops.

    Attributes:
        told: the values that the searcher has been told, in order.
    """

    def __init__(
        self,
        problem: SearchProblem,
        searcher: Searcher,
        evaluate: Callable[[Config, SubNetwork], Outcome],
        known: dict[str, FloatArray | None] | None = None,
    ) -> None:
        self._problem, self._searcher, self._evaluate = problem, searcher, evaluate
        self._known: dict[str, FloatArray | None] = {} if known is None else known
        space = problem.space
        self._first = [space.largest, space.smallest, space.midpoint]
        self.told: list[FloatArray] = []

    def run(self, most: int | None = None) -> None:
        """Evaluate ``most`` more networks, or as many as there are.

        It ends early when the searcher has proposed nothing new :data:`MAX_CONSECUTIVE_DUPLICATES` times in a row.
        It is also left by what ``evaluate`` raises, such as :class:`~nasbench.errors.BudgetExhausted`.

        Raises:
            MethodError: if a proposal is not a point of the space.
        """
        n_new = n_duplicates = 0
        while n_new != most and n_duplicates < MAX_CONSECUTIVE_DUPLICATES:
            config = self._first.pop(0) if self._first else proposal_of(self._searcher, self._problem.space)
            is_new = self._visit(config)
            n_new += is_new
            n_duplicates = 0 if is_new else n_duplicates + 1

    def _visit(self, config: Config) -> bool:
        """Evaluate a configuration if it is new and tell the searcher; returns whether it was new."""
        subnetwork = self._problem.space.to_subnetwork(config)
        is_new = subnetwork.key not in self._known
        if is_new:
            self._known[subnetwork.key] = values_of(self._evaluate(config.copy(), subnetwork))
        else:
            self._problem.note_duplicate()
        values = self._known[subnetwork.key]
        if values is not None:
            self.told.append(values)
            self._searcher.tell(config, values)
        return is_new


def search(problem: SearchProblem, searcher: Searcher, evaluate: Callable[[Config, SubNetwork], Outcome]) -> None:
    """Run a :class:`SearchLoop` until ``evaluate`` raises or the searcher proposes nothing new."""
    SearchLoop(problem, searcher, evaluate).run()


def climb(searcher: MultiFidelitySearcher, trial: int, advance: Callable[[int], AnyOutcome]) -> AnyOutcome:
    """Take one trial up the rungs until the searcher stops it; for the ``evaluate`` of :func:`search`.

    Args:
        trial: number of the trial, passed to the searcher.
        advance: trains the network of the trial up to an epoch, counted from its start, and evaluates it.

    Returns:
        The last evaluation. A failed evaluation ends the trial and is not reported.

    Raises:
        MethodError: if the searcher answers a report with anything but a :class:`Decision`.
    """
    for epoch in searcher.rungs:
        evaluation = advance(epoch)
        values = values_of(evaluation)
        if values is None:
            break
        decision = searcher.report(trial, epoch, values)
        if not isinstance(decision, Decision):
            raise MethodError(f"searcher {searcher.name!r} answered a report with {decision!r}, not a Decision")
        if decision is not Decision.CONTINUE:
            break
    return evaluation


def values_of(evaluation: Outcome) -> FloatArray | None:
    """The values that a searcher is told, the error and the costs, read-only; None if the evaluation failed."""
    if evaluation.error is None:
        return None
    values = np.array([evaluation.error, *evaluation.cost_values], dtype=np.float64)
    values.setflags(write=False)  # the same array is told again for a duplicate
    return values


def proposal_of(searcher: Searcher, space: SearchSpace) -> Config:
    """The next proposal of a searcher, checked.

    Raises:
        MethodError: if the proposal is not a point of the space.
    """
    proposal = searcher.ask()
    try:
        if not isinstance(proposal, np.ndarray):
            raise ValueError(f"it is a {type(proposal).__name__}, not an array of integers")
        space.check(proposal)
    except ValueError as error:
        raise MethodError(f"searcher {searcher.name!r} proposed {proposal!r}: {error}") from error
    return proposal.astype(np.int64)
