"""A table as a benchmark problem for Optuna, in the form of OptunaHub's (``optunahub.benchmarks.BaseProblem``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasbench.tables.table import Table

if TYPE_CHECKING:
    import optuna


class OptunaProblem:
    """Validation error and parameter fraction of the networks of a table, both minimised.

    An instance is an objective: ``study.optimize(OptunaProblem(table), n_trials=100)``. It has the attributes and
    methods of OptunaHub's problems, which need no common base class.

    Attributes:
        table: the table.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    @property
    def search_space(self) -> dict[str, Any]:
        """Distributions of the numbers of heads, units and layers, as in the space SMALL."""
        from optuna.distributions import IntDistribution

        heads, steps, layers = (int(n) for n in self.table.space.upper)
        step = self.table.info.unit_step
        return {
            "heads": IntDistribution(0, heads),
            "units": IntDistribution(0, steps * step, step=step),
            "layers": IntDistribution(0, layers),
        }

    @property
    def directions(self) -> list[optuna.study.StudyDirection]:
        """Minimise both objectives."""
        from optuna.study import StudyDirection

        return [StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]

    def evaluate(self, params: Mapping[str, int]) -> tuple[float, float]:
        """Validation error and parameter fraction of a network.

        Args:
            params: ``heads``, ``units`` and ``layers``.

        Raises:
            ValueError: for a network that the table does not hold.
        """
        config = self.table.space.from_json({name: int(params[name]) for name in self.table.space.names})
        self.table.space.check(config)
        found = self.table.entry(config)
        return (1.0 if found.error is None else found.error), found.params

    def __call__(self, trial: optuna.Trial) -> tuple[float, float]:
        space = self.search_space
        return self.evaluate(
            {name: trial.suggest_int(name, part.low, part.high, step=part.step) for name, part in space.items()}
        )
