"""Export a pruned network of a run as a stock transformers module with fewer heads, units and layers, and load it.

An exported folder has ``config.json`` and the tokenizer as transformers writes them, ``model.safetensors`` with the
pruned shapes, and ``nasbench.json`` with the masks and the origin of the network. Transformers cannot build the pruned
shapes from the configuration; :func:`load` can.

The loaded module computes in fp32. If the run did so too, the outputs are as measured. If the run computed in
bf16 (``precision`` in ``nasbench.json``), its rounding is missing: logits agree to about two digits, and the error
differs by a few examples.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from nasbench.errors import NasbenchError, UserError, first_line
from nasbench.networks.adapter import Adapter, shrink
from nasbench.networks.space import Large, make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.records.checkpoints import Checkpoints
from nasbench.records.record import Evaluation, RunFolder, RunRecord, write_atomically
from nasbench.records.schema import RecordError
from nasbench.search.pareto import pareto_mask

DESCRIPTION = "nasbench.json"
WEIGHTS = "model.safetensors"
FORMAT_VERSION = 1


def export(run_folder: Path, out: Path, max_params: float) -> Evaluation:
    """Save the most accurate network of a run's Pareto front that is small enough, by validation error.

    Args:
        run_folder: the folder with ``run.json``. Interrupted and failed runs have a front, too.
        out: a folder that is empty or does not exist.
        max_params: largest fraction of the full network's parameters.

    Returns:
        The evaluation of the saved network.

    Raises:
        UserError: if ``max_params`` is not in (0, 1], there is no such run or network, its weights are missing or
            damaged, or ``out`` is not empty.
        NasbenchError: if ``out`` cannot be written.
    """
    if not 0 < max_params <= 1:
        raise UserError(f"--max-params is a fraction of the parameters, 0.5 for half of them, not {max_params:g}")
    run = RunFolder(run_folder)
    if not run.exists():
        raise UserError(f"no run in {run_folder}: it has no {RunFolder.RUN}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already; choose another folder")
    record = run.read_run()
    evaluation = choose(run.read_evaluations(), max_params, run_folder)
    subnetwork = _subnetwork(record, evaluation, run_folder)
    checkpoints = Checkpoints(run_folder)
    model = _rebuild(checkpoints, evaluation, subnetwork)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in checkpoints.architecture.iterdir():
            shutil.copyfile(path, out / path.name)
    except OSError as error:
        raise NasbenchError(f"cannot write {out}: {error.strerror}") from error
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    write_atomically(out / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    description = json.dumps(_describe(record, evaluation, subnetwork), indent=1, allow_nan=False) + "\n"
    write_atomically(out / DESCRIPTION, description.encode())
    return evaluation


def choose(evaluations: list[Evaluation], max_params: float, run_folder: Path) -> Evaluation:
    """The network with the lowest validation error among those on the Pareto front with at most ``max_params``.

    Raises:
        UserError: if there is no such network.
    """
    measured = [e for e in evaluations if e.error is not None]
    if not measured:
        raise UserError(f"{run_folder} has no evaluated network")
    on_front = pareto_mask(np.array([(e.error, e.params) for e in measured], dtype=np.float64))
    front = [e for e, is_member in zip(measured, on_front, strict=True) if is_member]
    small_enough = [e for e in front if e.params <= max_params]
    if not small_enough:
        smallest = min(e.params for e in front)
        raise UserError(
            f"no network on the front of {run_folder} has at most {max_params:g} of the parameters; "
            f"the smallest has {smallest:.4f}"
        )
    return min(small_enough, key=lambda e: (e.error, e.params))


def load(folder: Path | str) -> nn.Module:
    """Load a network saved by :func:`export`.

    Returns:
        A stock transformers module with pruned parameters, in fp32 and eval mode.

    Raises:
        UserError: if the folder has no exported network, or if the network is damaged.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        dims = Dimensions(**description["dimensions"])
        subnetwork = Large(dims).to_subnetwork(Large(dims).from_json(description["masks"]))
    except FileNotFoundError as error:
        raise UserError(f"no exported network in {folder}: it has no {DESCRIPTION}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / DESCRIPTION} is damaged ({first_line(error)}); export the network again") from error
    model = _empty(folder)
    _shrink(model, subnetwork, dims, folder)
    _fill(model, _read(folder / WEIGHTS, "export the network again"), folder / WEIGHTS)
    return model


