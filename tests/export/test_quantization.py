"""Networks in int8 and int4: values, bytes and records, against slow and obvious answers."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.quantized import bytes_of_projection
from support.user_tasks import BASE, changed, make_folder, toml
from torch import nn

import nasbench
from nasbench.cli.main import cli
from nasbench.errors import UserError
from nasbench.export import quantization
from nasbench.export.folder import rebuilt
from nasbench.networks.architectures import adapt
from nasbench.records.front import front_of, full_network, spread
from nasbench.records.quantization import (
    FILE,
    OnDevice,
    Quantization,
    QuantizedNetwork,
    Ratio,
    Variant,
    read_quantization,
    write_quantization,
)
from nasbench.records.record import RunFolder
from nasbench.records.schema import RecordError
from nasbench.runs.loading import load
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR
from nasbench.trust import expected

SIZES = [(48, 32), (13, 7), (2, 64), (33, 96), (1, 1), (16, 40)]


def _linear(n_outputs, n_inputs, bias=True):
    torch.manual_seed(n_outputs)
    return nn.Linear(n_inputs, n_outputs, bias=bias).requires_grad_(False)


def _bf16(value):
    return torch.as_tensor(value).bfloat16().double()


def _assert_products(layer, linear, rounded):
    """Those of the rounded weights and inputs, up to the rounding of each product of a row to bf16."""
    inputs = torch.randn(3, 5, linear.in_features)
    products = _bf16(inputs) @ rounded.T
    found = layer(inputs).double() - (0 if linear.bias is None else linear.bias)
    assert found.shape == products.shape
    rounding = 2**-8 * products.abs() + 1e-5
    assert ((found - products).abs() <= rounding).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [True, False])
def test_8_bit_weights_give_the_products_of_rounded_weights(size, bias):
    linear = _linear(*size, bias)
    rounded = torch.zeros(size, dtype=torch.float64)
    for row, weights in enumerate(linear.weight):
        scale = float(_bf16(weights.abs().max() / 127))
        levels = [min(max(round(float(w) / scale), -127), 127) for w in weights]
        rounded[row] = torch.tensor(levels) * scale
    assert (rounded - linear.weight).abs().max() <= 0.51 * linear.weight.abs().max() / 127
    _assert_products(quantization.Int8Linear(linear), linear, rounded)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [True, False])
def test_4_bit_weights_give_the_products_of_16_levels_in_each_group(size, bias):
    linear = _linear(*size, bias)
    rounded = torch.zeros(size, dtype=torch.float64)
    for row in range(size[0]):
        for start in range(0, size[1], quantization.GROUP):
            group = linear.weight[row, start : start + quantization.GROUP]
            padded = [*group.tolist(), *([0.0] if len(group) < quantization.GROUP else [])]  # zeros fill the last group
            step = float(_bf16((max(padded) - min(padded)) / 15))
            zero = float(_bf16(min(padded) + 8 * step))
            levels = [min(max(round((value - zero) / step), -8), 7) for value in group.tolist()]
            rounded[row, start : start + len(group)] = zero + torch.tensor(levels) * step
            assert (rounded[row, start : start + len(group)] - group).abs().max() <= 0.55 * step
    _assert_products(quantization.Int4Linear(linear), linear, rounded)


@pytest.fixture(scope="module")
def run(run_of):
    return run_of([[4, 48, 3], [2, 24, 2], [0, 0, 0]], space="small")


@pytest.fixture(scope="module")
def loaded(run):
    record = RunFolder(run).read_run()
    subject = MethodSubject(_Unused, run)
    return load(subject.request(run, seed=record.identity.seed))


class _Unused:
    default_searcher, spaces, adds_output_biases = None, ("small",), False

    @dataclasses.dataclass(frozen=True)
    class Options:
        """None."""


def _full(run):
    record = RunFolder(run).read_run()
    return rebuilt(run, record, full_network(record, RunFolder(run).read_evaluations()))


@pytest.mark.parametrize("scheme", quantization.SCHEMES)
def test_bytes_are_those_of_every_tensor(run, scheme):
    network = _full(run)
    output = adapt(network).output_layer
    projections = [m for m in network.modules() if type(m) is nn.Linear and m is not output]
    others = sum(p.numel() for p in network.parameters()) - sum(m.weight.numel() for m in projections)
    wanted = 4 * others
    for m in projections:
        n, k = m.weight.shape
        wanted += bytes_of_projection(scheme, n, k)
    assert quantization.n_bytes(quantization.quantized(network, scheme)) == wanted


@pytest.mark.parametrize("scheme", quantization.SCHEMES)
def test_a_quantised_network_gives_nearly_the_outputs_of_the_network(run, scheme):
    network = _full(run)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ids = torch.randint(5, 15, (4, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = network(input_ids=ids).logits
        found = quantization.quantized(network, scheme)(input_ids=ids).logits
    scale = wanted.abs().max()
    bound = {"fp32": 1e-9, "int8": 0.1, "int8-weights": 0.05, "int4-weights": 0.3}[scheme]
    assert (found - wanted).abs().max() <= bound * scale
    assert (scheme == "fp32") == torch.equal(found, wanted)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_full_network_and_the_front_are_measured_in_every_format(run, loaded):
    found = quantization.quantize(run, TINY_PAIR, loaded.data, loaded.pad_id)
    evaluations = RunFolder(run).read_evaluations()
    assert found.networks[0].is_full
    limit = RunFolder(run).read_run().constant_error
    useful = [
        each.index for each in front_of(evaluations) if each.error < limit and each.index != found.networks[0].index
    ]
    assert [each.index for each in found.networks[1:]] == useful
    for network in found.networks:
        assert [each.scheme for each in network.variants] == [*quantization.SCHEMES]
        recorded = evaluations[network.index]
        plain = network.variants[0]
        assert plain.error == pytest.approx(recorded.error, abs=1e-6)
        assert plain.test_error == pytest.approx(recorded.test_error, abs=1e-6)
        assert plain.n_bytes == 4 * recorded.n_params
        for each in network.variants:
            assert each.reason is None
            assert 0 < each.latency.low <= each.latency.ratio <= each.latency.high
    assert found.networks[0].variants[3].n_bytes < found.networks[0].variants[0].n_bytes


@pytest.mark.parametrize(("above", "is_measured"), [(0.1, True), (0.0, False)])
def test_a_network_no_better_than_a_constant_answer_is_left_out(run, loaded, tmp_path, above, is_measured):
    evaluations = RunFolder(run).read_evaluations()
    smaller = next(each for each in front_of(evaluations) if each.index != 0)
    copied = shutil.copytree(run, tmp_path / "copied")
    record = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps({**record, "constant_error": smaller.error + above}))
    found = quantization.quantize(copied, TINY_PAIR, loaded.data, loaded.pad_id, most_rounds=1)
    assert found.networks[0].is_full
    assert (smaller.index in [each.index for each in found.networks]) == is_measured


def test_a_format_without_a_kernel_is_recorded_with_its_reason(run, loaded, monkeypatch):
    class Missing(nn.Module):
        def __init__(self, linear):
            raise NotImplementedError("no kernel\nfor this CPU")

    monkeypatch.setattr(quantization, "Int4Linear", Missing)
    found = quantization.quantize(run, TINY_PAIR, loaded.data, loaded.pad_id, most_rounds=1)
    (variant,) = [each for each in found.networks[0].variants if each.scheme == "int4-weights"]
    assert variant.reason.startswith("no kernel")
    assert (variant.error, variant.n_bytes, variant.latency) == (None, None, None)


def test_a_multiple_choice_is_measured(run_of):
    run = run_of([[4, 48, 3]], space="small", task=TINY_CHOICE)
    request = MethodSubject(_Unused, run, task=TINY_CHOICE, model=TINY_BERT).request(run)
    loaded = load(request)
    found = quantization.quantize(run, TINY_CHOICE, loaded.data, loaded.pad_id, most_rounds=1)
    recorded = RunFolder(run).read_evaluations()[0]
    assert found.networks[0].variants[0].error == pytest.approx(recorded.error, abs=1e-6)


def test_the_file_keeps_one_entry_for_each_device(run, loaded, tmp_path):
    found = quantization.quantize(run, TINY_PAIR, loaded.data, loaded.pad_id)
    other = dataclasses.replace(found, device={**found.device, "cpu": "another"})
    everything = Quantization().with_device(found).with_device(other).with_device(found)
    assert [each.device["cpu"] for each in everything.devices] == ["another", found.device["cpu"]]
    write_quantization(tmp_path, everything)
    assert read_quantization(tmp_path) == everything
    assert read_quantization(tmp_path / "nothing") == Quantization()
    values = json.loads((tmp_path / FILE).read_text())
    values["devices"][0]["networks"][0]["variants"][1]["error"] = "small"
    (tmp_path / FILE).write_text(json.dumps(values))
    with pytest.raises(RecordError, match=FILE):
        read_quantization(tmp_path)


def test_command_measures_with_the_data_of_the_record_and_keeps_other_devices(run, loaded, monkeypatch):
    seen = []
    ran = Variant("int8", 0.25, 0.3, 2_500_000, Ratio(0.5, 0.4, 0.625))
    networks = [
        QuantizedNetwork(0, True, 1.0, [ran]),
        QuantizedNetwork(1, False, 0.4567, [Variant("int4-weights", reason="no kernel")]),
    ]

    def quantize(*arguments, measured):
        seen.append(arguments)
        found = OnDevice({"cpu": f"number {len(seen)}"}, {"torch": "2"}, [[1, 8]], [])
        for network in networks:
            found.networks.append(network)
            measured(found, 2)
            (kept,) = read_quantization(run).devices[len(seen) - 1 :]
            assert kept.networks == found.networks  # an interrupt would lose nothing

    def as_recorded(record, data_dir, own_task):
        assert (record, data_dir, own_task) == (RunFolder(run).read_run(), Path("data"), None)
        return MethodSubject(_Unused, run).request(run, seed=record.identity.seed)

    monkeypatch.setattr(quantization, "quantize", quantize)
    monkeypatch.setattr(expected, "request_of", as_recorded)
    for _ in range(2):
        done = CliRunner().invoke(cli, ["quantize", str(run), "--data-dir", "data"], catch_exceptions=False)
    assert done.output.splitlines() == [
        "measuring the full network and networks of the front; each can take minutes",
        "full network (1 of 2):",
        "  int8          validation error 0.2500, 2.5 MB, 0.500 [0.400, 0.625] of the full network's time",
        "45.7 % of the parameters (2 of 2):",
        "  int4-weights  does not run here: no kernel",
        f"wrote {run / FILE}",
    ]
    assert [each.device["cpu"] for each in read_quantization(run).devices] == ["number 1", "number 2"]
    (folder, task, data, pad_id) = seen[0]
    assert (folder, task, pad_id) == (run, TINY_PAIR, loaded.pad_id)
    assert data.sha256 == loaded.data.sha256
    (run / FILE).unlink()


def test_an_interrupted_command_keeps_an_earlier_measurement(run, monkeypatch):
    networks = [QuantizedNetwork(i, i == 0, 1.0, [Variant("fp32", reason="for tests")]) for i in range(3)]
    earlier = Quantization([OnDevice({"cpu": "this"}, {"torch": "1"}, [[1, 8]], networks)])
    write_quantization(run, earlier)
    found = OnDevice({"cpu": "this"}, {"torch": "2"}, [[1, 8]], [])

    def quantize(*_, measured):
        for network, kept in zip(networks, (earlier.devices, earlier.devices, [found]), strict=True):
            found.networks.append(network)
            measured(found, 3)
            assert read_quantization(run).devices == kept

    monkeypatch.setattr(quantization, "quantize", quantize)
    monkeypatch.setattr(expected, "request_of", lambda *_, **__: MethodSubject(_Unused, run).request(run))
    CliRunner().invoke(cli, ["quantize", str(run)], catch_exceptions=False)
    assert len(found.networks) == 3
    (run / FILE).unlink()


def test_other_data_than_those_of_the_run_are_refused(run, loaded):
    other = dataclasses.replace(loaded.data, sha256="0" * 64)
    with pytest.raises(UserError, match=r"was measured on other data: their sha256 was .*, and is 000000000000\.\.\.;"):
        quantization.quantize(run, TINY_PAIR, other, loaded.pad_id)


def test_a_run_on_a_task_of_the_user_is_measured_with_its_file(tmp_path):
    make_folder(tmp_path)
    own = tmp_path / "own.toml"
    own.write_text(toml(BASE))
    done = nasbench.run(
        "rfp", own, results=tmp_path / "runs", budget_s=60, max_evaluations=2, quiet=True,
        options={"epochs": 1},
    )  # fmt: skip
    assert done.status == "complete", done.record.reason

    def failure(*arguments):
        return CliRunner().invoke(cli, ["quantize", str(done.folder), *arguments]).exception

    assert "a task or model of your own ('own', 'my-model'); name the task's file: --task NAME.toml" in str(failure())
    own.write_text(toml(changed(max_length=16)))
    assert f"{own} is not the task of the run: task.max_length" in str(failure("--task", str(own)))
    own.write_text(toml(BASE))
    assert failure("--task", str(own)) is None
    (measured,) = read_quantization(done.folder).devices
    full = done.evaluations[done.evaluations["n_params"] == done.record.n_params_full].iloc[0]
    assert measured.networks[0].variants[0].error == pytest.approx(full["error"], abs=1e-6)


def test_a_run_without_the_full_network_is_refused(run_of, loaded, tmp_path):
    run = run_of([[2, 24, 2]], space="small")
    with pytest.raises(UserError, match="has no weights of the full network"):
        quantization.quantize(run, TINY_PAIR, loaded.data, loaded.pad_id)
    with pytest.raises(UserError, match="no run in"):
        quantization.quantize(tmp_path, TINY_PAIR, loaded.data, loaded.pad_id)


def test_a_long_front_is_thinned_with_both_ends():
    front = [type("E", (), {"index": i}) for i in range(9)]
    assert [e.index for e in spread(front, 4)] == [0, 3, 5, 8]
    assert spread([], 4) == []
    assert np.all([e.index for e in spread(front[:2], 4)] == [0, 1])
