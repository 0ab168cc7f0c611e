"""The Python interface: the functions behind ``import nasbench``, for notebooks and scripts.

May import: the whole engine, and the analysis. Heavy libraries are imported when a function needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nasbench.errors import UserError
from nasbench.plugins import registry

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import nn

    from nasbench.analysis.reading.results import Results
    from nasbench.declarations.model import Model
    from nasbench.declarations.task import Task
    from nasbench.networks.supernet import Precision
    from nasbench.plugins.method import Method
    from nasbench.records.record import Evaluation, RunRecord
    from nasbench.search.searcher import Searcher


class Run:
    """One run on disk: its record, its evaluations, its Pareto front.

    Args:
        folder: the folder with ``run.json`` and ``evaluations.jsonl``.

    Attributes:
        folder: the same folder.
        record: the contents of ``run.json``.

    Raises:
        UserError: if the folder holds no record that can be read.
    """

    def __init__(self, folder: Path | str) -> None:
        from nasbench.records.record import RunFolder

        self.folder = Path(folder)
        self._files = RunFolder(self.folder)
        self.record: RunRecord = self._files.read_run()
        self._evaluations: list[Evaluation] = self._files.read_evaluations(self.record)

    @property
    def status(self) -> str:
        """``complete``, ``failed`` (``record.reason`` says why) or ``running`` (also after a kill)."""
        return self.record.status

    @property
    def evaluations(self) -> pd.DataFrame:
        """One row per evaluated sub-network, in the order of evaluation.

        Columns: ``index, error, params, n_params, test_error, elapsed_s, status, config, head_counts, unit_counts``;
        ``cost.<name>`` for costs beside the parameters that the run minimises; ``metric.<name>`` and
        ``test_metric.<name>``; and ``on_front`` (bool): whether the sub-network is on the
        validation Pareto front. ``error`` is NaN for a failed evaluation. ``test_error`` is known only for sub-networks
        that were on the front when they were evaluated.
        """
        import pandas as pd

        from nasbench.records.front import front_of

        front = {evaluation.index for evaluation in front_of(self._evaluations)}
        rows = []
        for evaluation in self._evaluations:
            row: dict[str, Any] = {name: getattr(evaluation, name) for name in _COLUMNS}
            row |= {f"cost.{name}": value for name, value in (evaluation.costs or {}).items() if name != "params"}
            row |= {f"metric.{name}": value for name, value in (evaluation.metrics or {}).items()}
            row |= {f"test_metric.{name}": value for name, value in (evaluation.test_metrics or {}).items()}
            rows.append(row | {"on_front": evaluation.index in front})
        table = pd.DataFrame(rows, columns=None if rows else [*_COLUMNS, "on_front"])
        return table.astype({"error": "float64", "test_error": "float64"})

    @property
    def front(self) -> pd.DataFrame:
        """The rows of :attr:`evaluations` on the validation Pareto front, smallest network first."""
        evaluations = self.evaluations
        return evaluations[evaluations["on_front"].astype(bool)].sort_values("params", ignore_index=True)

    def plot(self) -> Figure:
        """The picture of the run: error against its first cost, every evaluation, and the Pareto front."""
        from nasbench.runs.picture import draw_front

        return draw_front(self.record, self._evaluations)

    def export(self, out: Path | str, max_params: float = 1.0) -> nn.Module:
        """Save the network with the lowest validation error among those small enough, and load it.

        Args:
            out: the folder for the pruned model: a new or an empty one.
            max_params: largest allowed fraction of the full network's parameters.

        Raises:
            UserError: if no network of the front is that small, its weights are gone, or the folder is not empty.
        """
        from nasbench.export.folder import export
        from nasbench.export.loading import load

        export(self.folder, Path(out), max_params)
        return load(out)

    def __repr__(self) -> str:
        identity = self.record.identity
        what = (
            f"{identity.algorithm} on {identity.task} ({identity.model}), space {identity.space}, seed {identity.seed}"
        )
        return f"<Run {what}: {self.status}, {len(self._evaluations)} evaluations in {self.folder}>"


_COLUMNS = (
    "index",
    "error",
    "params",
    "n_params",
    "test_error",
    "elapsed_s",
    "status",
    "config",
    "head_counts",
    "unit_counts",
)


def run(
    method: str | type[Method],
    task: str | Path | Task,
    *,
    model: str | Model | None = None,
    space: str | None = None,
    searcher: str | type[Searcher] | None = None,
    options: Mapping[str, Any] | None = None,
    searcher_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    data_dir: Path | str | None = None,
    results: Path | str = "runs",
    budget_s: float | None = None,
    max_evaluations: int | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    objectives: str | Sequence[str] | None = None,
    isolate: bool | None = None,
    table: bool | Path | str = False,
    quiet: bool = False,
) -> Run:
    """Run a method on a task, as ``nasbench run`` does.

    The same call again resumes an interrupted run with the budget that was left, and reads a complete run from disk
    instead of repeating it.

    Args:
        method: a name (see :func:`methods`) or a class of your own.
        task: a name (see :func:`tasks`), the path of a TOML file that declares a task, or a declaration.
        model: a name (see :func:`models`) or a declaration; None for the default of the task.
        space: ``small``, ``medium``, ``layer``, ``large``, ``auto``, ``small-grid`` or ``ranks``; None for the
            default of the task.
        searcher: a name (see :func:`searchers`) or a class of your own; None for the default of the method.
        options: options of the method by name, for example ``{"strategy": "sandwich"}``.
        searcher_options: options of the searcher by name.
        seed: of the data split and of everything random.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``, the second GPU.
        data_dir: a folder with local data; None for the hub.
        results: the folder below which the record is written.
        budget_s: charged seconds; None for the official budget. Another budget makes the run unofficial.
        max_evaluations: the largest number of evaluations; None for no limit.
        precision: ``fp32`` or ``bf16``; None for bf16 where the device computes in it.
        threads: threads of a CPU; None for torch's default, or for one if that is faster and the run has a budget.
        objectives: what is minimised, such as ``error,macs`` or ``("error", "params", "macs")``; None for error and
            parameters.
        isolate: whether the method gets a process of its own, without network, files and test data; None: if it or its
            searcher is given by name and comes from another package.
        table: True to answer from a table of the suite in place of a network, or the path of a table.
        quiet: print nothing.

    Returns:
        The finished run. Its ``status`` is ``failed`` if the method raised; all earlier evaluations are kept.

    Raises:
        UserError: for a name, value or combination that does not exist; nothing is written then.
    """
    from nasbench.isolation.running import prepared
    from nasbench.plugins.settings import SEARCHER_PREFIX
    from nasbench.records.record import RunFolder
    from nasbench.runs import runner

    if isinstance(method, type):
        registry.refuse_name_of_suite(method, registry.methods())
    if isinstance(searcher, type):
        registry.refuse_name_of_suite(searcher, registry.searchers())
    settings = [f"{name}={_text(value)}" for name, value in (options or {}).items()]
    settings += [f"{SEARCHER_PREFIX}{name}={_text(value)}" for name, value in (searcher_options or {}).items()]
    arguments: dict[str, Any] = {
        "model": model,
        "space": space,
        "searcher": searcher,
        "settings": settings,
        "seed": seed,
        "device": device,
        "results": Path(results),
        "budget_s": budget_s,
        "max_evaluations": max_evaluations,
        "objectives": objectives,
    }
    the_task = str(task) if isinstance(task, Path) else task
    with ExitStack() as stack:
        if table is False:
            data = None if data_dir is None else Path(data_dir)
            others = {"data_dir": data, "precision": precision, "threads": threads}
            request, carry_out = stack.enter_context(prepared(isolate, method, the_task, **arguments, **others))
            runner.check_complete(request)
        else:
            from nasbench.tables.simulation import make_simulation, simulate

            for name, value in (("isolate", isolate), ("data_dir", data_dir)):
                if value is not None:
                    raise UserError(f"{name} has no use with a table: the searcher of such a run sees no data")
            path = None if table is True else Path(table)
            computing = {"precision": precision, "threads": threads}
            request, found = make_simulation(method, the_task, **arguments, **computing, table=path)
            carry_out = partial(simulate, request, found)
        folder = RunFolder(request.folder)
        if folder.exists() and folder.read_run().status == "complete":
            return Run(request.folder)
        if quiet:
            carry_out(None)
        else:
            from nasbench.cli import terminal

            carry_out(stack.enter_context(terminal.observer(quiet=False)))
        return Run(request.folder)


def sweep(
    methods: Sequence[str],
    tasks: Sequence[str | Path],
    *,
    seeds: Sequence[int] = tuple(range(10)),
    models: Sequence[str] = (),
    spaces: Sequence[str] = (),
    searchers: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    data_dir: Path | str | None = None,
    results: Path | str = "runs",
    budget_s: float | None = None,
    max_evaluations: int | None = None,
    precision: Precision | None = None,
    objectives: str | Sequence[str] | None = None,
    plugins: Sequence[Path | str] = (),
    isolate: bool | None = None,
    backend: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    jobs: int | None = None,
    gpus_per_run: int = 1,
    cpus_per_run: int | None = None,
    retry_failed: bool = False,
    quiet: bool = False,
) -> list[Run]:
    """Run every method on every task with every seed, each in a process of its own, as ``nasbench sweep`` does.

    The same call again skips complete runs and resumes the others. Methods are names, because other processes look them
    up: the file of a class of your own goes into ``plugins``.

    Args:
        methods: names.
        tasks: names, or paths of TOML files that declare tasks.
        seeds: of the runs.
        models: names; empty for the default of each task. ``spaces`` and ``searchers`` likewise.
        options: options of the methods by name; all methods must have them.
        device: ``auto``, ``cpu``, ``cuda``, or ``cuda:1`` for one GPU of this machine.
        data_dir: a folder with local data; None for the hub.
        results: the folder below which the records are written.
        budget_s: charged seconds of each run; None for the official budgets.
        max_evaluations: the largest number of evaluations of each run; None for no limit.
        precision: ``fp32`` or ``bf16``; None for bf16 where the device computes in it.
        objectives: what is minimised, as for :func:`run`.
        plugins: Python files with more methods or searchers.
        isolate: as for :func:`run`; None: also if plugins are given.
        backend: ``local`` for processes on this machine, ``ray`` for a Ray cluster.
        ray_address: of the cluster; None starts Ray on this machine.
        jobs: runs at once; None for one on each GPU or group of GPUs, and on a CPU for one.
        gpus_per_run: GPUs of each run on a GPU.
        cpus_per_run: cores, and threads, of each run; None for an equal share, or 1 with Ray.
        retry_failed: make failed runs again.
        quiet: print plain lines instead of a live table.

    Returns:
        The runs that have a record, the seeds slowest. Look at their ``status``.

    Raises:
        UserError: before anything runs, if one of the runs is impossible.
    """
    from nasbench.cli import sweep as module
    from nasbench.sweeps.jobs import grid

    place = module.Place(backend, str(results), device, jobs, gpus_per_run, cpus_per_run, ray_address)
    place.connect()
    kind = place.kind_of_device()
    the_jobs = grid(
        methods,
        [str(task) for task in tasks],
        seeds,
        kind,
        models=models or (None,),
        spaces=spaces or (None,),
        searchers=searchers or (None,),
        settings=[f"{name}={_text(value)}" for name, value in (options or {}).items()],
        data_dir=data_dir,
        budget_s=budget_s,
        max_evaluations=max_evaluations,
        precision=precision,
        objectives=objectives if objectives is None or isinstance(objectives, str) else ",".join(objectives),
        plugins=plugins,
        isolate=isolate,
    )
    the_sweep, _ = module.plan(the_jobs, place.results, retry_failed)
    module.carry_out(the_sweep, place.make_backend(kind), quiet)
    folders = [Path(place.results) / job.folder for job in the_jobs]
    return [Run(folder) for folder in folders if (folder / "run.json").exists()]


def results(*folders: Path | str) -> Results:
    """All runs below some folders as two tidy tables.

    Args:
        folders: folders of runs; without any, ``runs`` (your own) and ``results`` (curated records), if they exist.

    Returns:
        ``.runs`` (a DataFrame, one row per run), ``.evaluations`` (a DataFrame, one row per evaluation) and
        ``.findings`` (everything odd in the records). Their columns are listed in
        :class:`nasbench.analysis.reading.results.Results`.

    Raises:
        UserError: if a folder does not exist.
    """
    from nasbench.analysis.reading.results import existing_folders, read_results

    found = existing_folders([Path(folder) for folder in folders])
    return read_results(found[0] if len(folders) == 1 else found)


def load(folder: Path | str) -> nn.Module:
    """A pruned network that ``nasbench export`` saved: a stock transformers module in eval mode.

    Raises:
        UserError: one line, if the folder holds no exported network or a damaged one.
    """
    from nasbench.export import loading

    return loading.load(folder)


def tasks() -> registry.Catalogue[Task]:
    """All declared tasks by name."""
    return registry.tasks()


def models() -> registry.Catalogue[Model]:
    """All declared models by name."""
    return registry.models()


def methods() -> registry.Catalogue[type[Method]]:
    """All methods by name: those of the suite and those of installed plugin packages."""
    return registry.methods()


def searchers() -> registry.Catalogue[type[Searcher]]:
    """All searchers by name: those of the suite and those of installed plugin packages."""
    return registry.searchers()


def _text(value: Any) -> str:
    """An option's value as it would be typed after ``--set name=``."""
    if isinstance(value, tuple | list):
        return ",".join(_text(item) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return str(value)
    raise UserError(f"an option is a number, a text, true, false, None or a tuple of these, not {value!r}")
