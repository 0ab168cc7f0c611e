"""The page about a folder of records (``nasbench claims --out``): how they were made, and its figures and claims."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from nasbench.analysis.experiments.definitions import experiment_of
from nasbench.analysis.experiments.missing import Inventory, beginning, command_for, shortfall, take_inventory
from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.reading.scenarios import of_language_models
from nasbench.analysis.report.discussion import FILE, Discussion, read_discussion
from nasbench.analysis.report.formatting import bounds, count, escape, number
from nasbench.analysis.report.paper_claims import check_claims, unofficial_among
from nasbench.analysis.report.tables import zero_shot_choices
from nasbench.analysis.scoring.intervals import MIN_TASKS
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.analysis.scoring.tracks import DEVICE_CLASSES, EVERY_TRACK
from nasbench.analysis.scoring.verdicts import Claim, ClaimResult
from nasbench.errors import UnknownName, UserError
from nasbench.records.schema import work_times

_WRITTEN_BY = "Written by `nasbench claims --out`; do not edit. `nasbench report` draws the figures."
_MADE = (
    "In brackets: the shortest time of a fixed piece of work in a run, for the fastest and the slowest of the runs "
    "that have measured it."
)
SHOWN = ("5", "5-shared", "6", "7", "8", "9", "10", "11", "12", "weight-sharing")
"""Figures whose runs the page lists; others are shown where they are discussed."""


def page(folder: Path, quantiles: Quantiles | None = None) -> str:
    """The Markdown text. The same records and the same discussion give the same text.

    Args:
        folder: the folder of records; :mod:`~nasbench.analysis.report.discussion` says what may lie beside them.
        quantiles: the normaliser; None for the frozen quantiles of the suite.

    Raises:
        UserError: for a damaged discussion, and for one of a figure or a claim that there is not.
    """
    found, discussion = read_results(folder).finished(), read_discussion(folder)
    parts = ["# Results", _WRITTEN_BY]
    parts += ["## How the runs were made", _made(found), _MADE, *_commands(found)]
    inventory = take_inventory(found.runs)
    parts += ["## The figures", *_figures(inventory, discussion)]
    undiscussed = {**discussion.claims}
    parts += _zero_shot(found)
    for track, track_title in EVERY_TRACK.items():
        for device, device_title in DEVICE_CLASSES.items():
            keep = ((found.runs["track"] == track) & (found.runs["device_class"] == device)).to_numpy()
            if keep.any():
                chosen = found.select(keep)
                heading = "Claims" if of_language_models(chosen.runs).all() else "Claims of the paper"
                parts.append(f"## {heading}: {track_title}, {device_title}")
                places = take_inventory(chosen.runs).places
                command = partial(command_for, inventory=inventory, places=places)
                reasons = undiscussed.pop(f"{track}/{device}", {})
                parts += _claims(check_claims(chosen, quantiles), reasons, command)
                parts += filter(None, [unofficial_among(chosen.runs)])
    if undiscussed:
        raise UserError(f"{FILE} has claims of {min(undiscussed)!r}, where nothing has run")
    if found.findings:
        parts.append("## Damaged, failed and unfinished runs")
        parts.append("\n".join(f"- {escape(str(finding))}" for finding in found.findings))
    return "\n\n".join(parts) + "\n"


def _made(results: Results) -> str:
    """Number, hours, hardware and versions of the runs of each track and device class."""
    runs = results.runs.assign(
        hardware=[_hardware(provenance) for provenance in results.runs["provenance"]],
        revision=[str(provenance.get("git_revision")) for provenance in results.runs["provenance"]],
        work_s=[min(work_times(conditions), default=float("nan")) for conditions in results.runs["conditions"]],
        hours=[
            (sum(charged.values()) + sum(free.values())) / 3600
            for charged, free in zip(results.runs["charged_s"], results.runs["uncharged_s"], strict=True)
        ],
    )
    rows = [
        (
            EVERY_TRACK.get(str(key[0]), key[0]),
            key[1],
            len(part),
            _names(part["task"]),
            ", ".join(map(str, sorted(set(part["seed"])))),
            f"{part['hours'].sum():.1f}",
            "; ".join(f"{name}{_speed(own['work_s'])}" for name, own in part.groupby("hardware")),
            f"{_names(part['suite_version'])} ({count(part['revision'].nunique(), 'revision')})",
        )
        for key, part in runs.groupby(["track", "device_class"], observed=True)
    ]
    headers = ["section", "device", "runs", "tasks", "seeds", "hours", "hardware", "versions"]
    return tabulate([[escape(str(cell)) for cell in row] for row in rows], headers, "pipe", disable_numparse=True)


def _names(column: pd.Series) -> str:
    return ", ".join(sorted(set(column.astype(str))))


def _speed(work_s: pd.Series) -> str:
    """The range over runs of the shortest time of the fixed piece of work, in brackets."""
    known = 1000 * work_s.dropna()
    ends = dict.fromkeys(f"{end:.1f}" for end in (known.min(), known.max()))
    return f" ({' to '.join(ends)} ms)" if len(known) else ""


def _commands(results: Results) -> Iterator[str]:
    """The command of each entry's first run."""
    yield (
        "The first run of each entry; the others have another task or seed. Add `--data-dir` where the data are not "
        "from the hub. `nasbench sweep` makes many."
    )
    runs = results.runs.assign(task=results.runs["task"].astype(str), entry=results.runs["entry"].astype(str))
    rows = [
        (
            escape(str(part["entry"].iloc[0])),
            ", ".join(
                f"{escape(str(task))} ({', '.join(map(str, sorted(own['seed'])))})"
                for task, own in part.groupby("task")
            ),
            _code(str(part["command"].iloc[0])),
        )
        for _, part in runs.groupby(["track", "device_class", "entry"], observed=True)
    ]
    yield tabulate(rows, ["entry", "tasks (seeds)", "command"], "pipe", disable_numparse=True)


