"""The command line: ``nasbench COMMAND``.

Commands are thin: they turn text into arguments, call the engine or the analysis, and print. A command imports the
modules it needs when it runs, so that ``nasbench --help`` answers at once. Only :func:`main` turns exceptions into
messages and exit codes.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack

import click
from click.core import ParameterSource

from nasbench import __version__
from nasbench.cli.commands import comparing, exporting, measuring, sweeping, tables, trusting
from nasbench.cli.commands.budgets import budget_option, seconds_of
from nasbench.errors import NasbenchError, UserError, printable

if TYPE_CHECKING:
    from nasbench.cli.listing import Row
    from nasbench.networks.supernet import Precision

ISSUE_HINT = "this is a bug in nasbench, please report it with the lines above"
INTERRUPTED = 130
"""Exit code after an interrupt: 128 + SIGINT, as in shells."""
RESUMABLE = "interrupted; the record is kept, and the same command resumes the run"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: code 0 after success, 2 for a user's mistake, 1 for a failure, 130 after an interrupt."""
    # By default OpenMP threads spin while they wait for each other. On a machine with other work, spinning threads take
    # the cores from the threads they wait for: training steps took five times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(_run(arguments))


def interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the arguments of a signal handler
    """Treat SIGTERM, with which schedulers announce the end, as Ctrl-C: there is time for a checkpoint."""
    raise KeyboardInterrupt


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
        return _fail("interrupted", INTERRUPTED)
    except (BrokenPipeError, SystemExit) as error:
        # The reader closed the pipe (`nasbench tasks | head`). Click and Rich make that an exit with code 1.
        if isinstance(error, SystemExit) and not (isinstance(error.__context__, BrokenPipeError) or _has_no_reader()):
            raise
        # Python must not flush stdout again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - every other exception is a bug, and the user is told so
        if isinstance(error, OSError) and error.filename is not None:  # such as a folder that the user may not open
            return _fail(f"{error.filename}: {error.strerror}", UserError.exit_code)
        traceback.print_exc()
        return _fail(ISSUE_HINT, 1)


