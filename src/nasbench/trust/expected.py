"""What the record of a run must say, computed again from the declarations and the data that its names stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasbench.data.splits import TaskData
from nasbench.errors import UserError
from nasbench.export.command import settings_of
from nasbench.networks.subnetwork import Dimensions
from nasbench.plugins import options, registry
from nasbench.plugins.declaration import differences
from nasbench.records.record import Identity, RunRecord
from nasbench.records.schema import present_options
from nasbench.runs.loading import Loaded, load, new_record
from nasbench.runs.request import TABLE, RunRequest, choose_searcher, make_request


class NotAvailable(UserError):
    """Data or weights that a check needs are not on this machine."""


@dataclass(frozen=True)
class Expected:
    """What a run of this identity starts from.

    Attributes:
        record: the record as a run that starts now would write it.
        data: the splits with their labels.
        dims: sizes of the full network.
    """

    record: RunRecord
    request: RunRequest
    data: TaskData
    dims: Dimensions


class Loader:
    """Loads data and weights; runs on the same task, model and seed share them.

    Args:
        data_dir: the folder of local data, None for the hub.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self._data_dir = data_dir
        self._loaded: dict[tuple[str, str, int, bool], Loaded] = {}

    def expected(self, record: RunRecord) -> Expected:
        """What the record must say.

        Raises:
            NotAvailable: if data or weights are not available.
            UserError: if a name or an option is unknown.
        """
        request = request_of(record, self._data_dir)
        key = (request.task.name, request.model.name, request.seed, request.method.adds_output_biases)
        if key not in self._loaded:
            self._loaded.clear()  # only the last stays: the data of all tasks may not fit into memory
            try:
                self._loaded[key] = load(request)
            except UserError as error:
                raise NotAvailable(str(error)) from error
        loaded = self._loaded[key]
        is_gpu = record.identity.device_class == "gpu"
        # Labels, hashes and sizes do not depend on the device, so a run on a GPU is verified without one.
        shown = dataclasses.replace(request, device="cuda" if is_gpu else "cpu")
        return Expected(new_record(shown, loaded), request, loaded.data, loaded.dims)


def request_of(
    record: RunRecord, data_dir: Path | None = None, results: Path = Path("runs"), own_task: Path | None = None
) -> RunRequest:
    """The request that makes a run again, on a CPU.

    Args:
        own_task: the TOML file of the task, for a run on a user's own.

    Raises:
        UserError: if a name or an option is unknown, the run cannot be verified, or the file declares another task.
    """
    identity = record.identity
    if record.simulated is not None or identity.device_class == TABLE:
        raise UserError("a run on a table used recorded errors; make a run on a network")
    if own_task is None and (identity.declaration is not None or record.declaration is not None):
        raise UserError(
            f"task {identity.task!r} or model {identity.model!r} is a user's own; only those of the suite are verified"
        )
    if identity.device_class not in ("cpu", "gpu"):
        raise UserError(f"device class {identity.device_class!r} is none of cpu, gpu")
    if identity.task.endswith(".toml"):
        raise UserError(f"task {identity.task!r} is a file; only tasks of the suite are verified")
    method = registry.find("method", identity.method, registry.methods())
    request = make_request(
        identity.method,
        identity.task if own_task is None else str(own_task),
        model=identity.model,
        space=identity.space,
        searcher=identity.searcher,
        settings=[*settings_of(_changed(identity, method))],
        seed=identity.seed,
        device="cpu",
        data_dir=data_dir,
        results=results,
        budget_s=identity.budget_s,
        max_evaluations=identity.max_evaluations,
        objectives=identity.objectives,
    )
    if request.identity.declaration != identity.declaration:
        changes = differences(record.declaration or {}, request.declaration or {})
        raise UserError(f"{own_task} is not the task of the run: {'; '.join(changes) or request.task.name}")
    return request


def _changed(identity: Identity, method: Any) -> dict[str, dict[str, Any]]:
    """The options that differ from the defaults, as far as the record has them."""
    owners: dict[str, Any] = {"method": method}
    if identity.searcher is not None:
        owners["searcher"] = choose_searcher(method, identity.searcher)
    changed = {}
    for owner, cls in owners.items():
        own = present_options(identity.method, identity.options).get(owner, {})
        if not isinstance(own, dict):
            raise UserError(f"the options of the {owner} are no object")
        defaults: Mapping[str, Any] = options.to_json(cls.Options())
        changed[owner] = {name: value for name, value in own.items() if name not in defaults or value != defaults[name]}
    return changed
