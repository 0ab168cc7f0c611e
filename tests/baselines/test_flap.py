"""FLAP: scores and compensation against numpy on activations of the stock model, and runs from start to export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from support.activations import seen
from support.baselines import SCENES, complete_run

import nasbench
from nasbench.baselines.flap import FLAP, RATIOS, Moments, best, compensated, scores
from nasbench.baselines.wanda_sp import WandaSp
from nasbench.data.batching import collate
from nasbench.data.splits import load_task_data
from nasbench.export.folder import export
from nasbench.isolation import transfer
from nasbench.networks.adapter import add_output_biases
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.runs import runner
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA, TINY_QWEN2
from nasbench.testing.models import TINY_BERT, TINY_MODERNBERT
from nasbench.testing.networks import TinyNetwork, tiny_network
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR, TINY_TEXT
from nasbench.trust import expected


def with_biases(model: Any, task: Any) -> TinyNetwork:
    tiny = tiny_network(model, task)
    add_output_biases(tiny.network.adapter)
    return dataclasses.replace(tiny, network=SuperNetwork(tiny.network.model))


def moments_of(tiny: TinyNetwork) -> Moments:
    moments = Moments()
    moments.add(tiny.network, [tiny.batch()])
    return moments


def blocks_of(network: SuperNetwork, kind: int) -> list[Any]:
    return [(network.adapter.attention, network.adapter.feed_forward)[kind](i) for i in range(3)]


def stock_inputs(tiny: TinyNetwork, kind: int) -> list[Any]:
    modules = [block.output.module for block in blocks_of(tiny.network, kind)]
    return [values.numpy() for values in seen(tiny, modules, is_input=True)]


@SCENES
def test_scores_are_standardised_variances_times_weights(model: Any, task: Any) -> None:
    tiny = with_biases(model, task)
    for kind, found in enumerate(scores(tiny.network, moments_of(tiny))):
        size = tiny.network.dims.head_width if kind == 0 else 1
        for i, (block, inputs) in enumerate(zip(blocks_of(tiny.network, kind), stock_inputs(tiny, kind), strict=True)):
            weight = block.output.module.weight.detach().numpy()
            columns = weight.T if model is TINY_GPT2 else weight
            channels = np.var(inputs, axis=0, ddof=1) * np.linalg.norm(columns, axis=0) ** 2
            standard = (channels - channels.mean()) / channels.std(ddof=1)
            np.testing.assert_allclose(found[i], standard.reshape(-1, size).mean(1), rtol=1e-3, atol=1e-5)


@SCENES
def test_moments_add_up_over_batches(model: Any, task: Any) -> None:
    tiny = with_biases(model, task)
    together = Moments()
    together.add(tiny.network, [tiny.batch(6), tiny.batch()])
    twice = moments_of(tiny)
    twice.add(tiny.network, [tiny.batch(6)])
    assert together.n_tokens == twice.n_tokens > moments_of(tiny).n_tokens
    np.testing.assert_allclose(together.variance(1, 2), twice.variance(1, 2), rtol=1e-9)


@SCENES
def test_compensation_keeps_the_mean_output_of_every_block(model: Any, task: Any) -> None:
    tiny = with_biases(model, task)
    network, rng = tiny.network, np.random.default_rng(0)
    heads, units = rng.random((3, 4)) < 0.5, rng.random((3, 48)) < 0.5
    heads[:, 0], units[:, 0] = True, True
    kept = SubNetwork(heads, units)
    pruned = compensated(network, kept, moments_of(tiny), "half")
    assert pruned.count_params() == kept.n_params(network.dims)
    for kind, masks in enumerate((np.repeat(heads, network.dims.head_width, axis=1), units)):
        pairs = zip(blocks_of(network, kind), blocks_of(pruned, kind), stock_inputs(tiny, kind), masks, strict=True)
        for whole, smaller, inputs, mask in pairs:
            weight, bias = (part.detach().double().numpy() for part in (whole.output.weight, whole.output.bias))
            by_formula = bias + weight[:, ~mask] @ inputs[:, ~mask].mean(0)
            np.testing.assert_allclose(smaller.output.bias.detach().numpy(), by_formula, rtol=1e-4, atol=1e-6)
            means = [
                block.output.module(torch.from_numpy(values).float()).mean(0).detach().numpy()
                for block, values in ((whole, inputs), (smaller, inputs[:, mask]))
            ]
            np.testing.assert_allclose(means[1], means[0], rtol=1e-3, atol=1e-5)


def test_full_sub_network_is_left_as_it_is() -> None:
    tiny = with_biases(TINY_BERT, TINY_PAIR)
    same = compensated(tiny.network, SubNetwork.full(tiny.network.dims), moments_of(tiny), "all")
    with torch.no_grad():
        torch.testing.assert_close(same.forward(tiny.batch()), tiny.network.forward(tiny.batch()), rtol=0, atol=1e-6)


def test_best_keeps_the_largest_scores_of_all_layers_within_the_share() -> None:
    network = with_biases(TINY_LLAMA, TINY_TEXT).network
    dims, rng = network.dims, np.random.default_rng(1)
    heads, units = rng.normal(size=(3, 4)), rng.normal(size=(3, 48))
    whole = 12 * dims.n_params_per_head + 144 * dims.n_params_per_unit
    before = None
    for ratio in RATIOS:
        kept = best(network, heads, units, ratio)
        lowest = min(heads[kept.heads].min(initial=9), units[kept.units].min(initial=9))
        highest = max(heads[~kept.heads].max(initial=-9), units[~kept.units].max(initial=-9))
        assert lowest > highest
        spent = kept.heads.sum() * dims.n_params_per_head + kept.units.sum() * dims.n_params_per_unit
        assert abs(spent - (1 - ratio) * whole) <= dims.n_params_per_head / 2
        assert before is None or ((kept.heads <= before.heads).all() and (kept.units <= before.units).all())
        before = kept


@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_QWEN2, TINY_GPT2, TINY_MODERNBERT], ids=lambda model: model.name)
def test_biases_of_zero_are_counted_and_change_no_logits(model: Any) -> None:
    tiny = tiny_network(model, TINY_PAIR if model is TINY_MODERNBERT else TINY_TEXT)
    network, n_before = tiny.network, tiny.network.dims.n_params
    with torch.no_grad():
        logits = network.forward(tiny.batch())
        add_output_biases(network.adapter)
        larger = SuperNetwork(network.model)
        added = 0 if model is TINY_GPT2 else 3 * 2 * 32
        assert larger.dims.n_params == n_before + added == sum(p.numel() for p in network.model.parameters())
        torch.testing.assert_close(larger.forward(tiny.batch()), logits, rtol=0, atol=0)
        torch.testing.assert_close(larger.stock_logits(tiny.batch()), logits, rtol=1e-6, atol=1e-5)
        one = SubNetwork.from_counts([2, 0, 4], [5, 48, 0], larger.dims)
        assert larger.extract(one).count_params() == one.n_params(larger.dims)
    handed_over = transfer.make_network(transfer.architecture(larger), transfer.weights_of(larger), larger.device)
    assert handed_over.dims == larger.dims


def test_run_counts_and_exports_the_biases_of_a_language_model(tmp_path: Path) -> None:
    record, evaluations, folder = complete_run(FLAP, tmp_path, n_calibration=9)
    assert len(evaluations) == 1 + len(RATIOS)
    plain = load_pretrained(TINY_LLAMA, TINY_TEXT, 0).network
    assert record.n_params_full == sum(p.numel() for p in plain.parameters()) + 3 * 2 * 32
    assert "the network has 192 more parameters than tiny-llama: biases of its blocks' outputs" in record.notes
    assert record.changed_options["method"]["n_calibration"] == 9
    smaller = [e for e in evaluations[1:] if e.weights is not None]
    assert smaller, "a pruned network should be on the front"
    chosen = export(folder, tmp_path / "out", 0.999)
    auto: Any = transformers.AutoModelForCausalLM
    loaded, report = auto.from_pretrained(tmp_path / "out", trust_remote_code=True, output_loading_info=True)
    assert not any(report.values())
    assert sum(p.numel() for p in loaded.parameters()) == chosen.n_params
    again: Any = nasbench.load(tmp_path / "out")
    biases = [value for name, value in again.named_parameters() if name.endswith("proj.bias")]
    assert biases
    assert all(value.abs().max() > 0 for value in biases)
    inputs = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        torch.testing.assert_close(loaded(inputs).logits, again(inputs).logits)
        biases[0].add_(1.0)
        assert not torch.allclose(loaded(inputs).logits, again(inputs).logits)
    # The error in the record is that of the exported network: bits of the validation passages over 8 a byte.
    validation = load_task_data(TINY_TEXT, load_pretrained(TINY_LLAMA, TINY_TEXT, 0).tokenizer, record.identity.seed)
    bits = 0.0
    for i in range(len(validation.validation)):
        batch = collate(validation.validation, np.array([i]), 0)
        with torch.no_grad():
            shares = loaded(batch.input_ids).logits[0, :-1].log_softmax(-1)
        counted = shares.gather(1, batch.input_ids[0, 1:, None])[batch.token_type_ids[0, 1:] == 1]
        bits -= float(counted.sum()) / np.log(2)
    assert bits / validation.validation.labels.sum() / 8 == pytest.approx(chosen.error, abs=1e-4)


def test_exported_encoder_has_the_biases(tmp_path: Path) -> None:
    _, _, folder = complete_run(FLAP, tmp_path, TINY_MODERNBERT, TINY_PAIR, epochs=1)
    chosen = export(folder, tmp_path / "out", 0.999)
    auto: Any = transformers.AutoModelForSequenceClassification
    loaded, report = auto.from_pretrained(tmp_path / "out", trust_remote_code=True, output_loading_info=True)
    assert not any(report.values())
    assert sum(p.numel() for p in loaded.parameters()) == chosen.n_params
    assert any(name.endswith("Wo.bias") and value.abs().max() > 0 for name, value in loaded.named_parameters())


def test_exported_network_with_biases_is_a_start(tmp_path: Path) -> None:
    _, _, folder = complete_run(FLAP, tmp_path)
    chosen = export(folder, tmp_path / "out", 0.8)
    model = dataclasses.replace(TINY_LLAMA, generator=None, local_folder=str(tmp_path / "out"))
    network = SuperNetwork(load_pretrained(model, TINY_TEXT, 0).network)
    assert network.count_params() == chosen.n_params == network.dims.n_params
    tiny, exported = tiny_network(TINY_LLAMA, TINY_TEXT), SuperNetwork(nasbench.load(tmp_path / "out"))
    with torch.no_grad():
        torch.testing.assert_close(network.forward(tiny.batch()), exported.stock_logits(tiny.batch()))


def test_verifying_adds_the_biases_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, requests = [], {}
    for method in (FLAP, WandaSp):
        subject = MethodSubject(method, tmp_path, task=TINY_TEXT, model=TINY_LLAMA, n_evaluations=2)
        request = subject.request(tmp_path / method.name)
        records.append(runner.run(request))
        requests[method.name] = request
    monkeypatch.setattr(expected, "request_of", lambda record, _data_dir: requests[record.identity.method])
    loader = expected.Loader()
    for record in records:
        found = loader.expected(record).record
        assert (found.n_params_full, found.dimensions) == (record.n_params_full, record.dimensions)
    assert records[0].n_params_full == records[1].n_params_full + 3 * 2 * 32


def test_classifier_with_biases_of_its_own_gets_none(tmp_path: Path) -> None:
    record, evaluations, _ = complete_run(FLAP, tmp_path, TINY_BERT, TINY_PAIR, epochs=1)
    plain = load_pretrained(TINY_BERT, TINY_PAIR, 0).network
    assert record.n_params_full == sum(p.numel() for p in plain.parameters())
    assert not any("biases" in note for note in record.notes)
    assert evaluations[0].weights == "fine-tuned"