def _has_no_reader() -> bool:
    """Whether stdout is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _fail(message: str, code: int) -> int:
    """Print the message as one line on stderr and return the exit code."""
    click.echo(f"error: {printable(message)}", err=True)
    return code


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, invoke_without_command=True
)
@click.version_option(__version__, prog_name="nasbench", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Prune pre-trained language models by multi-objective neural architecture search, and compare methods.

    \b
    A first run, which downloads nothing:
        nasbench run --method ws-nas --task demo
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for module in (comparing, exporting, measuring, sweeping, tables, trusting):
    for command in module.COMMANDS:
        cli.add_command(command)

PATH = click.Path(path_type=Path)
plugin_option = click.option(
    "--plugin", "plugins", type=PATH, multiple=True, help="A Python file with more methods or searchers (repeatable)."
)
results_option = click.option(
    "--results", type=PATH, default=Path("runs"), show_default=True, help="The folder in which runs are recorded."
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="auto (a GPU if there is one), cpu, cuda or cuda:NUMBER."
)
data_option = click.option(
    "--data-dir",
    type=PATH,
    envvar="NASBENCH_DATA_DIR",
    help="The folder of local data; default: $NASBENCH_DATA_DIR, or the hub.",
)
quiet_option = click.option("--quiet", is_flag=True, help="Print plain lines instead of a live view.")


class RunArguments(TypedDict):
    """Arguments of ``nasbench run`` that a record keeps."""

    method: str
    task: str
    model: str | None
    space: str | None
    searcher: str | None
    settings: tuple[str, ...]
    seed: int
    device: str
    results: Path
    budget_s: float | None
    max_evaluations: int | None
    objectives: str | None


class ExperimentArguments(TypedDict):
    """Arguments of ``nasbench experiment`` that all its runs share."""

    device: str
    data_dir: Path | None
    results: Path


@cli.command()
@click.option("--method", required=True, help="A name from nasbench methods.")
@click.option("--task", required=True, help="A name from nasbench tasks, or the path of your own .toml file.")
@click.option("--model", help="A name from nasbench models; default: the task's.")
@click.option(
    "--space",
    help="small, medium, layer, large, auto, small-grid or ranks; default: the task's, or the method's first.",
)
@click.option("--searcher", help="A name from nasbench searchers; default: the method's.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the method, or searcher.KEY for an option of its searcher (repeatable).",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="The seed of the data split and of all randomness."
)
@device_option
@data_option
@results_option
@budget_option
@click.option(
    "--max-evaluations",
    type=int,
    help="Stop after this many evaluations; without --budget there is then no time limit.",
)
@click.option(
    "--objectives",
    metavar="NAME,NAME[,NAME]",
    help="What is minimised: error and one or two of params, macs, weight_bytes, latency, peak_memory, and, on a GPU, "
    "energy; default: error,params.",
)
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Default: bf16 where the device computes in it.")
@click.option("--threads", type=int, metavar="N", help="Threads of the CPU; default: all cores, or one if faster.")
@click.option(
    "--isolate/--no-isolate",
    default=None,
    help="Run the method in a process without network, files and test data; default: for plugins.",
)
@tables.table_option
@plugin_option
@quiet_option
def run(
    table: str | None,
    isolate: bool | None,
    quiet: bool,
    budget: str | None,
    plugins: tuple[Path, ...],
    data_dir: Path | None,
    precision: Precision | None,
    threads: int | None,
    **arguments: Unpack[RunArguments],
) -> int:
    """Run a method on a task, or resume the run.

    The same command resumes an interrupted run with the budget it had left. It does not repeat a complete run.
    """
    arguments["budget_s"] = seconds_of(budget, arguments["task"], arguments["model"], arguments["device"])
    if table is not None:
        typed = [] if isolate is None else ["--isolate" if isolate else "--no-isolate"]
        if click.get_current_context().get_parameter_source("data_dir") is ParameterSource.COMMANDLINE:
            typed.append("--data-dir")
        if typed:
            raise click.UsageError(f"{typed[0]} has no use with --table: the searcher of such a run sees no data")
        reason = tables.run_on_table(table, quiet, plugins=plugins, precision=precision, threads=threads, **arguments)
        return 0 if reason is None else _fail(reason, 1)
    from nasbench.cli import terminal
    from nasbench.isolation.running import prepared
    from nasbench.plugins.registry import PluginError
    from nasbench.runs.request import without_plugins
    from nasbench.runs.runner import record_failure

    others: dict[str, Any] = {"plugins": plugins, "data_dir": data_dir, "precision": precision, "threads": threads}
    with ExitStack() as stack:
        try:
            carry_out = stack.enter_context(prepared(isolate, **arguments, **others))[1]
        except PluginError as error:
            with suppress(UserError):  # the plugin's error goes first
                if (request := without_plugins(**arguments)) is not None:
                    record_failure(request, str(error))
            raise
        try:
            with terminal.observer(quiet) as view:
                record = carry_out(view)
        except KeyboardInterrupt:
            return _fail(RESUMABLE, INTERRUPTED)
    if record.status == "failed":
        return _fail(record.reason or "the run failed", 1)
    return 0


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@cli.command()
@json_option
def tasks(as_json: bool) -> None:
    """List the tasks."""
    from nasbench.cli import listing

    columns = {"name": "task", "metric": "metric", "default_models": "default model", "budgets": "budget in s"}
    _show(listing.tasks(), as_json, {**columns, "summary": "summary"})


@cli.command()
@click.option("--architectures", is_flag=True, help="List the architectures that a model of your own may have.")
@json_option
def models(architectures: bool, as_json: bool) -> None:
    """List the pre-trained models."""
    from nasbench.cli import listing

    if architectures:
        columns = {"architecture": "model_type in config.json", "family": "architecture"}
        return _show(listing.architectures(), as_json, columns)
    return _show(listing.models(), as_json, {"name": "model", "track": "track", "summary": "summary"})


@cli.command()
@plugin_option
@json_option
def methods(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the methods and their options."""
    from nasbench.cli import listing

    columns = {"name": "method", "default_searcher": "searcher", "spaces": "spaces", "options": "options"}
    _show(listing.methods(plugins), as_json, {**columns, "summary": "summary"})


