"""The summary printed after a run: the Pareto front, how the budget was spent, where the files are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nasbench.networks.space import Ranks
from nasbench.networks.subnetwork import Dimensions
from nasbench.records.front import front_of, full_network, is_no_better_than_constant, spread
from nasbench.records.record import Evaluation, RunRecord

MAX_ROWS = 20
"""Largest number of rows in the table of the front; a longer front is thinned evenly."""


def print_summary(console: Console, record: RunRecord, evaluations: Sequence[Evaluation], folder: Path) -> None:
    """Print the whole summary. A console with ``soft_wrap`` gets every remark in one line."""
    front, full = front_of(evaluations), full_network(record, evaluations)
    identity = record.identity
    console.print()
    if front:
        shown = spread(front, MAX_ROWS)
        some = f", {len(shown)} shown" if len(shown) < len(front) else ""
        heading = (
            f"Pareto front of {identity.algorithm} on {identity.task} ({identity.model}): "
            f"{len(front)} of {len(evaluations)} {'networks' if _has_ranks(record) else 'sub-networks'}{some}"
        )
        console.print(Text(heading, style="bold"))
        console.print(front_table(record, shown, full), soft_wrap=False)
        if full is not None:
            console.print(Text("percentages after a metric are relative to the full network", style="dim"))
        n_queries = Dimensions.from_json(record.dimensions).n_queries
        if n_queries > 1:
            groups = f"a head here is a group of {n_queries} query heads with one key and value"
            console.print(Text(groups, style="dim"))
        print_constant(console, record, front, full)
        console.print()
    else:
        console.print(Text("no sub-network was evaluated, so there is no front"))
    console.print(budget_table(record.charged_s, identity.budget_s), soft_wrap=False)
    console.print()
    off_clock = ", ".join(f"{phase} {s:.1f} s" for phase, s in record.uncharged_s.items())
    if off_clock:
        console.print(Text(f"off the clock: {off_clock}"))
    if record.unofficial:
        console.print(Text(f"unofficial: {'; '.join(record.unofficial)}", style="yellow"))
    for note in record.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    console.print(Text(f"record: {folder}"), soft_wrap=True)


def print_constant(console: Console, record: RunRecord, front: Sequence[Evaluation], full: Evaluation | None) -> None:
    """Explain the mark ``*``, if a network of the table has it."""
    shown = [*front, *([] if full is None else [full])]
    marked = [evaluation for evaluation in shown if is_no_better_than_constant(record, evaluation)]
    if not marked or record.constant_error is None:
        return
    what = "the majority class" if record.metric == "accuracy" else "the best constant answer"
    text = f"* no better than {what} (validation {record.metric} {1 - record.constant_error:.4f})"
    if len(marked) == len(shown):
        text += ": this is every network here, so the run has found nothing"
        text += "; its training was shortened, so give it a larger --budget" if record.shortened_trainings else ""
    console.print(Text(text, style="yellow"))


def front_table(record: RunRecord, front: Sequence[Evaluation], full: Evaluation | None) -> Table:
    """One row per sub-network, and the full network below a line. At most 80 characters wide."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    costs = [name for name in record.identity.objectives or () if name not in ("error", "params")]
    metrics = f"validation {record.metric}", f"test {record.metric}"
    ranks = ["ranks"] if _has_ranks(record) else []
    for heading in ("layers", "heads", "units", *ranks, "params", "M", *costs, *metrics):
        table.add_column(heading, justify="right", no_wrap=not heading.endswith(record.metric))
    for evaluation in front:
        table.add_row(*_cells(record, evaluation, full), style="bold" if evaluation is full else None)
    if full is not None and full not in front:
        table.add_section()
        table.add_row(*_cells(record, full, full), style="bold")
    return table


def budget_table(charged_s: Mapping[str, float], budget_s: float | None) -> Table:
    """Charged seconds by phase, and the share of each phase in their sum."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("budget", header_style="bold")
    spent_s = sum(charged_s.values())
    for phase in (*charged_s, "together"):
        table.add_column(phase, justify="right")
    table.add_row(
        "seconds",
        *(f"{s:.1f}" for s in charged_s.values()),
        f"{spent_s:.1f}",
        "" if budget_s is None else f"of {budget_s:g}",
    )
    table.add_row("share", *(_percent(s, spent_s) for s in charged_s.values()))
    return table


def duration(seconds: float) -> str:
    """``42 s``, ``3:07 min``, ``1:02:45 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def _cells(record: RunRecord, evaluation: Evaluation, full: Evaluation | None) -> list[str]:
    heads = [n for n in evaluation.head_counts if n]
    units = [n for n in evaluation.unit_counts if n]
    n_layers = sum(h > 0 or u > 0 for h, u in zip(evaluation.head_counts, evaluation.unit_counts, strict=True))
    test_of_full = None if full is None else full.test_error
    return [
        f"* {n_layers}" if is_no_better_than_constant(record, evaluation) else str(n_layers),
        _range(heads),
        _range(units),
        *([_range([int(str(rank)) for rank in evaluation.config.values()])] if _has_ranks(record) else []),
        f"{100 * evaluation.params:.1f} %",
        f"{evaluation.n_params / 1e6:.1f}",
        *(f"{100 * value:.1f} %" for name, value in (evaluation.costs or {}).items() if name != "params"),
        _metric(evaluation.error, None if full is None else full.error),
        _metric(evaluation.test_error, test_of_full),
    ]


def _has_ranks(record: RunRecord) -> bool:
    """Whether networks differ in the ranks of their projections, not in heads and units."""
    return record.identity.space == Ranks.name


def _range(counts: Sequence[int]) -> str:
    """Smallest and largest count among the layers that have any; one number if the two are equal."""
    if not counts:
        return "0"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}-{high}"


def _metric(error: float | None, error_of_full: float | None) -> str:
    """The metric, with its percentage of the full network's metric where that is above 0."""
    if error is None:
        return "-"
    metric = 1 - error
    if error_of_full is None or error_of_full >= 1:
        return f"{metric:.4f}"
    return f"{metric:.4f} {_percent(metric, 1 - error_of_full):>7}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole > 0 else "-"
