"""The commands of the tabular benchmark, and ``nasbench run --table``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nasbench.errors import UserError

if TYPE_CHECKING:
    from nasbench.cli.terminal import View

PATH = click.Path(path_type=Path)
THE_SUITES = "suite"
"""The value of ``--table`` without a path: a table that comes with the suite."""
LINE_INTERVAL_S = 30.0

table_option = click.option(
    "--table",
    is_flag=False,
    flag_value=THE_SUITES,
    metavar="[PATH]",
    help="Answer from a table in place of a network; default: a table of the suite, chosen by the seed.",
)


def run_on_table(table: str, quiet: bool, **arguments: Any) -> str | None:
    """Carry out ``nasbench run --table``.

    Args:
        table: :data:`THE_SUITES`, or the path of a table.
        arguments: as for :func:`nasbench.tables.simulation.make_simulation`.

    Returns:
        The reason of a failure, None for a complete run.
    """
    from nasbench.cli import terminal
    from nasbench.tables.simulation import make_simulation, simulate

    path = None if table == THE_SUITES else Path(table)
    request, found = make_simulation(table=path, **arguments)
    with terminal.observer(quiet) as view:
        record = simulate(request, found, view)
    return record.reason or "the run failed" if record.status == "failed" else None


@click.command()
@click.option("--task", required=True, help="A name from nasbench tasks, or the path of your own .toml file.")
@click.option("--model", help="A name from nasbench models; default: the task's.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of data split and super-network.")
@click.option("--unit-step", type=int, help="Units per step; default: that of the space small-grid (MiniLM: 16).")
@click.option("--strategy", default="full", show_default=True, help="How the super-network is trained.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Another option of the training (repeatable)."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:NUMBER.")
@click.option("--data-dir", type=PATH, envvar="NASBENCH_DATA_DIR", help="The folder of local data.")
@click.option(
    "--out",
    type=PATH,
    help="The file to write; default: tables/TASK_MODEL_seedSEED.parquet, for other strategies than full "
    "tables/TASK_MODEL_seedSEED_STRATEGY.parquet.",
)
@click.option("--cpu-clock", is_flag=True, help="Record CPU seconds per thread: for a machine that other work shares.")
@click.option("--quiet", is_flag=True, help="Print plain lines instead of a live view.")
def tabulate(
    task: str,
    model: str | None,
    seed: int,
    unit_step: int | None,
    strategy: str,
    settings: tuple[str, ...],
    device: str,
    data_dir: Path | None,
    out: Path | None,
    cpu_clock: bool,
    quiet: bool,
) -> None:
    """Train a super-network and measure the whole grid of its sub-networks.

    The table goes into one Parquet file. Searchers run on it with nasbench run --table, in seconds. The same command
    continues a tabulation that was interrupted.
    """
    from nasbench.cli import terminal
    from nasbench.runs.request import make_request
    from nasbench.tables import measure
    from nasbench.tables.table import SUFFIX

    if strategy != "full":
        settings = (f"strategy={strategy}", *settings)
    request = make_request(
        "ws-nas", task, model=model, space="small", searcher="random", settings=settings, seed=seed, device=device,
        data_dir=data_dir, max_evaluations=1,
    )  # fmt: skip
    if out is None:
        suffix = "" if strategy == "full" else f"_{strategy}"
        out = Path("tables") / f"{request.task.name}_{request.model.name}_seed{seed}{suffix}{SUFFIX}"
    click.echo(f"unfinished parts: {measure.work_folder(out)}")
    with terminal.observer(quiet) as view:
        info = measure.tabulate(request, out, unit_step, _training_only(view), _progress(quiet), cpu_clock)
    size_kb = out.stat().st_size / 1000
    click.echo(f"wrote {out}: {info.n_networks:,} configurations, {size_kb:,.0f} kB")


def _training_only(view: View) -> View:
    """The view of a training. The single evaluation of its run needs no summary."""
    view.run_finished = lambda *_: view.__exit__(None, None, None)  # type: ignore[method-assign]
    return view


def _progress(quiet: bool) -> Callable[[int, int], None]:
    """A function that shows how many passes are done: in place on a terminal, else one line in half a minute."""
    import time

    is_live = sys.stdout.isatty() and not quiet
    started_s, first, shown_s = time.monotonic(), 0, float("-inf")

    def show(done: int, n_all: int) -> None:
        nonlocal started_s, first, shown_s
        now_s = time.monotonic()
        if first == 0:
            first, started_s = done, now_s
        if not is_live and done < n_all and now_s - shown_s < LINE_INTERVAL_S:
            return
        shown_s = now_s
        left = ""
        if done > first:
            minutes = (now_s - started_s) / (done - first) * (n_all - done) / 60
            left = f", {minutes:.0f} min left"
        text = f"pass {done:,} of {n_all:,}{left}"
        click.echo(f"\r{text}\x1b[K" if is_live else text, nl=not is_live or done == n_all)

    return show


@click.command("compare-searchers")
@click.option("--table", "paths", type=PATH, multiple=True, help="A table (repeatable); default: all of the suite.")
@click.option("--searcher", "searchers", multiple=True, help="Only this searcher (repeatable); default: all.")
@click.option("--seeds", "n_seeds", type=click.IntRange(1), default=30, show_default=True, help="Number of seeds.")
@click.option("--max-evaluations", type=click.IntRange(4), default=200, show_default=True, help="Of each run.")
@click.option("--results", type=PATH, default=Path("runs/tables"), show_default=True, help="The folder of records.")
@click.option("--out", type=PATH, default=Path("docs/table-searchers.md"), show_default=True, help="The page to write.")
@click.option("--plugin", "plugins", type=PATH, multiple=True, help="A Python file with more searchers (repeatable).")
def compare_searchers(
    paths: tuple[Path, ...],
    searchers: tuple[str, ...],
    n_seeds: int,
    max_evaluations: int,
    results: Path,
    out: Path,
    plugins: tuple[Path, ...],
) -> None:
    """Run searchers on tables, and write a page and a picture of their true regret.

    The picture lies beside the page, as PAGE-regret.png. Complete runs are skipped, so the same command continues an
    interrupted comparison.
    """
    from nasbench.analysis.figures import style, table_regrets
    from nasbench.analysis.report import table_searchers
    from nasbench.records.record import write_atomically
    from nasbench.tables import comparison
    from nasbench.tables.table import Table, find_tables

    if out.is_dir():  # found out after all runs, it would be late
        raise UserError(f"--out {out} is a folder; name the page to write")
    tables = [Table(path) for path in paths] or find_tables()
    if not tables:
        raise click.UsageError("the suite has no tables; make one with 'nasbench tabulate' and give --table PATH")
    chosen = searchers or comparison.searchers_for_tables()

    def progress(done: int, n_all: int, name: str) -> None:
        if done % len(chosen) == 0:
            click.echo(f"run {done + 1} of {n_all}: {name}")

    comparison.run_all(tables, chosen, range(n_seeds), max_evaluations, results, plugins, progress)
    asked = (tables, results, chosen, range(n_seeds), max_evaluations)
    words = [word for path in paths for word in ("--table", str(path))]
    words += [word for name in searchers for word in ("--searcher", name)]
    words += ["--seeds", str(n_seeds), "--max-evaluations", str(max_evaluations)]
    words += [word for path in plugins for word in ("--plugin", str(path))]
    picture = out.with_name(table_searchers.picture_name(out))
    page = table_searchers.page(
        *asked,
        command=shlex.join(["nasbench", "compare-searchers", *words]),
        picture=picture.name,
        left_out=[name for name in comparison.searchers_for_tables() if name not in chosen],
    )
    style.save(table_regrets.draw(table_regrets.data(*asked)), picture.with_suffix(""), (picture.suffix[1:],))
    write_atomically(out, page.encode())
    click.echo(f"wrote {out} and {picture}")


COMMANDS: tuple[click.Command, ...] = (tabulate, compare_searchers)