@cli.command()
@plugin_option
@json_option
def searchers(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the searchers and their options."""
    from nasbench.cli import listing

    _show(listing.searchers(plugins), as_json, {"name": "searcher", "options": "options", "summary": "summary"})


@cli.command()
@click.argument("name")
@click.option("--task", "tasks", multiple=True, help="Only this task (repeatable); default: the paper's eight tasks.")
@click.option("--model", "models", multiple=True, help="Only this model (repeatable); default: the paper's two models.")
@click.option("--seed", "seeds", type=int, multiple=True, help="Only this seed (repeatable); default: 0 to 9.")
@click.option("--dry-run", is_flag=True, help="Print the command of each run and mark the complete runs.")
@device_option
@data_option
@results_option
@quiet_option
def experiment(
    name: str,
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    seeds: tuple[int, ...],
    dry_run: bool,
    quiet: bool,
    **arguments: Unpack[ExperimentArguments],
) -> int:
    """Make all runs that a figure needs.

    NAME is fig5 (spaces), fig5-shared (spaces on one super-network), fig6 (searchers), fig7 (trainings), fig8
    (methods; fig9 and fig10 show the same runs), fig11 or fig12 (searchers of one method), or
    weight-sharing (do shared weights predict). Complete runs are skipped.
    """
    from nasbench.cli import experiment as module

    runs = module.runs(name, tasks, models, seeds)
    if dry_run:
        for command in module.commands(runs, **arguments):
            click.echo(command)
        return 0
    try:
        n_failed = module.carry_out(runs, quiet, **arguments)
    except KeyboardInterrupt:
        return _fail(RESUMABLE, INTERRUPTED)
    return _fail(f"{n_failed} of {len(runs)} runs failed", 1) if n_failed else 0


@cli.command()
@click.argument("target")
@plugin_option
def check(target: str, plugins: tuple[Path, ...]) -> int:
    """Check a method or searcher against its contract.

    TARGET is a name, or the path of a Python file that defines methods or searchers.
    """
    from nasbench.cli.check import check as carry_out
    from nasbench.cli.check import find_targets

    n_failed = 0
    for cls in find_targets(target, plugins):
        click.secho(cls.name, bold=True)
        for passed, name, seen in carry_out(cls):
            n_failed += not passed
            click.echo(
                f"  {click.style('ok  ', fg='green') if passed else click.style('FAIL', fg='red')}  {name}: {seen}"
            )
    return _fail(f"{n_failed} checks failed", 1) if n_failed else 0


@cli.command("new-method")
@click.argument("name")
@click.option("--out", type=PATH, default=Path(), help="The folder for the two files; default: the current folder.")
def new_method(name: str, out: Path) -> None:
    """Write a working method and its test.

    With --out methods or --out baselines in a checkout, the method is one of the suite's, and the test is below tests/.
    """
    from nasbench.cli.scaffold import write_method

    method_file, test_file = write_method(name, out)
    is_plugin = method_file.parent == test_file.parent
    click.echo(f"wrote {method_file} and {test_file}; now:")
    click.echo(f"  nasbench check {method_file if is_plugin else name}")
    click.echo(f"  nasbench run {f'--plugin {method_file} ' if is_plugin else ''}--method {name} --task demo")
    click.echo(f"  pytest {test_file}")


def _show(rows: list[Row], as_json: bool, columns: dict[str, str]) -> None:
    from nasbench.cli import listing

    if as_json:
        click.echo(listing.to_json(rows))
    else:
        listing.print_table(rows, columns)
