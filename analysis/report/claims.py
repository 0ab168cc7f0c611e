"""The paper's claims and those about decoders, each tested on the results (``nasbench claims``).

A claim is an inequality between two algorithms, spaces or training strategies. It is measured as a mean difference
over the blocks (scenario and seed) that both have. The difference has two 95 % intervals: on these tasks, where only
seeds are random, and on tasks like these, where the tasks are a sample too. A general claim is about tasks like these,
and is judged by the second interval; fewer than three tasks leave it undecided. A claim about one named task is judged
by the first interval. "As good as" allows for a margin. Each track and device class is judged separately. Intervals are
not corrected for the number of claims: each claim is judged as if it were the only one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tabulate import tabulate

from nasbench.analysis.experiments.missing import command_for, take_inventory
from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.formatting import bounds, number, printable
from nasbench.analysis.report.paper_claims import check_claims, unofficial_among
from nasbench.analysis.scoring.intervals import MIN_TASKS
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.analysis.scoring.tracks import DEVICE_CLASSES, EVERY_TRACK
from nasbench.analysis.scoring.verdicts import HYPERVOLUME_MARGIN, RELATIVE_MARGIN, Claim, ClaimResult


def claims(results: Path | Sequence[Path], quantiles: Quantiles | None = None) -> str:
    """The text of ``nasbench claims``: one table for each track and device class with runs."""
    found = read_results(results)
    finished = found.finished()
    groups = [
        (
            f"{track_title}, {device_title}",
            (finished.runs["track"] == track) & (finished.runs["device_class"] == device),
        )
        for track, track_title in EVERY_TRACK.items()
        for device, device_title in DEVICE_CLASSES.items()
    ]
    groups = [(title, keep) for title, keep in groups if keep.any()]
    inventory = take_inventory(finished.runs)
    parts = []
    for title, keep in groups:
        chosen = finished.select(keep)
        command = partial(command_for, inventory=inventory, places=take_inventory(chosen.runs).places)
        parts.append(_table(title, check_claims(chosen, quantiles), command))
        parts += filter(None, [unofficial_among(chosen.runs)])
    if not groups:
        # Simulated runs and runs with other objectives say nothing about the paper's claims.
        nothing = finished.select(np.zeros(len(finished.runs), dtype=np.bool_))
        title = "No runs that the claims are about" if len(finished.runs) else "No runs"
        parts.append(_table(title, check_claims(nothing, quantiles), lambda claim: claim.command))
    parts.append(
        f"a is as good as b: the interval of a - b is within {HYPERVOLUME_MARGIN:g} hypervolume (of at most 4) or "
        f"{RELATIVE_MARGIN:.0%} of the full network's test metric.\n"
        "Two intervals: on these tasks (other seeds), and on tasks like these (other tasks). A claim about tasks in\n"
        f"general is judged by the second one, and is undecided for fewer than {MIN_TASKS} tasks. Bytes and times of\n"
        "the unpruned network do not depend on the task: the first one judges them."
    )
    if found.findings:
        parts.append("Warnings:\n" + "\n".join(f"  {printable(text)}" for text in found.warnings))
    return "\n\n".join(parts) + "\n"


def _table(title: str, results: Sequence[ClaimResult], command: Callable[[Claim], str | None]) -> str:
    """The table of a section; ``command`` gives what makes runs for a claim, None if none can judge it there."""
    rows = []
    for result in results:
        makes = None if result.n else command(result.claim)
        needs = "cannot be judged here" if makes is None else f"needs: {printable(makes)}"
        rows.append(
            {
                "claim": printable(result.claim.text),  # it may hold a device's name from a stranger's record
                "verdict": result.verdict,
                "difference": number(result.difference, 3),
                "on these tasks": bounds(result.low, result.high, 3),
                "on tasks like these": bounds(result.task_low, result.task_high, 3),
                "measure": result.claim.measure if result.n else needs,
                "blocks": number(result.n, 0),
                "tasks": number(result.n_tasks, 0),
            }
        )
    return f"{title}\n\n" + tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)
