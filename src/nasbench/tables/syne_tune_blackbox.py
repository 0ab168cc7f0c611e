"""A table as a blackbox of Syne Tune with its simulator back end, for all of Syne Tune's schedulers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import syne_tune.config_space as domains
from syne_tune.blackbox_repository.blackbox_tabular import BlackboxTabular
from syne_tune.blackbox_repository.simulated_tabular_backend import UserBlackboxBackend

from nasbench.tables.table import Table, grid_of

OBJECTIVES = ("error", "params")
"""Names of the metrics that a scheduler minimises."""
ELAPSED = "seconds"
"""Name of the metric with the seconds of an evaluation."""


def make_blackbox(table: Table) -> Any:
    """The networks of a table as a ``BlackboxTabular`` with one seed and one fidelity.

    Args:
        table: its hyperparameters are the numbers of ``heads``, ``units`` and ``layers``, as in the space SMALL.

    Returns:
        A blackbox with the objectives ``error`` (on the validation split), ``params`` (a fraction of the full network)
        and ``seconds`` (of the evaluation, without the training of the super-network, ``table.info.training_s``). A
        network whose outputs were not finite has the error 1.
    """
    info, columns = table.info, table.columns
    heads, steps, layers = (int(n) for n in table.space.upper)
    space = {
        "heads": domains.randint(0, heads),
        "units": domains.finrange(0, steps * info.unit_step, size=steps + 1, cast_int=True),
        "layers": domains.randint(0, layers),
    }
    values = np.column_stack([np.nan_to_num(columns["error"], nan=1.0), columns["params"], columns["seconds"]])
    return BlackboxTabular(
        hyperparameters=pd.DataFrame(grid_of(table.space) * np.array([1, info.unit_step, 1]), columns=list(space)),
        configuration_space=space,
        fidelity_space={"evaluation": domains.randint(1, 1)},
        objectives_evaluations=values[:, None, None, :],
        objectives_names=[*OBJECTIVES, ELAPSED],
    )


def make_backend(table: Table) -> Any:
    """A ``UserBlackboxBackend`` on a table, whose clock runs by the recorded seconds of the evaluations."""
    return UserBlackboxBackend(blackbox=make_blackbox(table), elapsed_time_attr=ELAPSED, seed=0)
