"""GPT-NeoX: blocks side by side, and query, key and value of a head in rows of one layer."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from nasbench.isolation import transfer
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.architectures.compact import compact
from nasbench.networks.architectures.gpt_neox import ByPart
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing.decoders import TINY_GPT_NEOX
from nasbench.testing.models import save_tiny
from nasbench.testing.networks import TinyNetwork, tiny_network
from nasbench.testing.tasks import TINY_PAIR, TINY_TEXT

HEADS, UNITS = [2, 0, 4], [5, 48, 0]


@pytest.fixture
def tiny() -> TinyNetwork:
    """A network of its own for each test."""
    return tiny_network(TINY_GPT_NEOX, TINY_TEXT)


def _fused(model: Any, layer: int = 0) -> Any:
    return model.gpt_neox.layers[layer].attention.query_key_value


def test_queries_keys_and_values_are_the_stock_rows_of_each_head(tiny: TinyNetwork) -> None:
    stock = tiny.network.model.state_dict()["gpt_neox.layers.0.attention.query_key_value.weight"]
    block = tiny.network.adapter.attention(0)
    assert block is not None
    for part, projection in enumerate((block.query, block.key, block.value)):
        for head in range(4):
            rows = stock[head * 24 + part * 8 : head * 24 + (part + 1) * 8]  # 3 parts of 8 rows for each head
            assert torch.equal(projection.weight[head * 8 : (head + 1) * 8], rows)


def test_state_goes_from_and_to_a_stock_network(tiny: TinyNetwork) -> None:
    network = tiny.network
    inputs = torch.tensor([[4, 5, 6, 7]])
    with torch.no_grad():
        expected = network.model(inputs).logits
        stock: Any = GPTNeoXForCausalLM(network.model.config).eval()
        stock.load_state_dict(network.model.state_dict())
        assert type(_fused(stock)) is torch.nn.Linear
        torch.testing.assert_close(stock(inputs).logits, expected)
        other = SuperNetwork(GPTNeoXForCausalLM(network.model.config).eval())
        other.model.load_state_dict(stock.state_dict())
        assert isinstance(_fused(other.model), ByPart)
        torch.testing.assert_close(other.model(inputs).logits, expected)
        torch.testing.assert_close(other.forward(tiny.batch()), network.forward(tiny.batch()))
    assert other.fingerprint() == network.fingerprint()


@torch.no_grad()
def test_network_handed_to_another_process_is_the_same(tiny: TinyNetwork) -> None:
    network = tiny.network
    handed = transfer.make_network(transfer.architecture(network), transfer.weights_of(network), network.device)
    torch.testing.assert_close(handed.forward(tiny.batch()), network.forward(tiny.batch()), rtol=0, atol=0)


@pytest.mark.parametrize("heads", [[4, 4, 4], HEADS], ids=["stock class", "pruned class"])
def test_saved_network_has_stock_layers(tiny: TinyNetwork, heads: list[int]) -> None:
    network = tiny.network
    subnetwork = SubNetwork.from_counts(heads, [48, 48, 48], network.dims)
    smaller = copy.deepcopy(network.model)
    shrink(adapt(smaller), subnetwork, network.dims)
    assert any(isinstance(module, ByPart) for module in smaller.modules())
    assert not any(isinstance(module, ByPart) for module in compact(smaller, subnetwork, ()).modules())


@torch.no_grad()
def test_blocks_may_also_run_one_after_the_other() -> None:
    """``use_parallel_residual = False``, as some checkpoints have it."""
    tiny = tiny_network(TINY_GPT_NEOX, TINY_PAIR)
    batch, parallel = tiny.batch(), tiny.network.forward(tiny.batch())
    config = copy.deepcopy(tiny.network.model.config)
    config.use_parallel_residual = False
    model: Any = type(tiny.network.model)(config).eval()
    model.load_state_dict(tiny.network.model.state_dict())
    network = SuperNetwork(model)
    assert (network.forward(batch) - parallel).abs().max() > 1e-3
    for subnetwork in (None, SubNetwork.from_counts(HEADS, UNITS, network.dims)):
        sliced = network.forward(batch, subnetwork)
        torch.testing.assert_close(network.masked(batch, subnetwork), sliced, rtol=1e-6, atol=1e-5)


def test_configuration_that_calls_the_network_a_decoder_is_accepted(tmp_path: Path) -> None:
    saved = save_tiny(TINY_GPT_NEOX, TINY_PAIR, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "is_decoder": True}))
    assert type(load_pretrained(saved, TINY_PAIR, 0).network).__name__ == "GPTNeoXForSequenceClassification"


def test_sizes_of_pythia_160m() -> None:
    """Written out from its configuration: 12 layers of 12 heads, width 768, 3,072 units, untied embeddings."""
    with torch.device("meta"):
        config = GPTNeoXConfig(
            vocab_size=50304, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072
        )
        dims = adapt(GPTNeoXForCausalLM(config)).dimensions()
    assert (dims.n_heads, dims.n_queries, dims.head_size, dims.n_units) == (12, 1, 64, 3072)
    assert dims.n_params_per_head == 3 * (768 * 64 + 64) + 64 * 768
    assert dims.n_params_per_unit == 2 * 768 + 1
    assert dims.n_params == 162_322_944  # as its authors count them
    assert np.isclose(dims.n_params - 2 * 50304 * 768, 85_056_000)  # without embeddings, likewise
