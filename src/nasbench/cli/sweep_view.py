"""Views of a sweep: a live table on a terminal, plain lines elsewhere. Both end with what is left to do."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nasbench.cli.summary import duration
from nasbench.sweeps.driver import JobState, Sweep

PLAIN_WIDTH = 160
LINE_INTERVAL_S = 60.0
"""Seconds between two plain lines on how far the sweep is."""
STYLES = {"complete": "green", "running": "bold", "waiting": "dim", "failed": "red", "lost": "red"}
_RANK = {"running": 0, "failed": 1, "lost": 1, "waiting": 2, "complete": 3}


class SweepView(AbstractContextManager["SweepView"]):
    """Plain lines: one for each run that starts or ends, and one a minute for the whole sweep."""

    def __init__(self, sweep: Sweep, console: Console) -> None:
        self.sweep, self.console = sweep, console
        self._printed_s = time.monotonic()

    def changed(self, state: JobState | None) -> None:
        """A run has started or ended; None: some time has passed."""
        if state is not None:
            self.console.print(Text(_line(state), style=STYLES[state.status]), soft_wrap=True)
        elif time.monotonic() - self._printed_s >= LINE_INTERVAL_S:
            self._printed_s = time.monotonic()
            self.console.print(Text(overview(self.sweep)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print how the runs ended, also those that failed before; after an interrupt, the caller says how to go on."""
        if kind is None:
            for state in self.sweep.states:
                if state.is_made_before and state.status == "failed":
                    self.console.print(Text(_line(state), style=STYLES[state.status]), soft_wrap=True)
            self.console.print(Text(overview(self.sweep), style="bold"))


class LiveSweepView(SweepView):
    """A table of all runs that is updated in place. On a low terminal, those at work come first."""

    def __init__(self, sweep: Sweep, console: Console) -> None:
        super().__init__(sweep, console)
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=2, transient=True)

    def __enter__(self) -> LiveSweepView:
        self._live.start()
        return self

    def changed(self, state: JobState | None) -> None:
        if state is not None and state.status in ("failed", "lost"):
            super().changed(state)  # scrolls by above the table, and stays

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        super().__exit__(kind, error, trace)

    def render(self) -> RenderableType:
        """The table. Rich calls this from its own thread."""
        states = self.sweep.states
        room = max(4, self.console.height - 5)
        shown = states
        if len(states) > room:
            best = sorted(range(len(states)), key=lambda i: (_RANK[states[i].status], i))[: room - 1]
            shown = [states[i] for i in sorted(best)]
        table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
        table.add_column("run", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("status", no_wrap=True)
        for name in ("evaluations", "spent", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        for state in shown:
            table.add_row(*_cells(state), style=STYLES[state.status])
        parts: list[RenderableType] = [table]
        if len(shown) < len(states):
            parts.append(Text(f"and {len(states) - len(shown)} more", style="dim"))
        parts.append(Text(overview(self.sweep), style="bold"))
        return Group(*parts)


def view_of(sweep: Sweep, quiet: bool) -> SweepView:
    """A live table if stdout is a terminal and ``quiet`` is false, else plain lines."""
    if quiet or not sys.stdout.isatty():
        return SweepView(sweep, Console(width=PLAIN_WIDTH, highlight=False))
    return LiveSweepView(sweep, Console(highlight=False))


def overview(sweep: Sweep) -> str:
    """``40 runs: 12 complete, 2 running, 26 waiting; about 3:20:00 left``."""
    counts = ", ".join(f"{n} {status}" for status, n in sweep.counts().items())
    text = f"{len(sweep.states)} runs: {counts or 'none'}"
    if all(state.status not in ("waiting", "running") for state in sweep.states):
        return text
    left_s = sweep.left_s
    return f"{text}; time left unknown" if left_s is None else f"{text}; about {duration(left_s)} left"


def _cells(state: JobState) -> tuple[str, str, str, str, str]:
    left = state.left_s
    is_open = state.status in ("waiting", "running")
    status = f"{state.status}: {state.phase}" if state.status == "running" and state.phase else state.status
    limit = "" if state.job.max_evaluations is None else f" of {state.job.max_evaluations}"
    return (
        state.job.name,
        status,
        f"{state.n_evaluations}{limit}" if state.n_evaluations else "",
        duration(state.elapsed_s) if state.elapsed_s else "",
        duration(left) if left is not None and is_open else "",
    )


def _line(state: JobState) -> str:
    text = f"{state.status}: {state.job.name}"
    if state.status in ("failed", "lost"):
        return f"{text}: {state.reason}"
    if state.status == "complete":
        return f"{text} ({state.n_evaluations} evaluations, {duration(state.elapsed_s)})"
    return f"{text} ({state.phase})" if state.phase else text
