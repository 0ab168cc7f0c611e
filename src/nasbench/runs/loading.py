"""Load the network and the data of a run, begin its record, and find and measure the costs of its objectives."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

import nasbench
from nasbench import devices
from nasbench.data.batching import collate
from nasbench.data.splits import TaskData, load_task_data
from nasbench.declarations.task import Task
from nasbench.errors import CannotResume, UserError
from nasbench.networks.adapter import add_output_biases
from nasbench.networks.architectures import adapt
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.networks.supernet import Precision, SuperNetwork
from nasbench.objectives.costs import Costs, Counted, restored_costs
from nasbench.objectives.declared import is_modelled
from nasbench.objectives.measurers import MEASURERS, fitted_model, kept_model
from nasbench.objectives.modelled import Modelled
from nasbench.plugins import options
from nasbench.plugins.declaration import differences
from nasbench.records import provenance
from nasbench.records.front import front_of, spread
from nasbench.records.interface import Interface
from nasbench.records.record import RunFolder, RunRecord, write_atomically
from nasbench.runs.budget import Budget
from nasbench.runs.observer import Observer
from nasbench.runs.request import RunRequest
from nasbench.training.metrics import constant_error

_N_TYPICAL = 32
"""Examples whose states stand for all examples."""
OFFICIAL_SEEDS = range(10)
"""Seeds of official runs: the ten repetitions of the paper. A fixed list leaves no choice among many seeds."""


@dataclass(frozen=True)
class Loaded:
    """The network and the data of a run.

    Attributes:
        network: the pre-trained network on the run's device, with its new classifier.
        tokenizer: the network's tokenizer.
        data: the tokenised splits.
        dims: sizes of the full network.
        origin: the provenance of the record: code, hardware, precision, hashes of data and weights.
        notes: remarks for the record, such as how a trained output layer is used.
    """

    network: SuperNetwork
    tokenizer: Any
    data: TaskData
    dims: Dimensions
    origin: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def pad_id(self) -> int:
        """The tokenizer's padding token."""
        return int(self.tokenizer.pad_token_id)


def load(request: RunRequest) -> Loaded:
    """Load what a request names.

    Raises:
        UserError: if weights or data are missing or do not fit together, or the GPU cannot take the network.
    """
    device = torch.device(request.device)
    pretrained = load_pretrained(request.model, request.task, request.seed)
    data = load_task_data(request.task, pretrained.tokenizer, request.seed, request.data_dir)
    pretrained.check_fits(data)
    if pretrained.output_is_new and (untrained := _without_training(request)):
        raise UserError(
            f"{untrained} = 0 keeps the weights as they are, but the output layer is new, so it must be trained: "
            + (pretrained.notes[0] if pretrained.notes else f"{request.model.name!r} is no trained classifier")
        )
    with devices.loading(device):
        stock = pretrained.network.to(device).eval()
    avoid_plans(device)
    precision = request.precision or default_precision(device)
    notes = pretrained.notes
    if request.method.adds_output_biases and (n_added := add_output_biases(adapt(stock))):
        notes += (
            f"the network has {n_added:,} more parameters than {request.model.name}: biases of its blocks' outputs",
        )
    network = SuperNetwork(stock, precision)
    network.n_choices = data.train.n_choices
    if request.task.kind == "regression" and pretrained.output_is_new:
        _center_output(network, data, int(pretrained.tokenizer.pad_token_id))
    origin = {
        **provenance.describe(device),
        "precision": precision,
        "data_sha256": data.sha256,
        "weights_sha256": pretrained.weights_sha256,
        "fine_tuning": dataclasses.asdict(request.model.fine_tuning),
        "super_network": dataclasses.asdict(request.model.super_network),
    }
    return Loaded(network, pretrained.tokenizer, data, network.dims, origin, notes)


def _center_output(network: SuperNetwork, data: TaskData, pad_id: int) -> None:
    """Let an untrained output layer answer the mean label of the train split."""
    states = None
    if network.adapter.output_layer.bias is None:
        batch = collate(data.train, np.arange(min(_N_TYPICAL, len(data.train))), pad_id).to(network.device)
        with torch.no_grad():
            states = network.encode(network.embed(batch), batch.attention_mask, network.slices())
    network.adapter.center_output(float(data.train.labels.mean()), states)
    network.refresh()


def _without_training(request: RunRequest) -> str | None:
    """The option by which networks are measured that were not trained, if any."""
    options = request.method_options
    if getattr(options, "fine_tuning_epochs", None) == 0:
        return "fine_tuning_epochs"
    epochs = getattr(options, "epochs", None)
    found = (request.model.fine_tuning.epochs, request.model.super_network.epochs) if epochs is None else (epochs,)
    return "epochs" if 0 in found else None


def new_record(request: RunRequest, loaded: Loaded) -> RunRecord:
    """The record of a run that starts now."""
    return RunRecord(
        identity=request.identity,
        suite_version=nasbench.__version__,
        track=request.task.track_of(request.model),
        metric=request.task.metric,
        n_params_full=loaded.dims.n_params,
        dimensions=loaded.dims.to_json(),
        unofficial=[*request.unofficial, *unofficial_reasons(request), *loaded.data.unofficial],
        changed_options=changed_options(request),
        provenance={**loaded.origin, **({} if request.isolation is None else {"isolation": dict(request.isolation)})},
        notes=list(loaded.notes),
        data_summary=loaded.data.summary.to_json(),
        constant_error=_constant_error(request.task, loaded.data),
        interface=_interface(request.task),
        declaration=None if request.declaration is None else dict(request.declaration),
        started_at=now(),
    )


