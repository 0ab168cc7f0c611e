"""Export a pruned network of a run as a folder that transformers loads without nasbench.

An exported folder has ``config.json``, ``model.safetensors`` and the tokenizer as transformers writes them, a model
card ``README.md``, and ``nasbench.json`` with the masks and the origin of the network. If the layers have different
widths, or projections are products of two matrices, it also has ``modeling_pruned.py`` (decoders:
``modeling_decoders.py``), from which transformers builds the network (``trust_remote_code=True``).

The loaded module computes in fp32. If the run did so too, the outputs are as measured. If the run computed in
bf16 (``precision`` in ``nasbench.json``), its rounding is missing: logits agree to about two digits, and the error
differs by a few examples.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from nasbench.data.hub import quiet
from nasbench.errors import NasbenchError, UserError, first_line
from nasbench.export import onnx_file
from nasbench.export.card import model_card
from nasbench.export.latency import Latency, measure, with_random_weights
from nasbench.export.loading import (
    DESCRIPTION,
    WEIGHTS,
    empty_network,
    fill,
    load,
    load_tokenizer,
    read_tensors,
    shrink_checked,
)
from nasbench.networks.architectures import adapt
from nasbench.networks.architectures.compact import FORMAT_VERSION, compact, head_of, kept_layers
from nasbench.networks.pretrained import REGRESSION_OUTPUT, n_positions
from nasbench.networks.space import Large, make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.networks.supernet import Precision, SuperNetwork
from nasbench.records.checkpoints import Checkpoints
from nasbench.records.front import front_of
from nasbench.records.record import Evaluation, RunFolder, RunRecord, write_atomically
from nasbench.records.schema import RecordError

CARD = "README.md"
_LATENCY_LENGTH = 128
"""Tokens of the timed examples if the record does not say at how many tokens texts were cut."""


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes:
        evaluation: the evaluation of the network.
        record: the record of its run.
        latency: times of passes beside the full network's; empty if they were not measured.
        n_bytes: size of the weights on disk.
    """

    evaluation: Evaluation
    record: RunRecord
    latency: list[Latency]
    n_bytes: int


def export(run_folder: Path, out: Path, max_params: float = 1.0, index: int | None = None) -> Evaluation:
    """The evaluation of the network that :func:`export_network` saves, without measuring its speed."""
    return export_network(run_folder, out, max_params, with_latency=False, index=index).evaluation


