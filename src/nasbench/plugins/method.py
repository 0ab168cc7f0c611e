"""The contract of a method: one class, one ``run``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from nasbench.search.searcher import NoOptions

if TYPE_CHECKING:
    from nasbench.runs.problem import Problem


class Method(ABC):
    """Finds sub-networks of a pre-trained network and reports them to a :class:`~nasbench.runs.problem.Problem`.

    ``run`` may use everything the problem offers and nothing else: it sees no test data, no clock and no record. It is
    stopped by a :class:`~nasbench.errors.BudgetExhausted` raised inside a call to the problem; what it has reported by
    then counts. It returns when it has nothing more to try. It must be deterministic in ``problem.seed``: an
    interrupted run is resumed by calling ``run`` again, with recorded evaluations answered from the record.

    Attributes:
        name, summary: as ``nasbench methods`` shows them.
        spaces: search spaces it works in; the first is the default where the task's default is not among them.
        default_searcher: the searcher used unless ``--searcher`` names another; None if it has no use for one.
        multi_fidelity: whether it can drive a :class:`~nasbench.search.searcher.MultiFidelitySearcher`.
        evaluates_depths: whether it reports every depth that a pass goes through.
        Options: a frozen dataclass, each field reachable with ``--set``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    spaces: ClassVar[tuple[str, ...]] = ("small", "medium", "layer", "large")
    default_searcher: ClassVar[str | None] = None
    multi_fidelity: ClassVar[bool] = False
    evaluates_depths: ClassVar[bool] = False
    Options: ClassVar[type[Any]] = NoOptions

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    @abstractmethod
    def run(self, problem: Problem) -> None:
        """Report sub-networks with ``problem.evaluate`` until done or stopped."""
