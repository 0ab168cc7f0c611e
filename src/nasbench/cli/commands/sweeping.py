"""The command of sweeps: many runs, on one machine or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nasbench.cli.commands.budgets import budget_option, seconds_of
from nasbench.errors import Interrupted, NasbenchError, UserError

if TYPE_CHECKING:
    from nasbench.cli.sweep import BackendName

PATH = click.Path(path_type=Path)


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _list(name: str, text: str) -> Callable[[Decorated], Decorated]:
    """An option for several names, separated by commas or repeated."""
    return click.option(f"--{name}", f"{name}s", multiple=True, metavar="NAME,...", help=text)


@click.command()
@_list("method", "Methods, separated by commas.")
@_list("task", "Tasks, or paths of your own .toml files.")
@click.option("--seed", "seeds", metavar="0-9", help="Seeds, such as 0-9 or 0,2,5-7; default: 0-9.")
@_list("model", "Models; default: the task's.")
@_list("space", "Search spaces; default: the task's, or the method's first.")
@_list("searcher", "Searchers, for the methods that use one; default: the method's.")
@click.option(
    "--experiment",
    metavar="NAME",
    help="The runs of a figure, as for nasbench experiment. Methods, spaces and searchers above keep some of them; "
    "tasks, models and seeds above replace the paper's.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As for nasbench run (repeatable).")
@budget_option
@click.option("--max-evaluations", type=int, help="As for nasbench run.")
@click.option("--objectives", metavar="NAME,NAME[,NAME]", help="As for nasbench run.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="As for nasbench run.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, or cuda:NUMBER for one GPU.")
@click.option("--data-dir", type=PATH, envvar="NASBENCH_DATA_DIR", help="The folder of local data.")
@click.option("--results", default="runs", show_default=True, help="A folder, or a URL such as s3://bucket/runs.")
@click.option(
    "--plugin", "plugins", type=PATH, multiple=True, help="A Python file with more methods or searchers (repeatable)."
)
@click.option("--isolate/--no-isolate", default=None, help="As for nasbench run; default: isolate methods of plugins.")
@click.option("--backend", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--ray-address", help="Of a Ray cluster: auto, or HOST:6379; default: start Ray on this machine.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Runs at once; default: one for each GPU, or group of --gpus-per-run; on a CPU one, or as many as "
    "--cpus-per-run leaves room for.",
)
@click.option(
    "--gpus-per-run", type=click.IntRange(1), default=1, show_default=True, help="GPUs for each run on a GPU."
)
@click.option("--cpus-per-run", type=click.IntRange(1), help="Cores, and threads, for each run.")
@click.option("--retry-failed", is_flag=True, help="Make failed runs again.")
@click.option("--dry-run", is_flag=True, help="Print each command, what is made already, and the total time.")
@click.option("--quiet", is_flag=True, help="Print plain lines instead of a live table.")
def sweep(
    methods: tuple[str, ...],
    tasks: tuple[str, ...],
    seeds: str | None,
    models: tuple[str, ...],
    spaces: tuple[str, ...],
    searchers: tuple[str, ...],
    experiment: str | None,
    settings: tuple[str, ...],
    budget: str | None,
    max_evaluations: int | None,
    objectives: str | None,
    precision: str | None,
    device: str,
    data_dir: Path | None,
    results: str,
    plugins: tuple[Path, ...],
    isolate: bool | None,
    backend: BackendName,
    ray_address: str | None,
    jobs: int | None,
    gpus_per_run: int,
    cpus_per_run: int | None,
    retry_failed: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Make many runs: every method on every task with every seed.

    Each run has a process of its own, pinned to its GPU or its cores. Complete runs are skipped, and runs that were
    interrupted go on. So the same command continues a sweep. docs/sweeps.md says how to use a cluster.

    \b
        nasbench sweep --method ws-nas,rfp --task rte,mrpc --seed 0-9
    """
    from nasbench.cli import sweep as module
    from nasbench.devices import fallback_notice
    from nasbench.sweeps.jobs import grid, names, numbers

    place = module.Place(backend, results, device, jobs, gpus_per_run, cpus_per_run, ray_address)
    the_seeds = None if seeds is None else numbers(seeds)
    chosen = {key: names(texts) for key, texts in (("methods", methods), ("tasks", tasks))}
    others = {key: names(texts) for key, texts in (("models", models), ("spaces", spaces), ("searchers", searchers))}
    if experiment is None:
        for key, found in chosen.items():
            if not found:
                raise UserError(f"give --{key.removesuffix('s')} NAME,... or --experiment NAME")
        place.connect()
        common: dict[str, Any] = {
            "settings": settings,
            "max_evaluations": max_evaluations,
            "data_dir": data_dir,
            "objectives": objectives,
            "precision": precision,
            "plugins": plugins,
        }
        kind = place.kind_of_device()
        some: dict[str, Any] = {key: found or (None,) for key, found in others.items()}
        the_jobs = grid(
            seeds=the_seeds or range(10),
            device=kind,
            isolate=isolate,
            budget_of=lambda task, model: seconds_of(budget, task, model, kind),
            **{**chosen, **some, **common},
        )
    else:
        given = (("--set", settings), ("--budget", budget), ("--max-evaluations", max_evaluations),
                 ("--objectives", objectives), ("--precision", precision), ("--plugin", plugins),
                 ("--no-isolate" if isolate is False else "--isolate", isolate))  # fmt: skip
        for flag, value in given:
            if value not in (None, ()):
                raise UserError(f"an experiment fixes its runs; leave out {flag}")
        place.connect()
        kind = place.kind_of_device()
        the_jobs = module.experiment_jobs(experiment, kind, seeds=the_seeds, data_dir=data_dir, **chosen, **others)

    if backend == "local" and (notice := fallback_notice(device, kind)) is not None:
        click.echo(notice, err=True)
    the_sweep, made = module.plan(the_jobs, results, retry_failed)
    the_backend = place.make_backend(kind)
    if dry_run:
        for line in module.plan_lines(the_sweep, made, results, the_backend.n_at_once):
            click.echo(line)
        return
    try:
        module.carry_out(the_sweep, the_backend, quiet)
    except KeyboardInterrupt:
        counts = the_sweep.counts().get("complete", 0)
        raise Interrupted(
            f"interrupted; {counts} of {len(the_jobs)} runs are complete, all records are kept, and the same command "
            "goes on"
        ) from None
    if n := module.n_not_complete(the_sweep):
        hint = "" if retry_failed else "; --retry-failed makes failed runs again"
        raise NasbenchError(f"{n} of {len(the_jobs)} runs failed{hint}")


COMMANDS: tuple[click.Command, ...] = (sweep,)