def export_network(
    run_folder: Path,
    out: Path,
    max_params: float,
    with_latency: bool,
    index: int | None = None,
    with_onnx: bool = False,
) -> Exported:
    """Save the most accurate network of a run's Pareto front that is small enough, by validation error.

    Args:
        run_folder: the folder with ``run.json``. Interrupted and failed runs have a front, too.
        out: a folder that is empty or does not exist.
        max_params: largest fraction of the full network's parameters.
        with_latency: whether to time the network beside the full network, which takes a few seconds.
        index: of the evaluation whose network is saved instead; its weights must be there.
        with_onnx: whether to write and check ``model.onnx``, too; it needs the extra ``onnx``.

    Raises:
        UserError: if ``max_params`` is not in (0, 1], there is no such run or network, its weights are missing or
            damaged, or ``out`` is not empty.
        NasbenchError: if ``out`` cannot be written, or the outputs of ``model.onnx`` differ. ``out`` is then as before.
    """
    if not 0 < max_params <= 1:
        raise UserError(f"--max-params is a fraction of the parameters, 0.5 for half of them, not {max_params:g}")
    run = RunFolder(run_folder)
    if not run.exists():
        raise UserError(f"no run in {run_folder}: it has no {RunFolder.RUN}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already; choose another folder")
    record = run.read_run()
    evaluations = run.read_evaluations(record)
    if index is not None and not 0 <= index < len(evaluations):
        raise UserError(f"{run_folder} has evaluations 0 to {len(evaluations) - 1}, and no {index}")
    evaluation = choose(evaluations, max_params, run_folder) if index is None else evaluations[index]
    subnetwork = subnetwork_of(record, evaluation, run_folder)
    checkpoints = Checkpoints(run_folder)
    network: Any = compact(_rebuild(checkpoints, evaluation, subnetwork), subnetwork, _output_names(record))
    latency: list[Latency] = []
    if with_latency:
        full = empty_network(checkpoints.architecture)
        dims = adapt(full).dimensions()  # a network that was pruned before has been filled up to a stock network
        shrink_checked(full, SubNetwork.full(dims), dims, checkpoints.architecture)
        stock = compact(with_random_weights(full), SubNetwork.full(dims), ())
        latency = measure(stock, network, longest_text(checkpoints, record))
    ranks: dict[str, int] = getattr(network.config, "ranks", {})
    facts = _describe(record, evaluation, subnetwork) | {"latency": [dataclasses.asdict(times) for times in latency]}
    description = json.dumps(facts, indent=1, allow_nan=False) + "\n"
    needs_code = network.config.model_type.startswith("pruned-")
    code = f"{type(network.config).__module__.rpartition('.')[2]}.py" if needs_code else None
    loader = f"AutoModelFor{head_of(type(network).__name__)}"
    card = model_card(record, evaluations, evaluation, out.name, loader, code, latency, ranks.values())
    with _emptied_after_failure(out):
        try:
            out.mkdir(parents=True, exist_ok=True)
            for path in checkpoints.architecture.iterdir():
                if path.is_dir():  # the further chat templates of a tokenizer
                    shutil.copytree(path, out / path.name)
                elif path.name != "config.json":
                    shutil.copyfile(path, out / path.name)
            with quiet():
                network.save_pretrained(out)
            _limit_length(out / "tokenizer_config.json", record)
            for path in out.iterdir():
                if path.is_file():
                    path.chmod(0o644)  # transformers lets only the owner read the weights
        except (OSError, SafetensorError) as error:  # the second if the weights do not fit on the disk
            reason = error.strerror if isinstance(error, OSError) else first_line(error)
            raise NasbenchError(f"cannot write {out}: {reason}") from error
        write_atomically(out / DESCRIPTION, description.encode())
        write_atomically(out / CARD, card.encode())
        if with_onnx:
            loaded = load(out)
            onnx_file.write_onnx(loaded, load_tokenizer(out, loaded).model_input_names, out)
    return Exported(evaluation, record, latency, (out / WEIGHTS).stat().st_size)


@contextmanager
def _emptied_after_failure(out: Path) -> Iterator[None]:
    """Remove what has been written to a folder if the rest is not, so that the same command works once that is mended.

    Args:
        out: a folder that is empty or does not exist.
    """
    is_new = not out.exists()
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for path in out.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            if is_new:
                out.rmdir()
        raise


def fraction_of_all(run_folder: Path, max_prunable: float) -> float:
    """The fraction of all parameters of a network that keeps a fraction of those that can be pruned.

    Embeddings, pooler and classifier cannot be pruned: of MiniLM they are 53 %.

    Raises:
        UserError: if ``max_prunable`` is not in [0, 1], or there is no such run.
    """
    if not 0 <= max_prunable <= 1:
        raise UserError(
            "--max-prunable is a fraction of the parameters that can be pruned, 0.5 for half of them, not "
            f"{max_prunable:g}"
        )
    record = RunFolder(run_folder).read_run()
    fixed, whole = Dimensions.from_json(record.dimensions).n_fixed_params, record.n_params_full
    return min(1.0, (fixed + max_prunable * (whole - fixed)) / whole + 1e-12)  # a network at the limit is small enough


def choose(evaluations: list[Evaluation], max_params: float, run_folder: Path) -> Evaluation:
    """The network with the lowest validation error among those on the Pareto front with at most ``max_params``.

    Raises:
        UserError: if there is no such network.
    """
    front = front_of(evaluations)
    if not front:
        raise UserError(f"{run_folder} has no evaluated network")
    small_enough = [e for e in front if e.params <= max_params]
    if not small_enough:
        smallest = min(e.params for e in front)
        raise UserError(
            f"no network on the front of {run_folder} has at most {max_params:g} of the parameters; "
            f"the smallest has {smallest:.4f}"
        )
    return min(small_enough, key=lambda e: (e.error, e.params))