def _code(command: str) -> str:
    """A command as code. A name from a stranger's record may hold what ends code or a cell in Markdown."""
    is_plain = command.isprintable() and not set(command) & set("`|")
    return f"`{command}`" if is_plain else f"<code>{escape(command)}</code>"


def _hardware(provenance: dict[str, object]) -> str:
    found = provenance.get("hardware")
    if not isinstance(found, dict):
        return "not recorded"
    device = found.get("gpu") or found.get("cpu") or "unknown"
    n = found.get("n_threads", "?")
    return f"{device}, {count(n, 'thread')}"


def _figures(inventory: Inventory, discussion: Discussion) -> Iterator[str]:
    for name, entry in FIGURES.items():
        shown = discussion.figures.get(name)
        if name not in SHOWN and shown is None:
            continue
        yield f"### {entry.heading}: {entry.title.rstrip('?')}"
        if shown is not None:
            if shown.picture:
                yield f"![{entry.title}]({shown.picture})"
            yield f"{shown.text.strip()} `nasbench report --figure {name}` draws it."
        experiment = experiment_of(name)
        places = inventory.where(entry.shows)
        if name in SHOWN and experiment is not None:
            lacks = shortfall(experiment, inventory, places) if places else beginning(experiment, entry.shows)
            has = "all its runs" if lacks is None else f"{lacks.has}; {_code(lacks.command)} {lacks.effect}"
            yield f"Runs: {has}."


def _zero_shot(results: Results) -> Iterator[str]:
    """A section with the networks that were measured on zero-shot tasks, if there are any."""
    table = zero_shot_choices(results.runs)
    if len(table):
        yield "## Zero-shot choices"
        yield (
            "Networks of language model runs on tasks for which nothing was trained (`nasbench zero-shot`). Brackets "
            "are 95 % intervals over examples like these. By chance: the metric of a network that gives every example "
            "the same answer."
        )
        cells = [[escape(cell) for cell in row] for row in table.itertuples(index=False, name=None)]
        yield tabulate(cells, [escape(name) for name in table.columns], "pipe", disable_numparse=True)


def _claims(
    results: list[ClaimResult], reasons: Mapping[str, str], command: Callable[[Claim], str | None]
) -> Iterator[str]:
    """How many claims have which verdict, a paragraph on each one that has runs, and what the others need.

    Args:
        command: gives what makes runs for a claim; None if no runs of the section can judge it.
    """
    texts = [result.claim.text for result in results]
    for text in reasons:
        if text not in texts:
            raise UnknownName("claim", text, texts)
    counts = pd.Series([result.verdict for result in results]).value_counts()
    yield ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in _ORDER) + "."
    for result in results:
        if result.verdict != "not run":
            yield f"{_paragraph(result)} {reasons.get(result.claim.text, '').strip()}".rstrip()
    needed: dict[str | None, list[str]] = defaultdict(list)
    for result in results:
        if result.verdict == "not run":
            needed[command(result.claim)].append(result.claim.text)
    for makes, texts in needed.items():
        how = "Not run, and cannot be judged here" if makes is None else f"Not run; {_code(makes)} makes the records"
        yield f"{how}: {'; '.join(texts)}."


_ORDER = ("confirmed", "refuted", "undecided", "not run")


def _paragraph(result: ClaimResult) -> str:
    claim = result.claim
    these, like = bounds(result.low, result.high, 3), bounds(result.task_low, result.task_high, 3)
    blocks = f"{count(result.n, 'block')} of {count(result.n_tasks, 'task')}"
    text = (
        f"**{escape(claim.text)}: {result.verdict}.** The mean difference in {claim.measure} is "
        f"{number(result.difference, 3)} over {blocks}. The 95 % interval on these tasks is "
        f"{'missing' if these == '-' else these}, on tasks like these {'missing' if like == '-' else like}."
    )
    if result.verdict != "undecided":
        return text
    if claim.is_general and like == "-":
        # A claim that contrasts two kinds of tasks needs so many of each.
        kinds = "" if result.n_tasks < MIN_TASKS else " of each kind"
        return f"{text} A claim about tasks in general needs {MIN_TASKS} tasks{kinds}."
    if not claim.is_general and these == "-":
        return f"{text} It needs more seeds."
    return f"{text} The interval holds both answers."
