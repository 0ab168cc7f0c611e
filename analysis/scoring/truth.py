"""The true Pareto front of a table of the tabular benchmark, and what searches miss of it.

All networks of the grid are known, so the objectives are normalised by the quantiles of the whole grid, and regret is
measured from the true front. Neither moves when a run is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nasbench.analysis.scoring import hypervolume as over
from nasbench.analysis.scoring.quantiles import apply_knots, fit_knots
from nasbench.arrays import BoolArray, FloatArray
from nasbench.declarations.task import REFERENCE_POINT
from nasbench.search.pareto import hypervolume, pareto_mask
from nasbench.tables.table import Table


@dataclass(frozen=True)
class Truth:
    """The true front of a table. Values are pairs of error and parameter fraction.

    Attributes:
        table: the table.
    """

    table: Table

    @cached_property
    def networks(self) -> BoolArray:
        """Mask ``(n_rows,)`` of the rows that count: each network once, with finite outputs."""
        return np.asarray(self.table.is_first_copy & ~np.isnan(self.table.values[:, 0]), dtype=np.bool_)

    @cached_property
    def front(self) -> BoolArray:
        """Mask ``(n_rows,)`` of the networks on the validation Pareto front."""
        mask = np.zeros(len(self.networks), dtype=np.bool_)
        mask[self.networks] = pareto_mask(self.table.values[self.networks])
        return mask

    @cached_property
    def _knots(self) -> tuple[FloatArray, FloatArray]:
        values = self.table.values[self.networks]
        return fit_knots(values[:, 0]), fit_knots(values[:, 1])

    def normalise(self, values: npt.ArrayLike) -> FloatArray:
        """Validation or test values ``(n, 2)`` as quantile levels among the validation values of all networks."""
        pairs = np.asarray(values, dtype=np.float64).reshape(-1, 2)
        return np.column_stack([apply_knots(pairs[:, i], knots) for i, knots in enumerate(self._knots)])

    @cached_property
    def hypervolume(self) -> float:
        """Hypervolume of the true validation front, normalised; no search on the table can have more."""
        return hypervolume(self.normalise(self.table.values[self.front]), REFERENCE_POINT)

    @cached_property
    def test_hypervolume(self) -> float:
        """Hypervolume of the test errors of the true validation front, normalised like validation errors."""
        chosen = self.table.test_values[self.front]
        return hypervolume(self.normalise(chosen[~np.isnan(chosen[:, 0])]), REFERENCE_POINT)

    def found(self, values: npt.ArrayLike) -> FloatArray:
        """Normalised hypervolume after each evaluation of a run, ``(n,)``.

        Args:
            values: ``(n, 2)`` in the order of evaluation; NaN for the error of a failed evaluation.
        """
        normalised = self.normalise(values)
        n = len(normalised)
        steps = np.arange(n, dtype=np.float64)
        return np.asarray(over.over_time(normalised, steps, np.zeros(n, dtype=np.int64), 1, steps)[0])
