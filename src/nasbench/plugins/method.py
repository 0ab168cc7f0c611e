"""The contract of a method: one class with one method, ``run``."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from nasbench.errors import MethodError
from nasbench.search.searcher import NoOptions

if TYPE_CHECKING:
    from nasbench.runs.problem import Problem


class Method(ABC):
    """Finds sub-networks of a pre-trained network and reports them to a :class:`~nasbench.runs.problem.Problem`.

    ``run`` uses only what the problem offers: it sees no test data, no clock and no record. When the budget is spent, a
    call to the problem raises :class:`~nasbench.errors.BudgetExhausted`, which ends ``run``. All evaluations that were
    reported by then count. ``run`` returns when it has nothing more to try.

    ``run`` must be deterministic in ``problem.seed``. An interrupted run is resumed by calling ``run`` again. Recorded
    evaluations are not repeated: the problem returns their recorded results.

    Attributes:
        name: the name that ``nasbench methods`` shows.
        summary: one line that ``nasbench methods`` shows.
        spaces: names of the search spaces in which the method works. The first is the default if the task's default is
            not among them.
        default_searcher: the searcher that is used unless ``--searcher`` names another; None for a method without
            searcher.
        multi_fidelity: whether the method can drive a :class:`~nasbench.search.searcher.MultiFidelitySearcher`.
        evaluates_depths: whether the method reports every depth that a pass goes through.
        adds_output_biases: whether the network gets biases of 0 at the outputs of its blocks where it has none, for the
            method to set. They count as parameters, also of the full network.
        Options: a frozen dataclass. ``--set`` changes its fields.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    spaces: ClassVar[tuple[str, ...]] = ("small", "medium", "layer", "large")
    default_searcher: ClassVar[str | None] = None
    multi_fidelity: ClassVar[bool] = False
    evaluates_depths: ClassVar[bool] = False
    adds_output_biases: ClassVar[bool] = False
    Options: ClassVar[type[Any]] = NoOptions

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    @abstractmethod
    def run(self, problem: Problem) -> None:
        """Report sub-networks with ``problem.evaluate`` until nothing is left to try or the budget is spent."""


def run_to_end(method: Method, problem: Problem) -> None:
    """Call a method's ``run``.

    Raises:
        MethodError: if that has only made a generator or a coroutine. What ``run`` itself raises passes.
    """
    result: object = method.run(problem)  # a method can return anything
    if inspect.isgenerator(result) or inspect.isasyncgen(result) or inspect.iscoroutine(result):
        raise MethodError("run() has a yield or an await in it, so calling it does nothing; report by evaluate()")
