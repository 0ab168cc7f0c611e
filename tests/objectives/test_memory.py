"""Peak memory of passes, against networks that take a known amount."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nasbench.errors import UserError
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.objectives import memory
from nasbench.objectives.memory import MemoryMeasurer, n_bytes, peaks

MB = 1 << 20
LARGE = 64 * MB
"""A block that the C library maps on its own, whatever was freed before."""


class Takes(torch.nn.Module):
    """Stands for a network: has a weight of 1 MB, and a pass takes three blocks of which two are alive at once."""

    def __init__(self, block):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(MB // 4))
        self.block = block

    def forward(self, **_):
        for _ in range(3):
            block = torch.ones(self.block // 4)  # the one before it is freed afterwards
        return block.sum()


def test_the_peak_of_a_pass_is_what_is_alive_at_once_and_the_weights():
    inputs = [{"input_ids": torch.ones(1, 1)}]
    found = peaks([Takes(LARGE), Takes(2 * LARGE)], inputs, 3)
    assert found.shape == (3, 2, 1)
    np.testing.assert_allclose(found[:, :, 0], [[2 * LARGE + MB, 4 * LARGE + MB]] * 3, atol=2 * MB)


def test_on_a_gpu_it_is_what_torch_counts(monkeypatch):
    counts = {"memory_allocated": 0, "max_memory_allocated": 0}
    inputs = {"input_ids": SimpleNamespace(is_cuda=True)}

    class Allocates(Takes):
        def forward(self, **_):
            counts["max_memory_allocated"] = counts["memory_allocated"] + self.block

    def forget():
        counts.update(memory_allocated=7 * MB, max_memory_allocated=7 * MB)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forget)
    for name in counts:
        monkeypatch.setattr(torch.cuda, name, lambda name=name: counts[name])
    assert peaks([Allocates(5 * MB)], [inputs], 2).ravel().tolist() == [6 * MB] * 2


def _network():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=500, hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=1024,
        max_position_embeddings=128,
    )  # fmt: skip
    return SuperNetwork(BertForSequenceClassification(config).eval(), "fp32")


def test_a_process_of_its_own_measures_what_the_units_of_a_layer_take():
    """At the longest shape, the units of one layer are the most that is alive beside a few states."""
    network = _network()
    measurer = MemoryMeasurer(network.model, network.dims)
    subnetworks = [SubNetwork.from_counts([4] * 3, [units] * 3, network.dims) for units in (1024, 256, 0)]
    ratios = measurer.ratios(subnetworks)
    assert ratios.shape == (3, len(measurer.shapes))
    np.testing.assert_allclose(ratios[0], 1, rtol=0.05)
    assert (ratios[2] < ratios[1]).all()
    full, small = n_bytes(network.model), n_bytes(measurer.extracted(subnetworks[1]))
    batch_size, length = measurer.shapes[-1]
    units = 4 * batch_size * length * 1024  # bytes of an activation, which is alive with its input
    states = units // 8  # of 128 values a token
    low = (small + units / 2) / (full + 2 * units + 4 * states)
    high = (small + units / 2 + 4 * states) / (full + 2 * units)
    assert low < ratios[1, -1] < high
    measured = measurer.measured(subnetworks[1])
    assert 0.9 * measured["ratio"] < measured["low"] <= measured["ratio"] <= measured["high"] < 1.1 * measured["ratio"]


def test_parameters_that_are_shared_are_counted_once():
    first = torch.nn.Linear(8, 8, bias=False)
    second = torch.nn.Linear(8, 8, bias=False)
    second.weight = first.weight
    hollow = memory._with_parameters(torch.nn.Sequential(first, second), lambda p: torch.empty_like(p, device="meta"))
    assert n_bytes(hollow) == 4 * 64
    assert {p.device.type for p in hollow.parameters()} == {"meta"}


def test_a_system_that_does_not_tell_the_peak_is_refused_in_one_line(monkeypatch, tmp_path):
    MemoryMeasurer.check(torch.device("cpu"))
    monkeypatch.setattr(memory, "_RESET", tmp_path / "missing" / "clear_refs")
    with pytest.raises(UserError, match="the peak of a process is not known") as refused:
        MemoryMeasurer.check(torch.device("cpu"))
    assert "\n" not in str(refused.value)
    MemoryMeasurer.check(torch.device("cuda"))
