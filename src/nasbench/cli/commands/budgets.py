"""``--budget SECONDS|NAME`` of ``nasbench run`` and ``nasbench sweep``."""

from __future__ import annotations

from contextlib import suppress

import click

budget_option = click.option(
    "--budget",
    metavar="SECONDS|NAME",
    help="A budget other than the task's, which makes the run unofficial; paper and card-estimate are names.",
)


def seconds_of(budget: str | None, task: str, model: str | None, device: str) -> float | None:
    """The budget as seconds, None for the task's own.

    Args:
        budget: seconds, or a name of :mod:`nasbench.benchmark.budgets`.
        task: as it is typed.
        model: as it is typed; None for the task's own.
        device: as it is typed.

    Raises:
        UserError: for a name that does not exist or does not hold here.
    """
    if budget is None:
        return None
    with suppress(ValueError):
        return float(budget)
    from nasbench.benchmark.budgets import budget_by_name
    from nasbench.runs.request import make_request

    # Any method: what is asked is the task and the model.
    request = make_request("rfp", task, model=model, device=device, check_device=device == "auto")
    return budget_by_name(budget, request.task, request.model, request.device_class)
