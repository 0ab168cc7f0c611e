"""Budgets by name, for networks of BERT-base's size on a GPU: ``nasbench run --budget NAME``.

``paper`` is the paper's: two hours for a small data set, four for a large one. On a recent card that is far more than
a super-network needs, and a search becomes an enumeration. ``card-estimate`` is what such a card needs **by estimate**:
no card has been measured. It assumes :data:`SECONDS_PER_STEP` and :data:`SECONDS_PER_EVALUATION`, so that training a
super-network takes at most 80 % and a run holds no more evaluations than a record (100,000). Names are frozen like all
declarations: a measured budget will have another name. Runs with ``card-estimate`` are unofficial.
"""

from __future__ import annotations

from collections.abc import Mapping

from nasbench.declarations.model import DeviceClass, Model
from nasbench.declarations.task import Task
from nasbench.errors import UnknownName, UserError

from .tasks import PAPER_TASKS

SECONDS_PER_STEP, SECONDS_PER_EVALUATION = 0.010, 0.007
"""Estimates for a `full` step at batch size 4 and for a SMALL sub-network of BERT-base on RTE, on an H100."""

BUDGETS: Mapping[str, Mapping[str, float]] = {
    "paper": {task.name: task.budgets["paper", "gpu"] for task in PAPER_TASKS},
    "card-estimate": {
        "rte": 300.0,
        "mrpc": 300.0,
        "stsb": 300.0,
        "cola": 300.0,
        "imdb": 600.0,
        "sst2": 1_200.0,
        "swag": 4_800.0,
        "qnli": 1_800.0,
    },
}
"""Seconds by name of the budget and of the task."""
_TRACKS = ("paper", "base")


def budget_by_name(name: str, task: Task, model: Model, device_class: DeviceClass) -> float:
    """Seconds of a named budget.

    Raises:
        UnknownName: if there is no such budget.
        UserError: if it does not hold for this task, model and device.
    """
    if name not in BUDGETS:
        raise UnknownName("budget", name, BUDGETS)
    track = task.track_of(model)
    if task.name not in BUDGETS[name] or track not in _TRACKS or device_class != "gpu":
        raise UserError(
            f"budget {name!r} is for the paper's tasks with a model of BERT-base's size on a GPU, not for "
            f"{task.name!r} with {model.name!r} on a {device_class}; give --budget SECONDS"
        )
    return BUDGETS[name][task.name]