def _rebuild(checkpoints: Checkpoints, evaluation: Evaluation, subnetwork: SubNetwork) -> nn.Module:
    """The pruned network of an evaluation, from the weights that its run saved."""
    path = checkpoints.weights_file(evaluation.weights or "none")
    if evaluation.weights is None or not path.exists():
        raise UserError(
            f"the weights of evaluation {evaluation.index} are not in {path.parent}: they were removed, or the run was "
            "made on another machine; run it again there or here"
        )
    tensors = _read(path, "run it again")
    model = _empty(checkpoints.architecture)
    dims = Adapter(model).dimensions()
    # Shared weights have the shapes of the full network. A network that was trained alone has its pruned shapes.
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    is_shared = shapes == {name: value.shape for name, value in tensors.items()}
    if is_shared:
        _fill(model, tensors, path)
        _shrink(model, subnetwork, dims, checkpoints.architecture)
    else:
        _shrink(model, subnetwork, dims, checkpoints.architecture)
        _fill(model, tensors, path)
    return model


def _subnetwork(record: RunRecord, evaluation: Evaluation, run_folder: Path) -> SubNetwork:
    try:
        space = make_space(record.identity.space, Dimensions(**record.dimensions))
        config = space.from_json(evaluation.config)
        space.check(config)
        subnetwork = space.to_subnetwork(config)
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"{run_folder}: evaluation {evaluation.index} has no valid configuration ({first_line(error)})"
        ) from error
    if subnetwork.key != evaluation.key:
        raise RecordError(f"{run_folder}: configuration and key of evaluation {evaluation.index} do not agree")
    return subnetwork


def _describe(record: RunRecord, evaluation: Evaluation, subnetwork: SubNetwork) -> dict[str, Any]:
    large = Large(Dimensions(**record.dimensions))
    return {
        "format_version": FORMAT_VERSION,
        "suite_version": record.suite_version,
        "task": record.identity.task,
        "model": record.identity.model,
        "method": record.identity.algorithm,
        "seed": record.identity.seed,
        "space": record.identity.space,
        "config": evaluation.config,
        "evaluation": evaluation.index,
        "metric": record.metric,
        "error": evaluation.error,
        "metrics": evaluation.metrics,
        "test_error": evaluation.test_error,
        "test_metrics": evaluation.test_metrics,
        "n_params": evaluation.n_params,
        "params": evaluation.params,
        "precision": record.provenance.get("precision"),
        "dimensions": record.dimensions,
        "head_counts": evaluation.head_counts,
        "unit_counts": evaluation.unit_counts,
        "masks": large.to_json(large.from_subnetwork(subnetwork)),
        "provenance": record.provenance,
    }


def _empty(folder: Path) -> nn.Module:
    """The full network of a saved configuration, in eval mode, with parameters that take no memory."""
    import transformers

    path = folder / "config.json"
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        names = config.architectures or [""]
        constructor = getattr(transformers, names[0])
        with torch.device("meta"):
            model = constructor(config)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is missing or damaged ({first_line(error)})") from error
    _make_buffers(model)
    module: nn.Module = model.eval()
    return module


def _make_buffers(model: nn.Module) -> None:
    """Fill the buffers that are in no file: positions count up, token types are 0."""
    values = {"position_ids": lambda n: torch.arange(n)[None], "token_type_ids": lambda n: torch.zeros(1, n).long()}
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in values:
                raise UserError(f"{type(module).__name__} has a buffer {name!r} that this version cannot restore")
            setattr(module, name, values[name](buffer.shape[1]))


def _shrink(model: nn.Module, subnetwork: SubNetwork, dims: Dimensions, folder: Path) -> None:
    adapter = Adapter(model)
    if adapter.dimensions() != dims:
        raise UserError(f"{folder}: configuration and masks are of different networks; export it again")
    shrink(adapter, subnetwork, dims.head_size)


def _read(path: Path, remedy: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"no weights {path}; {remedy}") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); {remedy}") from error


def _fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise UserError(f"{path} holds weights of another network") from error
