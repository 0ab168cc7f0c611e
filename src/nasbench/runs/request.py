"""From names and texts, as they are typed, to a request that the runner can carry out.

Everything that can be wrong with a command is found here, before a weight is loaded or a file is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.declarations.model import DeviceClass, Model
from nasbench.declarations.task import Task
from nasbench.devices import fallback_notice, resolve_device
from nasbench.errors import UserError
from nasbench.networks.space import EVERY_SPACE, PAPER_SPACES, Auto, Ranks, works_in
from nasbench.networks.weights import package_folder
from nasbench.objectives.declared import USUAL, choose_objectives, is_modelled, is_usual
from nasbench.plugins import options, registry
from nasbench.plugins.declaration import declaration_of, digest
from nasbench.plugins.method import Method
from nasbench.plugins.settings import parse_settings
from nasbench.records.record import Identity
from nasbench.search import outside
from nasbench.search.searcher import MultiFidelitySearcher, Searcher

if TYPE_CHECKING:
    from nasbench.networks.supernet import Precision
TABLE = "table"
"""The device class in records of runs on a table, so that they are never compared with runs on a network."""
_FALLBACKS = {"minilm-l6": "demo-bert"}
"""For the embedded task, which needs nothing from outside: the model made on the spot."""


@dataclass(frozen=True)
class RunRequest:
    """What is to be run, and where. All names are resolved.

    Attributes:
        budget_s: None for the official one.
        max_evaluations: end after so many, however long they take; without a budget of its own the run is then
            independent of speed.
        precision: None for bf16 where the device computes in it, else fp32.
        threads: threads of a CPU; None for torch's default, or for one if that is faster and the run has a budget.
        unofficial: reasons known beforehand why the run does not count.
        shares_super_networks: take a super-network that another run has trained alike, and leave one for others.
        declaration: task and model, if one of them is a user's own, see :mod:`nasbench.plugins.declaration`.
        isolation: what shuts the method in, for the record; None for a method that runs in the harness's process.
        objectives: names of what is minimised, the error first.
        table: digest of the table that answers in place of a network, None for a run on a network.
        notice: what the user should know about the choices, in one line; None for nothing.
    """

    task: Task
    model: Model
    space: str
    method: type[Method]
    method_options: Any
    searcher: type[Searcher] | None
    searcher_options: Any
    seed: int
    device: str
    results_dir: Path
    data_dir: Path | None = None
    budget_s: float | None = None
    max_evaluations: int | None = None
    precision: Precision | None = None
    threads: int | None = None
    unofficial: tuple[str, ...] = ()
    shares_super_networks: bool = False
    table: str | None = None
    declaration: Mapping[str, Any] | None = None
    isolation: Mapping[str, Any] | None = None
    objectives: tuple[str, ...] = USUAL
    notice: str | None = None

    @property
    def device_class(self) -> DeviceClass:
        return _device_class(self.device)

    @property
    def official_budget_s(self) -> float | None:
        """What the task grants on this device; None if nothing is declared."""
        return self.task.budget_s(self.model, self.device_class)

    @property
    def effective_budget_s(self) -> float | None:
        """Seconds the run gets; None if only the number of evaluations ends it."""
        if self.budget_s is not None or self.max_evaluations is not None:
            return self.budget_s
        return self.official_budget_s

    @property
    def identity(self) -> Identity:
        """Of the record this run makes."""
        chosen = {"method": options.to_json(self.method_options)}
        if self.searcher is not None:
            chosen["searcher"] = options.to_json(self.searcher_options)
        return Identity(
            task=self.task.name,
            model=self.model.name,
            space=self.space,
            method=self.method.name,
            searcher=self.searcher.name if self.searcher else None,
            options=chosen,
            seed=self.seed,
            device_class=self.device_class if self.table is None else TABLE,
            budget_s=self.effective_budget_s,
            max_evaluations=self.max_evaluations,
            declaration=None if self.declaration is None else digest(self.declaration),
            objectives=None if is_usual(self.objectives) else list(self.objectives),
            table=self.table,
        )

    @property
    def folder(self) -> Path:
        """Where the record lies."""
        changed = self.method_options != self.method.Options()
        if self.searcher is not None:
            changed = changed or self.searcher_options != self.searcher.Options()
        is_official = self.effective_budget_s == self.official_budget_s
        return self.results_dir / self.identity.folder(changed, is_official)


def make_request(
    method: str | type[Method],
    task: str | Task,
    *,
    model: str | Model | None = None,
    space: str | None = None,
    searcher: str | type[Searcher] | None = None,
    settings: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    data_dir: Path | None = None,
    results: Path = Path("runs"),
    budget_s: float | None = None,
    max_evaluations: int | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    objectives: str | Sequence[str] | None = None,
    plugins: tuple[Path, ...] = (),
    check_device: bool = True,
) -> RunRequest:
    """The request behind ``nasbench run`` and ``nasbench.run``.

    Args:
        method: name, or the class itself.
        task: name, path of a declaration ending in ``.toml``, or the declaration itself.
        model: name, or the declaration itself.
        space: name.
        searcher: name, or the class itself.
        settings: texts ``key=value`` for the options of the method, ``searcher.key=value`` for the searcher's.
        device: ``cpu``, ``cuda``, ``cuda:1`` for the second GPU, or ``auto``: a GPU if there is one.
        data_dir: where local copies of the data are, None for the hub.
        results: the folder below which the record will lie.
        budget_s: charged seconds, None for the task's own budget.
        max_evaluations: stop after so many, None for no limit.
        precision: ``fp32`` or ``bf16``; None for the default of the device.
        threads: as in :class:`RunRequest`.
        objectives: names, or one text with commas between them; None for error and parameters.
        plugins: files that define further methods and searchers.
        check_device: False for a run on another machine, whose device is then ``cpu`` or ``cuda``.

    Raises:
        UserError: for everything that does not exist or does not fit together.
        PluginError: for a plugin that is asked for and cannot be used.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed is from 0 to 2^32 - 1, not {seed}")
    if budget_s is not None and not 0 < budget_s < float("inf"):
        raise UserError(f"--budget is a positive number of seconds, not {budget_s:g}")
    if max_evaluations is not None and max_evaluations < 1:
        raise UserError(f"--max-evaluations is 1 or more, not {max_evaluations}")
    if threads is not None and threads < 1:
        raise UserError(f"--threads is 1 or more, not {threads}")
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"no data folder {data_dir} (--data-dir or NASBENCH_DATA_DIR)")

    method_class = _method(method, plugins)
    searcher_class = choose_searcher(method_class, searcher, plugins)
    the_task, own_model = _task(task)
    space = choose_space(method_class, the_task, space)
    searched = PAPER_SPACES if space == Auto.name else (space,)
    if searcher_class is not None and not all(works_in(searcher_class.spaces, part) for part in searched):
        spaces = ", ".join(searcher_class.spaces)
        raise UserError(f"searcher {searcher_class.name!r} works in {spaces}; it has no use for space {space!r}")
    chosen_objectives = choose_objectives(objectives)
    if searcher_class is not None and len(chosen_objectives) > searcher_class.most_objectives:
        raise UserError(
            f"searcher {searcher_class.name!r} handles {searcher_class.most_objectives} objectives, not "
            f"{','.join(chosen_objectives)}; name fewer, or another --searcher"
        )
    if space == Ranks.name and (modelled := [*filter(is_modelled, chosen_objectives)]):
        raise UserError(f"--objectives {modelled[0]} is modelled from heads and units; it has no use for space 'ranks'")
    method_options, searcher_options = parse_settings(method_class, searcher_class, settings)
    asked_for, device = device, resolve_device(device) if check_device else device
    the_model = _model(the_task, own_model, model, _device_class(device))
    is_own = own_model is not None or _is_own(task, registry.tasks()) or _is_own(model, registry.models())

    return RunRequest(
        task=the_task,
        model=the_model,
        space=space,
        method=method_class,
        method_options=method_options,
        searcher=searcher_class,
        searcher_options=searcher_options,
        seed=seed,
        device=device,
        results_dir=results,
        data_dir=data_dir,
        budget_s=budget_s,
        max_evaluations=max_evaluations,
        precision=precision,
        threads=threads,
        unofficial=_unofficial(method_class, searcher_class, the_task, the_model),
        declaration=declaration_of(the_task, the_model) if is_own else None,
        objectives=chosen_objectives,
        notice=fallback_notice(asked_for, device) if check_device else None,
    )


