"""The commands that read records and compare them: report, leaderboard, claims, freeze."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

import click

PATH = click.Path(path_type=Path)
many_results_option = click.option(
    "--results",
    type=PATH,
    multiple=True,
    help="A folder of runs (repeatable); default: runs and results, if they exist.",
)
curated_option = click.option(
    "--results", type=PATH, default=Path("results"), show_default=True, help="The folder of curated records."
)


@click.command()
@many_results_option
@click.option("--out", type=PATH, default=Path("report"), show_default=True, help="The folder for the report.")
@click.option("--figure", "figures", multiple=True, help="Make only this figure (repeatable): 2 to 13, or a name.")
@click.option("--refit", is_flag=True, help="Normalise by the runs in the folders instead of by the frozen quantiles.")
def report(results: tuple[Path, ...], out: Path, figures: tuple[str, ...], refit: bool) -> int:
    """Make tables, figures and an HTML page."""
    from nasbench.analysis.reading.results import existing_folders
    from nasbench.analysis.report import report as module

    outcome = module.report(existing_folders(results), out, figures or None, refit)
    _warn(outcome.warnings)
    for path in outcome.files if figures else outcome.files[-1:]:
        click.echo(path)
    return outcome.exit_code


@click.command()
@curated_option
@click.option("--out", type=PATH, default=Path("leaderboard.md"), show_default=True, help="The file to write or check.")
@click.option("--check", "only_check", is_flag=True, help="Fail if the file does not match the results.")
def leaderboard(results: Path, out: Path, only_check: bool) -> None:
    """Write or check the leaderboard.

    It ranks the curated records in results/. Your own runs, in runs/, are in nasbench report.
    """
    from nasbench.analysis.report import leaderboard as module

    if only_check:
        module.check_leaderboard(results, out)
        click.echo(f"{out} matches {results}")
    else:
        from nasbench.records.record import write_atomically

        write_atomically(out, module.leaderboard(results).encode())
        click.echo(f"wrote {out} from the official runs in {results}")


@click.command()
@many_results_option
@click.option("--out", type=PATH, help="Write a page about the records and the claims instead, from one folder.")
def claims(results: tuple[Path, ...], out: Path | None) -> None:
    """Test the paper's claims against the results.

    The verdict on each claim is confirmed, refuted, undecided or not run.
    """
    from nasbench.analysis.reading.results import existing_folders
    from nasbench.analysis.report import claims as module

    if out is not None:
        from nasbench.analysis.report import results_page
        from nasbench.records.record import write_atomically

        if len(results) != 1:
            raise click.UsageError("--out describes one folder; give one --results FOLDER")
        write_atomically(out, results_page.page(results[0]).encode())
        click.echo(f"wrote {out} from the runs in {results[0]}")
        return

    click.echo(module.claims(existing_folders(results)), nl=False)


@click.command()
@curated_option
@click.option(
    "--scenario", "scenarios", multiple=True, metavar="TASK/MODEL/DEVICE",
    help="Freeze this scenario only; repeatable. Default: all that are not frozen.",
)  # fmt: skip
def freeze(results: Path, scenarios: tuple[str, ...]) -> None:
    """Freeze the scales of the hypervolume.

    Objectives are normalised by quantiles. The command writes the next version of the quantiles: it copies all frozen
    quantiles and adds each new scenario (task, model and device class) on which at least two methods have run. A scale
    stays as it is frozen, so a scenario should wait until its methods have run. Only the curated records in results/
    count.
    """
    from nasbench.analysis.scoring import quantiles

    benchmark = Path(importlib.import_module("nasbench.benchmark").__path__[0])
    frozen = quantiles.freeze(results, benchmark, scenarios)
    _warn(frozen.warnings)
    for line in frozen.scenarios:
        click.echo(line)
    click.echo(frozen.path if frozen.scenarios else f"nothing to freeze; the newest quantiles are {frozen.path}")


COMMANDS: tuple[click.Command, ...] = (report, leaderboard, claims, freeze)


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"warning: {' '.join(warning.split())}", err=True)
