"""The command line: ``nasbench COMMAND``.

Commands are thin: they turn texts into arguments, call the engine or the analysis, and print. Whatever a command needs
is imported when it runs, so that ``nasbench --help`` answers at once. :func:`main` is the only place that decides what
a failure looks like.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nasbench import __version__
from nasbench.errors import NasbenchError

ISSUE_HINT = "this is a bug in nasbench, please report it with the lines above"
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 if all went well, 2 for a user's mistake, 1 for a failure, 130 if interrupted."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = cli.main(args=arguments, prog_name="nasbench", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except NasbenchError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; what was recorded is kept, and the same command resumes", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has had enough (`nasbench tasks | head`). Python must not try to flush again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001 - whatever it is, whoever sees it learns that it is not their fault
        traceback.print_exc()
        return _fail(ISSUE_HINT, 1)


def _fail(message: str, code: int) -> int:
    """One line on stderr, whatever the message is made of."""
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, invoke_without_command=True
)
@click.version_option(__version__, prog_name="nasbench", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Prune pre-trained language models by multi-objective neural architecture search, and compare ways to do it.

    \b
    A first run, which needs nothing from outside:
        nasbench run --method ws-nas --task demo
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


PATH = click.Path(path_type=Path)
plugin_option = click.option(
    "--plugin", "plugins", type=PATH, multiple=True, help="A Python file with more methods or searchers (repeatable)."
)
results_option = click.option(
    "--results", type=PATH, default=Path("results"), show_default=True, help="The folder of runs."
)


@cli.command()
@click.option("--method", required=True, help="See nasbench methods.")
@click.option("--task", required=True, help="See nasbench tasks; or the path of your own declaration, a .toml file.")
@click.option("--model", help="See nasbench models; default: the task's.")
@click.option("--space", help="small, medium, layer or large; default: the task's.")
@click.option("--searcher", help="See nasbench searchers; default: the method's.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the method; searcher.KEY for its searcher.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the data split and everything random.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--data-dir", type=PATH, envvar="NASBENCH_DATA_DIR", help="Local data; else $NASBENCH_DATA_DIR, else the hub."
)
@results_option
@click.option("--budget", "budget_s", type=float, metavar="SECONDS", help="Other than the task's: an unofficial run.")
@click.option("--max-evaluations", type=int, help="Stop after so many, however fast the machine is.")
@plugin_option
@click.option("--quiet", is_flag=True, help="Plain lines instead of a live view, as when not on a terminal.")
def run(quiet: bool, **arguments: Any) -> int:
    """Run a method on a task; the same command resumes an interrupted run."""
    from nasbench import terminal
    from nasbench.request import make_request

    request = make_request(**arguments)
    from nasbench import runner

    with terminal.observer(quiet) as view:
        record = runner.run(request, view)
    if record.status == "failed":
        return _fail(record.reason or "the run failed", 1)
    return 0


json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@cli.command()
@json_option
def tasks(as_json: bool) -> None:
    """List the tasks."""
    from nasbench import listing

    columns = {"name": "task", "metric": "metric", "default_models": "default model", "budgets": "budget in s"}
    _show(listing.tasks(), as_json, {**columns, "summary": "what"})


@cli.command()
@json_option
def models(as_json: bool) -> None:
    """List the pre-trained models."""
    from nasbench import listing

    _show(listing.models(), as_json, {"name": "model", "track": "track", "summary": "what"})


@cli.command()
@plugin_option
@json_option
def methods(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the methods and their options."""
    from nasbench import listing

    columns = {"name": "method", "default_searcher": "searcher", "spaces": "spaces", "options": "options"}
    _show(listing.methods(plugins), as_json, {**columns, "summary": "what"})


@cli.command()
@plugin_option
@json_option
def searchers(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the searchers and their options."""
    from nasbench import listing

    _show(listing.searchers(plugins), as_json, {"name": "searcher", "options": "options", "summary": "what"})


def _show(entries: list[dict[str, Any]], as_json: bool, columns: dict[str, str]) -> None:
    from nasbench import listing

    if as_json:
        click.echo(listing.to_json(entries))
    else:
        listing.print_table(entries, columns)