def without_plugins(method: str, task: str, *, searcher: str | None, **arguments: Any) -> RunRequest | None:
    """The request of a command whose plugins cannot be used, if its method and searcher are parts of the suite.

    A plugin that cannot be imported does not tell its spaces and options, so there is no telling which run was asked
    for, and the result is None. Nothing from outside the suite is imported. Arguments as for :func:`make_request`.

    Raises:
        UserError: as :func:`make_request`.
    """
    named: list[tuple[registry.Catalogue[Any], str]] = [(registry.methods(), method)]
    if searcher is not None and not outside.is_outside(searcher):
        named.append((registry.searchers(), searcher))
    if not all(catalogue.is_of_suite(name) for catalogue, name in named):
        return None
    return make_request(method, task, searcher=searcher, **arguments)


def choose_searcher(
    method: type[Method], searcher: str | type[Searcher] | None = None, plugins: tuple[Path, ...] = ()
) -> type[Searcher] | None:
    """The searcher asked for or the method's default; None for a method that uses none.

    Raises:
        UserError: for a searcher that does not exist or that the method cannot drive.
    """
    if method.default_searcher is None:
        if searcher is not None:
            name = searcher if isinstance(searcher, str) else searcher.name
            raise UserError(f"method {method.name!r} uses no searcher; leave out --searcher {name}")
        return None
    if isinstance(searcher, str) and outside.is_outside(searcher):
        chosen = outside.find(searcher)
    elif searcher is None or isinstance(searcher, str):
        chosen = registry.find_searcher(searcher or method.default_searcher, plugins)
    else:
        chosen = registry.checked_class(searcher, searcher.__module__)
    if issubclass(chosen, MultiFidelitySearcher) and not method.multi_fidelity:
        raise UserError(
            f"searcher {chosen.name!r} stops the training of single sub-networks early, and {method.name!r} does not "
            f"train them one by one; use --method s-nas, or another searcher (default: {method.default_searcher})"
        )
    if chosen.expects_depths and not method.evaluates_depths:
        raise UserError(
            f"searcher {chosen.name!r} expects the values of all depths of a pass, and {method.name!r} evaluates "
            f"one depth at a time; use --method ws-nas-depth, or another searcher (default: {method.default_searcher})"
        )
    return chosen


