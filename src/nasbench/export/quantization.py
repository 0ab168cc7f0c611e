"""Quantise networks of a run after training, and measure what that costs and saves (appendix F of the paper).

Only the projections are quantised: embeddings, norms and the last layer of the classifier stay in fp32, as in the
libraries that the paper used (Dettmers et al. 2022; Dettmers and Zettlemoyer 2023). The kernels are those that torch
has on a CPU. No weight is trained again.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from nasbench.data.batching import evaluation_batches
from nasbench.data.splits import Split, TaskData
from nasbench.declarations.task import Task
from nasbench.errors import UserError, first_line, printable
from nasbench.export.folder import rebuilt
from nasbench.networks.architectures import adapt
from nasbench.networks.passes.likelihood import log_likelihood
from nasbench.objectives.measuring import N_ROUNDS, Pair, shapes_for
from nasbench.records import provenance
from nasbench.records.front import front_of, full_network, is_no_better_than_constant, spread
from nasbench.records.quantization import OnDevice, QuantizedNetwork, Ratio, Variant
from nasbench.records.record import RunFolder
from nasbench.training import metrics
from nasbench.training.evaluation import Logits

SCHEMES = {
    "fp32": "as trained",
    "int8": "weights, and activations when they are multiplied, with 8 bits",
    "int8-weights": "weights with 8 bits, activations in bf16 when they are multiplied",
    "int4-weights": "weights with 4 bits, activations likewise",
}
GROUP = 32
"""Weights of one row that share a scale and a zero point with 4 bits; numbers of inputs are filled up to multiples."""
MOST_NETWORKS = 4
"""Networks of the front beside the full network, better than a constant answer; a longer front is thinned evenly."""
_BATCH_TOKENS = 2048


class WeightOnlyLinear(nn.Module):
    """A projection whose weights have few bits. Activations are rounded to bf16 when they are multiplied.

    For activations in fp32 or fp16, torch has loops without vector instructions only, 20 to 60 times slower.
    The kernels take numbers of inputs, and with 4 bits of outputs, that pruned networks do not have, so zeros fill
    them up. They count as bytes. The kernel for 8 bits does not check: it would read past the end of a row.
    """

    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.n_outputs, n_inputs = linear.weight.shape
        self.n_padding = -n_inputs % GROUP
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, inputs: Tensor) -> Tensor:
        flat = functional.pad(inputs.reshape(-1, inputs.shape[-1]), (0, self.n_padding)).bfloat16().contiguous()
        outputs = self.products(flat)[:, : self.n_outputs].to(inputs.dtype)
        outputs = outputs if self.bias is None else outputs + self.bias
        return outputs.reshape(*inputs.shape[:-1], -1)

    def products(self, inputs: Tensor) -> Tensor:
        """The weights by inputs in bf16: from ``(n, n_inputs)`` to ``(n, n_outputs)``, both filled up."""
        raise NotImplementedError


class Int8Linear(WeightOnlyLinear):
    """Weights of 8 bits and a scale for each output."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        weight = functional.pad(linear.weight.detach(), (0, self.n_padding))
        scale = (weight.abs().amax(dim=1).clamp(min=1e-12) / 127).bfloat16()
        self.register_buffer("weight", (weight / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scale", scale)

    def products(self, inputs: Tensor) -> Tensor:
        found: Tensor = torch.ops.aten._weight_int8pack_mm(inputs, self.weight, self.scale)
        return found


class Int4Linear(WeightOnlyLinear):
    """Weights of 4 bits, and a scale and a zero point for each group of inputs of an output."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        weight = functional.pad(linear.weight.detach(), (0, self.n_padding, 0, -self.n_outputs % 16))
        groups = weight.reshape(len(weight), -1, GROUP)
        low, high = groups.amin(dim=2), groups.amax(dim=2)
        scale = ((high - low).clamp(min=1e-12) / 15).bfloat16()
        zero = (low + 8 * scale).bfloat16()  # the kernel counts levels from -8
        levels = ((groups - zero[..., None]) / scale[..., None] + 8).round().clamp(0, 15).to(torch.int32)
        self.register_buffer("weight", torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels.flatten(1), 1))
        self.register_buffer("scale_and_zero", torch.stack([scale, zero], dim=2).transpose(0, 1).contiguous())

    def products(self, inputs: Tensor) -> Tensor:
        found: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(inputs, self.weight, GROUP, self.scale_and_zero)
        return found


def quantized(network: nn.Module, scheme: str) -> nn.Module:
    """A copy of an extracted network in a number format of :data:`SCHEMES`.

    Raises:
        RuntimeError: if this torch or this CPU has no kernel for it.
    """
    smaller = copy.deepcopy(network)
    if scheme == "fp32":
        return smaller
    output = adapt(smaller).output_layer
    _untranspose(smaller)
    linear = [(name, module) for name, module in smaller.named_modules() if type(module) is nn.Linear]
    names = [name for name, module in linear if module is not output and module.weight.numel()]  # factors may be empty
    if scheme == "int8":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces that torchao will replace it
            chosen = dict.fromkeys(names, torch.ao.quantization.per_channel_dynamic_qconfig)
            convert: Any = torch.ao.quantization.quantize_dynamic
            found: nn.Module = convert(smaller, chosen, inplace=True)
            return found
    make = {"int8-weights": Int8Linear, "int4-weights": Int4Linear}[scheme]
    for name in names:
        parent, _, own = name.rpartition(".")
        setattr(smaller.get_submodule(parent), own, make(smaller.get_submodule(name)))  # type: ignore[arg-type]
    return smaller


def _untranspose(network: nn.Module) -> None:
    """Put usual layers in the place of GPT-2's, whose weights are stored transposed, in place."""
    for name, module in list(network.named_modules()):
        if isinstance(module, Conv1D):
            layer = nn.Linear(*module.weight.shape)
            layer.weight, layer.bias = nn.Parameter(module.weight.detach().T.contiguous()), module.bias
            network.set_submodule(name, layer)


def n_bytes(network: nn.Module) -> int:
    """Bytes of all parameters of a network, in whatever format: also of scales, zero points and filling."""
    whole = sum(value.numel() * value.element_size() for value in network.parameters())
    for module in network.modules():
        if isinstance(module, WeightOnlyLinear):
            whole += sum(value.numel() * value.element_size() for value in module.buffers(recurse=False))
        elif isinstance(module, torch.ao.nn.quantized.dynamic.Linear):
            weight, bias = module._packed_params._weight_bias()
            parts = [weight.int_repr(), weight.q_per_channel_scales(), weight.q_per_channel_zero_points()]
            whole += sum(part.numel() * part.element_size() for part in [*parts, *([] if bias is None else [bias])])
    return whole


def quantize(
    run_folder: Path, task: Task, data: TaskData, pad_id: int, most_rounds: int = N_ROUNDS,
    measured: Callable[[OnDevice, int], None] = lambda *_: None,
) -> OnDevice:  # fmt: skip
    """Measure the full network of a run and networks of its front in every number format, on this CPU.

    Args:
        run_folder: the run's folder, with its weights.
        data: the splits of the run.
        most_rounds: rounds of timing of a network at most; six or more for intervals.
        measured: called after each network with what is measured so far, and the number of networks.

    Raises:
        UserError: one line, if there is no such run, nothing was evaluated, the full network's weights are gone, or the
            data are not those of the run.
    """
    run = RunFolder(run_folder)
    if not run.exists():
        raise UserError(f"no run in {run_folder}: it has no {RunFolder.RUN}")
    record = run.read_run()
    evaluations = run.read_evaluations(record)
    full, front = full_network(record, evaluations), front_of(evaluations)
    if full is None or full.weights is None:
        raise UserError(f"{run_folder} has no weights of the full network, beside which others are measured")
    due = record.provenance.get("data_sha256", data.sha256)  # the oldest records have none
    if data.sha256 != due:
        raise UserError(
            f"{run_folder} was measured on other data: their sha256 was {str(due)[:12]}..., and is "
            f"{data.sha256[:12]}...; name the folder with the run's data by --data-dir"
        )
    whole = rebuilt(run_folder, record, full)
    shapes = shapes_for(whole)

    def variant(scheme: str, network: nn.Module) -> Variant:
        try:
            changed = quantized(network, scheme)
            error, test_error = (_error(changed, task, split, pad_id) for split in (data.validation, data.test))
            ratio = Ratio(**Pair(whole, changed).measured(shapes, most_rounds))
        except (RuntimeError, NotImplementedError, FloatingPointError) as failure:
            return Variant(scheme, reason=printable(first_line(failure)))
        return Variant(scheme, error, test_error, n_bytes(changed), ratio)

    here = provenance.describe(torch.device("cpu"))
    found = OnDevice(here["hardware"], here["packages"], [list(shape) for shape in shapes], [])
    useful = [e for e in front if e.index != full.index and not is_no_better_than_constant(record, e)]
    chosen = (full, *spread(useful, MOST_NETWORKS))
    for evaluation in chosen:
        network = whole if evaluation is full else rebuilt(run_folder, record, evaluation)
        variants = [variant(scheme, network) for scheme in SCHEMES]
        found.networks.append(QuantizedNetwork(evaluation.index, evaluation is full, evaluation.params, variants))
        measured(found, len(chosen))
    return found


def _error(network: Any, task: Task, split: Split, pad_id: int) -> float:
    """1 - the task's metric on a split."""
    logits = _logits(network, split, pad_id)
    return 1.0 - metrics.compute((task.metric,), task.kind, logits, split.labels)[task.metric]


def _logits(network: Any, split: Split, pad_id: int) -> Logits:
    """Logits ``(n_examples, n_logits)`` in the order of the split; log-likelihoods of a language model."""
    batches = evaluation_batches(split, pad_id, _BATCH_TOKENS, None)
    adapter = adapt(network)
    found, order = [], []
    with torch.inference_mode():
        for batch in batches:
            mask = batch.attention_mask
            inputs = {
                "input_ids": batch.input_ids,
                "attention_mask": torch.ones_like(batch.input_ids) if mask is None else mask.long(),
                **({"token_type_ids": batch.token_type_ids} if adapter.has_token_types else {}),
            }
            if adapter.is_multiple_choice:
                inputs = {name: value.reshape(len(batch.index), -1, value.shape[1]) for name, value in inputs.items()}
            if adapter.readout == "every":  # the stock base module has applied the last norm
                states = adapter.base(**inputs, use_cache=False).last_hidden_state
                logits = log_likelihood(adapter.output_layer, states, batch)
            else:
                logits = network(**inputs).logits.float()
            found.append(logits.numpy().reshape(len(batch.index), -1))
            order.append(batch.index)
    return np.asarray(np.concatenate(found)[np.argsort(np.concatenate(order))])
