"""Decoders as classifiers: the last token is read, wherever the padding is, and texts end with a line break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from nasbench.data.batching import Batch
from nasbench.data.endings import end_texts
from nasbench.errors import UserError
from nasbench.masks.search import MacCosts
from nasbench.networks.architectures import adapt
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.testing.decoders import TINY_DECODERS, TINY_GPT2, TINY_GPT_NEOX, TINY_LLAMA, TINY_QWEN2
from nasbench.testing.models import save_tiny
from nasbench.testing.networks import TinyNetwork, tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_SINGLE


def _padded_on_the_left(tiny: TinyNetwork) -> Batch:
    right = tiny.batch(length=40)
    assert right.attention_mask is not None
    ids, mask = torch.full_like(right.input_ids, tiny.pad_id), torch.zeros_like(right.attention_mask)
    for i, n in enumerate(right.attention_mask.sum(1).tolist()):
        ids[i, 40 - n :], mask[i, 40 - n :] = right.input_ids[i, :n], True
    return Batch(ids, torch.zeros_like(ids), mask, right.labels, right.index)


@pytest.mark.parametrize("model", TINY_DECODERS, ids=lambda model: model.name)
@torch.no_grad()
def test_padding_on_the_left_gives_the_same_logits(model: Any) -> None:
    tiny = tiny_network(model, TINY_PAIR)
    rng = np.random.default_rng(0)
    space = Large(tiny.network.dims)
    batch, left = tiny.batch(length=40), _padded_on_the_left(tiny)
    for subnetwork in (SubNetwork.full(tiny.network.dims), space.to_subnetwork(space.sample(rng))):
        logits = tiny.network.forward(batch, subnetwork)
        torch.testing.assert_close(tiny.network.forward(left, subnetwork), logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(tiny.network.masked(left, subnetwork), logits, rtol=0, atol=1e-5)
        states = tiny.network.encode_depths(
            tiny.network.embed(left), left.attention_mask, tiny.network.slices(subnetwork)
        )
        torch.testing.assert_close(tiny.network.classify(states[-1]), logits, rtol=0, atol=1e-5)


@torch.no_grad()
def test_logits_depend_on_the_last_token_and_not_on_what_follows() -> None:
    tiny = tiny_network(TINY_LLAMA, TINY_PAIR)
    batch = tiny.batch(length=40)
    assert batch.attention_mask is not None
    logits = tiny.network.forward(batch)
    other = Batch(batch.input_ids.clone(), batch.token_type_ids, batch.attention_mask, batch.labels, batch.index)
    other.input_ids[~batch.attention_mask] = 7
    torch.testing.assert_close(tiny.network.forward(other), logits, rtol=0, atol=1e-5)
    last = batch.attention_mask.sum(1) - 1
    other.input_ids[torch.arange(12), last] = 7
    assert (tiny.network.forward(other) - logits).abs().amax(1).min() > 1e-4


@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2, TINY_QWEN2, TINY_GPT_NEOX], ids=lambda model: model.name)
@torch.no_grad()
def test_bf16_is_close_to_fp32(model: Any) -> None:
    tiny, low = tiny_network(model, TINY_PAIR), tiny_network(model, TINY_PAIR, "bf16")
    exact, rounded = tiny.network.forward(tiny.batch()), low.network.forward(low.batch())
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).abs().max() < 0.1 * float(exact.abs().max())


def test_sizes_of_smollm2_135m() -> None:
    """Written out from its configuration: 30 layers, 9 query heads in 3 groups, width 576, 1,536 units."""
    with torch.device("meta"):
        config = LlamaConfig(
            vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
            intermediate_size=1536, num_labels=2, pad_token_id=0,
        )  # fmt: skip
        dims = adapt(LlamaForSequenceClassification(config)).dimensions()
    assert (dims.n_heads, dims.n_queries, dims.head_size, dims.head_width) == (3, 3, 64, 192)
    assert dims.n_params_per_head == 576 * 192 + 2 * 576 * 64 + 192 * 576
    assert dims.n_params_per_unit == 3 * 576
    assert dims.n_params_per_attention == dims.n_params_per_feed_forward == 576
    # 134,515,008 with the embeddings and the last norm; the classifier has 2 * 576 more.
    assert dims.n_params == 134_515_008 + 2 * 576
    assert Dimensions(**dims.to_json()) == dims


def test_operations_of_a_group_and_of_a_gated_unit() -> None:
    dims = tiny_network(TINY_LLAMA, TINY_PAIR).network.dims
    costs, length, d = MacCosts.of(dims, 10), 10, 32
    projections = length * d * (8 + 4 + 4) + length * 8 * d  # two queries of size 4, a key, a value, and the output
    assert costs.head == projections + 2 * length**2 * 8
    assert costs.unit == 3 * length * d


def test_records_of_encoders_have_the_sizes_that_they_always_had() -> None:
    dims = Dimensions(n_layers=3, n_heads=4, n_units=6, hidden_size=8, head_size=2, n_fixed_params=10)
    assert set(dims.to_json()) == {"n_layers", "n_heads", "n_units", "hidden_size", "head_size", "n_fixed_params"}


@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2], ids=lambda model: model.name)
def test_texts_end_with_a_line_break(model: Any) -> None:
    pretrained = load_pretrained(model, TINY_PAIR, seed=0)
    tokenizer = pretrained.tokenizer
    start = [tokenizer.bos_token_id] if model is TINY_LLAMA else []
    end = tokenizer.convert_tokens_to_ids("\n" if model is TINY_LLAMA else "Ċ")
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("ba", "be bi"))
    assert tokenizer("")["input_ids"] == [*start, end]
    assert tokenizer("ba")["input_ids"] == [*start, *first, end]
    assert tokenizer("ba", "be bi")["input_ids"] == [*start, *first, end, *second, end]
    assert tokenizer.pad_token == tokenizer.eos_token
    assert pretrained.network.config.pad_token_id == tokenizer.pad_token_id


def test_tokenizer_without_any_end_is_refused() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    bare: Any = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")))
    with pytest.raises(UserError, match="neither a padding token nor an end-of-text token"):
        end_texts(bare)
    bare.pad_token = "?"
    with pytest.raises(UserError, match="no token for a line break"):
        end_texts(bare)


def test_saved_decoder_loads_as_a_users_model(tmp_path: Path) -> None:
    saved = save_tiny(TINY_GPT2, TINY_SINGLE, tmp_path / "model")
    pretrained = load_pretrained(saved, TINY_SINGLE, seed=0)
    original = load_pretrained(TINY_GPT2, TINY_SINGLE, seed=0)
    ids = torch.tensor([[3, 4, 2]])
    with torch.no_grad():
        torch.testing.assert_close(pretrained.network(ids).logits, original.network(ids).logits)


def test_gpt2_whose_layers_depend_on_their_number_is_refused(tmp_path: Path) -> None:
    saved = save_tiny(TINY_GPT2, TINY_SINGLE, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "scale_attn_by_inverse_layer_idx": True}))
    with pytest.raises(UserError, match="a network with scale_attn_by_inverse_layer_idx cannot be pruned"):
        load_pretrained(saved, TINY_SINGLE, seed=0)


def test_new_classifier_of_a_decoder_follows_the_seed(tmp_path: Path) -> None:
    saved = save_tiny(TINY_LLAMA, TINY_SINGLE, tmp_path / "model")
    one, same, other = (load_pretrained(saved, TINY_CHOICE, seed=seed) for seed in (1, 1, 2))
    assert one.output_is_new
    assert one.network.score.weight.shape == (1, 32)
    assert torch.equal(one.network.score.weight, same.network.score.weight)
    assert not torch.equal(one.network.score.weight, other.network.score.weight)


@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2, TINY_GPT_NEOX], ids=lambda model: model.name)
def test_new_output_of_a_regression_answers_the_mean_label(model: Any) -> None:
    tiny = tiny_network(model, TINY_REGRESSION)
    network, batch = tiny.network, tiny.batch(32, tiny.data.train)
    with torch.no_grad():
        states = network.encode(network.embed(batch), batch.attention_mask, network.slices())
        network.adapter.center_output(2.5, states)
        assert float(network.forward(batch).mean()) == pytest.approx(2.5, abs=1e-4)
        assert network.forward(batch).std() > 0.01