def default_model(task: Task, device_class: DeviceClass) -> str:
    """The name of the model a task is run with when none is asked for.

    An embedded task takes a model made on the spot where the package with the weights of its default is not installed.
    """
    name = task.default_models[device_class]
    if task.data.generator is None or name not in _FALLBACKS:
        return name
    return name if package_folder(registry.models()[name]) is not None else _FALLBACKS[name]


def _method(method: str | type[Method], plugins: tuple[Path, ...]) -> type[Method]:
    if isinstance(method, str):
        return registry.find_method(method, plugins)
    return registry.checked_class(method, method.__module__)


def _task(name: str | Task) -> tuple[Task, Model | None]:
    """The task, and its own model where a user's declaration brings one."""
    if isinstance(name, Task):
        return name, None
    if name.endswith(".toml"):
        from nasbench.plugins.user_task import load_user_task

        return load_user_task(Path(name))
    known = registry.tasks()
    if name not in known and (Path(name).exists() or len(Path(name).parts) > 1):
        raise UserError(f"{name} is not a task; a task of your own is a TOML file: --task NAME.toml")
    return registry.find("task", name, known), None


def _is_own(thing: object, known: Mapping[str, Any]) -> bool:
    """Whether a task or model is given as a declaration, and its name alone would find none or another one."""
    return isinstance(thing, Task | Model) and known.get(thing.name) != thing


def _model(task: Task, own_model: Model | None, name: str | Model | None, device_class: DeviceClass) -> Model:
    if isinstance(name, Model):
        return name
    if own_model is not None:
        if name is not None and name != own_model.name:
            raise UserError(f"task {task.name!r} declares its own model; leave out --model {name}")
        return own_model
    return registry.find("model", name or default_model(task, device_class), registry.models())


def choose_space(method: type[Method], task: Task, name: str | None = None) -> str:
    """The space asked for, or the task's default where the method works in it, or the method's first.

    Raises:
        UserError: for a space that does not exist or that the method does not work in.
    """
    if name is None:
        return task.default_space if task.default_space in method.spaces else method.spaces[0]
    registry.find("search space", name, EVERY_SPACE)
    if not works_in(method.spaces, name):
        raise UserError(f"method {method.name!r} works in {', '.join(method.spaces)}; it has no use for --space {name}")
    return name


def _device_class(device: str) -> DeviceClass:
    return "gpu" if device.startswith("cuda") else "cpu"


def _unofficial(method: type[Method], searcher: type[Searcher] | None, task: Task, model: Model) -> tuple[str, ...]:
    """Why the run cannot be ranked: what is ranked must be reproducible from this repository alone."""
    is_outside = searcher is not None and outside.is_outside(searcher.name)
    named = (("method", method), ("searcher", None if is_outside else searcher), ("task", task), ("model", model))
    strange = [
        f"{kind} {part.name!r} is not part of the suite" for kind, part in named if part and not registry.ships(part)
    ]
    version = outside.other_version(searcher.name) if searcher is not None and is_outside else None
    return (*strange, version) if version else tuple(strange)
