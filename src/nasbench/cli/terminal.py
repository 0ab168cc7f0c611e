"""Views of a run: live on a terminal, plain lines elsewhere. Both end with the summary of the run."""

from __future__ import annotations

import math
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nasbench.cli.progress import Progress
from nasbench.cli.summary import duration, print_summary
from nasbench.records.record import Evaluation, RunRecord

if TYPE_CHECKING:
    from nasbench.data.summary import DataSummary

PLAIN_WIDTH = 120
"""Width of the tables where no terminal limits it, characters."""
REFRESHES_PER_S = 4


def plan(record: RunRecord, budget_s: float) -> list[str]:
    """What a run will do and how long that will take, a line each. A method of a plugin has no summary here."""
    from nasbench.plugins import registry
    from nasbench.training.configuration import TRAINING_SHARE, SuperNetworkOptions

    known, name, limit = registry.methods(), record.identity.method, record.identity.max_evaluations
    method = known[name] if known.is_of_suite(name) else None  # others may be isolated, and are not imported here
    lines = [] if method is None else [f"plan: {method.summary}"]
    if math.isfinite(budget_s):
        trains_first = method is not None and issubclass(method.Options, SuperNetworkOptions)
        parts = (
            [f"training at most {duration(TRAINING_SHARE * budget_s)}, evaluations the rest"] if trains_first else []
        )
        parts += [] if limit is None else [f"or {limit} evaluations if these are made sooner"]
        detail = f" ({'; '.join(parts)})" if parts else ""
        lines.append(f"time: {duration(budget_s)}{detail}; loading, test errors and records are extra")
    elif limit is not None:
        lines.append(f"time: until {limit} evaluations are made")
    return lines


class View(Progress, AbstractContextManager["View"]):
    """The base of both views: prints a heading and the summary. Leaving its context releases the terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def phase(self, name: str, elapsed_s: float) -> None:
        super().phase(name, elapsed_s)
        if self.record is None:
            self.console.print("loading data and model")

    def data_loaded(self, summary: DataSummary) -> None:
        for line in summary.lines():
            self.console.print(Text(line))
        for note in summary.notes:
            self.console.print(Text(f"note: {note}", style="yellow"))

    def run_started(self, record: RunRecord, folder: Path, n_resumed: int, budget_s: float) -> None:
        super().run_started(record, folder, n_resumed, budget_s)
        identity = record.identity
        parts = (identity.algorithm, identity.task, identity.model, identity.space, f"seed {identity.seed}")
        self.console.print(Text(" | ".join((*parts, identity.device_class)), style="bold"))
        for line in plan(record, budget_s):
            self.console.print(Text(line))
        self.console.print(Text("Ctrl-C is safe: the same command resumes the run"))
        if n_resumed or self.elapsed_s:
            self.console.print(Text(f"resuming after {duration(self.elapsed_s)} and {n_resumed} evaluations"))
        for note in record.notes:
            self.console.print(Text(f"note: {note}", style="yellow"))

    def notice(self, text: str) -> None:
        self.console.print(Text(text, style="yellow"))

    def run_finished(self, record: RunRecord, evaluations: list[Evaluation]) -> None:
        print_summary(self.console, record, evaluations, self.folder)
        if any(evaluation.error is not None for evaluation in evaluations):
            from nasbench.runs.picture import save_front

            picture = save_front(record, evaluations, self.folder)
            self.console.print(Text(f"picture: {picture}"), soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the terminal; nothing to do for plain output."""

    def found(self) -> str:
        """Number of evaluations, best error and hypervolume so far."""
        limit = None if self.record is None else self.record.identity.max_evaluations
        count = f"{self.n_evaluations} evaluations" if limit is None else f"{self.n_evaluations} of {limit} evaluations"
        if self.best_error is None:
            return count
        failed = f" ({self.n_failed} failed)" if self.n_failed else ""
        return f"{count}{failed}, best error {self.best_error:.4f}, hypervolume {self.raw_hypervolume:.4f}"

    def steps_text(self) -> str:
        """Progress of the current training and its remaining time; empty outside training."""
        if self.steps is None:
            return ""
        done, total = self.steps
        left = "" if self.eta_s is None else f", {duration(self.eta_s)} left"
        return f"step {done:,} of {total:,}{left}"


class PlainView(View):
    """Lines for logs: one at the start of each new phase, and one per :attr:`interval_s`."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last_s = 0.0
        self._phases: set[str] = set()

    @property
    def interval_s(self) -> float:
        """Charged seconds between two lines: a fiftieth of the budget, but from 10 to 60."""
        return min(max(self.budget_s / 50, 10), 60)

    def changed(self) -> None:
        if self.record is None:
            return
        # The first line on a training waits until its speed is known.
        has_estimate = self.eta_s is not None or (self.steps is not None and self.steps[0] == self.steps[1])
        is_new = self.phase_name not in self._phases and (self.phase_name != "training" or has_estimate)
        if is_new or self.elapsed_s - self._last_s >= self.interval_s:
            self._phases.add(self.phase_name)
            self._last_s = self.elapsed_s
            limit = f" of {duration(self.budget_s)}" if math.isfinite(self.budget_s) else ""
            parts = [part for part in (self.steps_text(), self.found()) if part]
            self.console.print(Text(f"[{duration(self.elapsed_s)}{limit}] {self.phase_name}: {'; '.join(parts)}"))


class LiveView(View):
    """Three lines that are updated in place and replaced by the summary at the end."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(
            console=console, get_renderable=self.render, refresh_per_second=REFRESHES_PER_S, transient=True
        )

    def run_started(self, record: RunRecord, folder: Path, n_resumed: int, budget_s: float) -> None:
        super().run_started(record, folder, n_resumed, budget_s)
        self._live.start()

    def run_finished(self, record: RunRecord, evaluations: list[Evaluation]) -> None:
        self._live.stop()
        super().run_finished(record, evaluations)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def render(self) -> RenderableType:
        """The current view. Rich calls this from its own thread, :data:`REFRESHES_PER_S` times a second."""
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=8)
        grid.add_column(ratio=1)
        grid.add_column(justify="right", no_wrap=True)
        is_limited = math.isfinite(self.budget_s)
        limit = f" of {duration(self.budget_s)}" if is_limited else ""
        grid.add_row(
            "budget",
            ProgressBar(total=self.budget_s if is_limited else None, completed=min(self.elapsed_s, self.budget_s)),
            f"{duration(self.elapsed_s)}{limit}",
        )
        if self.steps is not None:
            done, total = self.steps
            grid.add_row("training", ProgressBar(total=total, completed=done), self.steps_text())
        else:
            grid.add_row("now", Text(self.phase_name), "")
        return Group(grid, Text(f"found    {self.found()}"))


def observer(quiet: bool) -> View:
    """A live view if stdout is a terminal and ``quiet`` is false, else plain lines."""
    if quiet or not sys.stdout.isatty():
        return PlainView(Console(width=PLAIN_WIDTH, highlight=False, soft_wrap=True))
    return LiveView(Console(highlight=False))
