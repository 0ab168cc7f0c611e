"""The commands that submit results and verify those of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasbench.errors import UserError, printable

if TYPE_CHECKING:
    from nasbench.trust.checks import Check
    from nasbench.trust.rerunning import Comparison
    from nasbench.trust.verifying import Verified

PATH = click.Path(path_type=Path)
_STYLES = {"ok": "green", "wrong": "red", "missing": "yellow"}
_LONGEST = 400
_WORDS = {"ok": "ok     ", "wrong": "WRONG  ", "missing": "missing"}


@click.command()
@click.argument("runs", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="The ZIP file to write; it must not exist.")
@click.option("--author", required=True, help="Who submits the runs, as the leaderboard shows it.")
@click.option("--link", required=True, help="A web address for readers: the paper, the method or the pull request.")
def submit(runs: tuple[Path, ...], out: Path, author: str, link: str) -> None:
    """Bundle the records of runs in a file that nasbench verify reads.

    RUNS are folders of runs. Weights and checkpoints stay behind.
    """
    from nasbench.records.record import find_runs
    from nasbench.trust.bundles import write_bundle

    if out.exists():
        raise UserError(f"{out} exists already; name another file with --out")
    folders: dict[Path, Path] = {}
    for path in runs:
        found = find_runs(path, follow_links=False) if path.is_dir() else []
        if not found:
            raise UserError(f"no run below {path}; a run's folder has a run.json")
        folders |= {folder.resolve(): folder for folder in found}  # the folders that are named may overlap
    contents = write_bundle(out, list(folders.values()), author, link)
    click.echo(f"wrote {out}: {len(contents.runs)} runs, {out.stat().st_size / 1e6:.1f} MB; now:")
    click.echo(f"  nasbench verify {out}")


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True)
@click.option("--rerun", "repeat", is_flag=True, help="Also repeat each run, by its number of evaluations.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    help="The difference of errors that a repeated run may have.  [default: 0.05]",
)
@click.option(
    "--rerun-in", type=PATH, help="A folder for the repeated runs; a repetition that was interrupted resumes."
)
@click.option(
    "--write", is_flag=True, help="Write what was found beside the record; add the runs of a bundle to --results."
)
@click.option(
    "--results", type=PATH, default=Path("results"), show_default=True, help="The known runs, to find duplicates."
)
@click.option(
    "--data-dir",
    type=PATH,
    envvar="NASBENCH_DATA_DIR",
    help="The folder of local data; default: $NASBENCH_DATA_DIR, or the hub.",
)
def verify(
    paths: tuple[Path, ...],
    repeat: bool,
    tolerance: float | None,
    rerun_in: Path | None,
    write: bool,
    results: Path,
    data_dir: Path | None,
) -> int:
    """Verify records: compute again what they state.

    PATHS are folders of runs, or bundles of nasbench submit. Exit code 0: every run is re-scored, or re-run with
    --rerun. Exit code 1: some run is not, or its mark could not be written.
    """
    from nasbench.trust.expected import Loader
    from nasbench.trust.rerunning import TOLERANCE
    from nasbench.trust.storing import add_run, level_of, mark_run
    from nasbench.trust.verifying import submitted_runs
    from nasbench.trust.verifying import verify as carry_out

    for name, value in (("--tolerance", tolerance), ("--rerun-in", rerun_in)):
        if value is not None and not repeat:
            raise click.UsageError(f"{name} goes with --rerun")
    loader, levels, n_unwritten = Loader(data_dir), [], 0
    for path in paths:
        for submitted in submitted_runs(path):
            click.secho(printable(submitted.name, _LONGEST), bold=True)
            verified = carry_out(submitted, loader, results)
            _print(verified.checks)
            comparison = None
            limit = TOLERANCE if tolerance is None else tolerance
            if repeat and not verified.is_refused:
                comparison, checks = _repeat(verified, rerun_in, data_dir, limit)
                _print(checks)
            level = level_of(verified, comparison, limit)
            shown = "refused" if verified.is_refused else level
            click.secho(f"  {shown}", bold=True, fg="red" if verified.is_refused else None)
            levels.append(shown)
            if write and not verified.is_refused:
                try:
                    folder = submitted.folder or add_run(verified, results)
                    mark_run(folder, verified, comparison, limit)
                    click.echo(f"  wrote the mark beside {folder / 'run.json'}")
                except UserError as error:  # the runs after it are none the worse for it
                    n_unwritten += 1
                    click.echo(f"  not written: {printable(str(error), _LONGEST)}")
    counts = {level: levels.count(level) for level in sorted(set(levels))}
    click.echo(", ".join(f"{n} {level}" for level, n in counts.items()))
    wanted = {"re-run"} if repeat else {"re-scored", "re-run"}
    return 0 if set(levels) <= wanted and not n_unwritten else 1


def _repeat(
    verified: Verified, folder: Path | None, data_dir: Path | None, tolerance: float
) -> tuple[Comparison | None, list[Check]]:
    """Repeat a run in a folder of its own, or in one that is removed afterwards."""
    import tempfile

    from nasbench.cli import terminal
    from nasbench.trust.checks import Check
    from nasbench.trust.rerunning import compare, rerun

    assert verified.record is not None, "a record that cannot be read is refused"
    with tempfile.TemporaryDirectory() as unused:
        try:
            with terminal.observer(quiet=True) as view:
                repeated = rerun(
                    verified.record, len(verified.evaluations), folder or Path(unused), data_dir, None, view
                )
            comparison = compare(verified.evaluations, repeated)
        except UserError as error:
            return None, [Check("repetition", "missing", "possible by number of evaluations", str(error))]
    return comparison, comparison.checks(tolerance)


def _print(checks: Sequence[Check]) -> None:
    for each in checks:
        word = click.style(_WORDS[each.outcome], fg=_STYLES[each.outcome])
        seen, expected = printable(each.seen, _LONGEST), printable(each.expected, _LONGEST)
        click.echo(f"  {word}  {each.name}: {seen}  [expected: {expected}]")


COMMANDS = (submit, verify)