def _rebuild(checkpoints: Checkpoints, evaluation: Evaluation, subnetwork: SubNetwork) -> nn.Module:
    """The pruned network of an evaluation, from the weights that its run saved."""
    path = checkpoints.weights_file(evaluation.weights or "none")
    if evaluation.weights is None or not path.exists():
        raise UserError(
            f"the weights of evaluation {evaluation.index} are not in {path.parent}: they were removed, or the run was "
            "made on another machine; run it again there or here"
        )
    tensors = read_tensors(path, "run it again")
    model = empty_network(checkpoints.architecture)
    dims = adapt(model).dimensions()
    # Shared weights have the shapes of the full network. A network that was trained alone has its pruned shapes.
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    is_shared = shapes == {name: value.shape for name, value in tensors.items()}
    if is_shared:
        fill(model, tensors, path)
        shrink_checked(model, subnetwork, dims, checkpoints.architecture)
    else:
        shrink_checked(model, subnetwork, dims, checkpoints.architecture)
        fill(model, tensors, path)
    return model


def rebuilt(run_folder: Path, record: RunRecord, evaluation: Evaluation) -> nn.Module:
    """The extracted network of an evaluation, from the weights that its run saved, without empty layers.

    Raises:
        UserError: one line, if its weights are missing or damaged, or its configuration is not valid.
    """
    subnetwork = subnetwork_of(record, evaluation, run_folder)
    model = _rebuild(Checkpoints(run_folder), evaluation, subnetwork)
    return compact(model, subnetwork, _output_names(record)).eval()


def held(run_folder: Path, record: RunRecord, evaluation: Evaluation) -> SuperNetwork:
    """The network of an evaluation as the engine runs it, from the weights that its run saved, in the run's precision.

    Raises:
        UserError: as for :func:`rebuilt`.
    """
    subnetwork = subnetwork_of(record, evaluation, run_folder)
    model = _rebuild(Checkpoints(run_folder), evaluation, subnetwork)
    precision: Precision = "bf16" if record.provenance.get("precision") == "bf16" else "fp32"
    return SuperNetwork(model.eval(), precision, "held", subnetwork, Dimensions.from_json(record.dimensions))


def longest_text(checkpoints: Checkpoints, record: RunRecord) -> int:
    """The number of tokens at which speed is measured: where the run cut texts, at most what the network takes.

    The limit of a language model's task is one of bytes, or far above most of its texts.
    """
    longest = n_positions(json.loads((checkpoints.architecture / "config.json").read_text(encoding="utf-8")))
    interface = record.interface
    if interface is None or interface.is_language_model:
        return min(longest, _LATENCY_LENGTH)
    return min(longest, interface.max_length)


def subnetwork_of(record: RunRecord, evaluation: Evaluation, run_folder: Path) -> SubNetwork:
    """The sub-network of an evaluation.

    Raises:
        RecordError: if the configuration is not valid, or is of another network than the recorded key.
    """
    try:
        space = make_space(record.identity.space, Dimensions.from_json(record.dimensions))
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


def _output_names(record: RunRecord) -> tuple[str, ...]:
    """Names of the outputs; empty if the record does not know them or the classifier has one output for each ending."""
    interface = record.interface
    if interface is None or interface.is_language_model or interface.kind == "multiple_choice":
        return ()
    return tuple(interface.label_names) or (REGRESSION_OUTPUT,)


def _limit_length(path: Path, record: RunRecord) -> None:
    """Make the tokenizer cut texts where the run did, so that its users get the measured outputs.

    A language model takes longer texts than those that it was measured with.
    """
    if record.interface is None or record.interface.is_language_model or not path.exists():
        return
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["model_max_length"] = record.interface.max_length
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _describe(record: RunRecord, evaluation: Evaluation, subnetwork: SubNetwork) -> dict[str, Any]:
    large = Large(Dimensions.from_json(record.dimensions))
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
        "kept_layers": kept_layers(subnetwork),
        "interface": None if record.interface is None else dataclasses.asdict(record.interface),
        "provenance": record.provenance,
    }