def other_declaration(request: RunRequest) -> str | None:
    """One line about the newest run of the same name on another declaration of a user's task; None without one."""
    if request.declaration is None:
        return None
    folder = RunFolder(request.folder).path
    found = []
    for path in folder.parents[2].glob(f"{request.task.name}-*/*/{folder.name}/{RunFolder.RUN}"):
        with suppress(UserError, OSError):  # damaged records of other runs do not concern this one
            record = RunFolder(path.parent).read_run()
            if record.identity.task == request.task.name and record.declaration not in (None, request.declaration):
                found.append((record.started_at or "", path.parent, record.declaration or {}))
    if not found:
        return None
    _, earlier, declaration = max(found, key=lambda each: each[:2])
    changes = "; ".join(differences(declaration, request.declaration))
    return f"this is a new run: the earlier run in {earlier} has another declaration ({changes})"


def _interface(task: Task) -> Interface:
    return Interface(task.kind, list(task.data.text_columns), list(task.classes), task.max_length)


def _constant_error(task: Task, data: TaskData) -> float:
    return constant_error(task.metric, task.kind, task.n_labels, data.validation.labels)


def default_precision(device: torch.device) -> Precision:
    """bf16 if the device multiplies bf16 matrices in hardware, else fp32."""
    if device.type == "cuda":
        with torch.cuda.device(device):  # torch answers for its current GPU
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    flags = torch.backends.cpu.get_cpu_capability()
    return "bf16" if flags.startswith("AVX512") and torch.cpu._is_avx512_bf16_supported() else "fp32"


def avoid_plans(device: torch.device) -> None:
    """Switch cuDNN's attention off on a GPU: it plans anew for each shape, and sub-networks have many shapes."""
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def now() -> str:
    """The time of day in UTC, to the second, for ``started_at``."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def unofficial_reasons(request: RunRequest) -> Iterator[str]:
    """Reasons why the budget, the seed or a limit makes the run unofficial."""
    if request.effective_budget_s != request.official_budget_s:
        budget = "no time limit" if request.budget_s is None else f"a budget of {request.budget_s:g} s"
        official = "" if request.official_budget_s is None else f" instead of {request.official_budget_s:g} s"
        yield budget + official
    if request.seed not in OFFICIAL_SEEDS:
        yield f"seed {request.seed} is not one of 0 to {OFFICIAL_SEEDS[-1]}"
    if request.max_evaluations is not None:
        yield f"limited to {request.max_evaluations} evaluations"


def changed_options(request: RunRequest) -> dict[str, dict[str, Any]]:
    """The options that differ from their defaults, ``{"method": {...}, "searcher": {...}}``.

    ``searcher`` is missing if the method uses none.
    """
    changed = {"method": options.changes(request.method_options, request.method.Options())}
    if request.searcher is not None:
        changed["searcher"] = options.changes(request.searcher_options, request.searcher.Options())
    return changed


MOST_MEASURED = 20
"""Networks of a front that are measured; a longer front is thinned evenly."""


def find_costs(request: RunRequest, loaded: Loaded, earlier: RunRecord | None, budget: Budget) -> Costs:
    """The costs of a run's objectives. A model is fitted once on a device, and every run is charged for it.

    Args:
        earlier: the record of an earlier attempt, whose models the run keeps.

    Raises:
        CannotResume: if the earlier record has no such models.
    """
    if earlier is not None and any(map(is_modelled, request.objectives)):
        try:
            costs = restored_costs(earlier.costs or {}, request.objectives)
        except (KeyError, TypeError, ValueError) as error:
            raise CannotResume(f"cannot resume {request.folder}: its costs are damaged; remove the folder") from error
    else:
        models = (
            _fitted(name, request, loaded, budget) if is_modelled(name) else Counted(name)
            for name in request.objectives[1:]
        )
        costs = Costs(tuple(models))
    seconds = sum(model.seconds for model in costs.models if isinstance(model, Modelled))
    if seconds and not budget.elapsed_s:  # otherwise the earlier attempt was charged for it
        budget.charge("search", seconds)
    return costs


def _fitted(name: str, request: RunRequest, loaded: Loaded, budget: Budget) -> Modelled:
    """The model of an objective, kept in ``<name>-models`` below the results folder. A damaged file is replaced."""
    device, packages = loaded.origin["hardware"], loaded.origin["packages"]
    origin = [loaded.dims.to_json(), device, {each: packages.get(each) for each in ("torch", "transformers")}]
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:16]
    cache = request.results_dir / f"{name}-models" / f"{request.model.name}-{digest}.json"
    with budget.uncharged(name):
        model = kept_model(name, cache)
        if model is None:
            model = fitted_model(name, MEASURERS[name](loaded.network.model, loaded.dims), loaded.dims)
            write_atomically(cache, (json.dumps(model.describe(loaded.dims), indent=1) + "\n").encode())
    return model


def measure_front(
    record: RunRecord, request: RunRequest, loaded: Loaded, folder: RunFolder, budget: Budget, observer: Observer,
) -> None:  # fmt: skip
    """Add to the record what is measured of the networks on a run's front: ``index, ratio, low, high`` each.

    The budget is not charged for it. The observer is told which network is measured.
    """
    space = make_space(request.space, loaded.dims)
    for name in filter(is_modelled, request.objectives):
        front = spread(front_of(folder.read_evaluations()), MOST_MEASURED)
        measurer, found = MEASURERS[name](loaded.network.model, loaded.dims), []
        with budget.uncharged(name):
            for place, each in enumerate(front, 1):
                observer.phase(f"measuring network {place} of {len(front)} of the front", budget.elapsed_s)
                subnetwork = space.to_subnetwork(space.from_json(each.config))
                found.append({"index": each.index, **measurer.measured(subnetwork)})
        assert record.costs is not None
        record.costs[name]["front"] = found
