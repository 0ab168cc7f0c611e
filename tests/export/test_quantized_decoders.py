"""Decoders in int8 and int4: classifiers and language models, against the record and slow counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exports import masks
from support.quantized import bytes_of_projection
from torch import nn
from transformers.pytorch_utils import Conv1D

from nasbench.export import quantization
from nasbench.export.folder import rebuilt
from nasbench.networks.architectures import adapt
from nasbench.networks.passes import likelihood
from nasbench.plugins.method import Method
from nasbench.records.record import RunFolder
from nasbench.runs.loading import load
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA, TINY_MISTRAL
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_TEXT, TINY_ZERO_SHOT

RunOf = Callable[..., Path]
FULL, SMALLER = masks([4, 4, 4], [48, 48, 48]), masks([2, 0, 4], [5, 48, 0])


class Unused(Method):
    """Only its spaces are asked for."""

    name, summary, spaces = "unused", "for tests", ("large",)


def load_again(run: Path, task: Any, model: Any) -> Any:
    subject = MethodSubject(Unused, run, task=task, model=model)
    return load(subject.request(run, space="large", seed=RunFolder(run).read_run().identity.seed))


@pytest.mark.parametrize("model", [TINY_GPT2, TINY_LLAMA, TINY_MISTRAL], ids=lambda model: model.name)
@pytest.mark.parametrize("task", [TINY_PAIR, TINY_CHOICE, TINY_TEXT, TINY_ZERO_SHOT], ids=lambda task: task.name)
def test_fp32_has_the_recorded_errors(task: Any, model: Any, run_of: RunOf) -> None:
    run = run_of([FULL, SMALLER], model=model, task=task)
    loaded, record = load_again(run, task, model), RunFolder(run).read_run()
    for evaluation in RunFolder(run).read_evaluations():
        network = quantization.quantized(rebuilt(run, record, evaluation), "fp32")
        found = [
            quantization._error(network, task, split, loaded.pad_id)
            for split in (loaded.data.validation, loaded.data.test)
        ]
        assert found[0] == pytest.approx(evaluation.error, abs=1e-5)
        if evaluation.test_error is not None:
            assert found[1] == pytest.approx(evaluation.test_error, abs=1e-5)


def test_logits_of_a_language_model_are_made_in_chunks(run_of: RunOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "CHUNK", 5)
    run = run_of([FULL], model=TINY_LLAMA, task=TINY_TEXT)
    loaded, record = load_again(run, TINY_TEXT, TINY_LLAMA), RunFolder(run).read_run()
    (evaluation,) = RunFolder(run).read_evaluations()
    network: Any = rebuilt(run, record, evaluation)
    sizes: list[int] = []
    network.lm_head.register_forward_hook(lambda _module, _inputs, output: sizes.append(output[..., 0].numel()))
    error = quantization._error(network, TINY_TEXT, loaded.data.test, loaded.pad_id)
    assert error == pytest.approx(evaluation.test_error, abs=1e-5)
    assert max(sizes) == 5
    assert sum(sizes) == int(loaded.data.test.segments.sum())  # each marked token once


@pytest.mark.parametrize("scheme", quantization.SCHEMES)
def test_transposed_layers_are_quantised(scheme: str, run_of: RunOf) -> None:
    run = run_of([FULL], model=TINY_GPT2)
    record, (evaluation,) = RunFolder(run).read_run(), RunFolder(run).read_evaluations()
    network: Any = rebuilt(run, record, evaluation)
    layers = [module for module in network.modules() if isinstance(module, Conv1D)]
    assert len(layers) == 4 * 3
    wanted = 4 * (evaluation.n_params - sum(layer.weight.numel() for layer in layers))
    for layer in layers:
        k, n = layer.weight.shape
        wanted += bytes_of_projection(scheme, n, k)
    found: Any = quantization.quantized(network, scheme)
    assert quantization.n_bytes(found) == wanted
    ids = torch.arange(2, 11)[None]
    with torch.inference_mode():
        before, after = (each(input_ids=ids).logits for each in (network, found))
    bound = {"fp32": 1e-9, "int8": 0.1, "int8-weights": 0.05, "int4-weights": 0.3}[scheme]
    assert (after - before).abs().max() <= bound * before.abs().max()
    assert (scheme == "fp32") == torch.equal(after, before)


@pytest.mark.parametrize("model", [TINY_GPT2, TINY_LLAMA], ids=lambda model: model.name)
def test_language_model_is_measured_in_every_format(model: Any, run_of: RunOf) -> None:
    run = run_of([FULL], model=model, task=TINY_TEXT)
    loaded = load_again(run, TINY_TEXT, model)
    (network,) = quantization.quantize(run, TINY_TEXT, loaded.data, loaded.pad_id).networks
    (evaluation,) = RunFolder(run).read_evaluations()
    assert [each.reason for each in network.variants] == [None] * 4
    sizes = [each.n_bytes for each in network.variants]
    assert sizes[0] == 4 * evaluation.n_params
    assert sizes[3] < sizes[0]  # type: ignore[operator]
    errors = [each.error for each in network.variants]
    assert errors[0] == pytest.approx(evaluation.error, abs=1e-5)
    assert errors == pytest.approx([evaluation.error] * 4, abs=0.1)
    assert len(set(errors)) == 4
    head = adapt(rebuilt(run, RunFolder(run).read_run(), evaluation)).output_layer
    assert isinstance(head, nn.Linear)
