"""A real GGUF file is restored to the weights that its bytes stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from nasbench.networks import weights

D, N_UNITS, N_HEADS = 32, 64, 2
SIZES = {
    "token_embd": (4, D), "output": (4, D), "blk.0.attn_q": (D, D), "blk.0.attn_k": (D, D), "blk.0.attn_v": (D, D),
    "blk.0.attn_output": (D, D), "blk.0.ffn_gate": (N_UNITS, D), "blk.0.ffn_up": (N_UNITS, D),
    "blk.0.ffn_down": (D, N_UNITS),
}  # fmt: skip
NORMS = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")
STOCK = {
    "token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def write_llama(path: Path) -> dict[str, Any]:
    """Write a Llama of one layer in blocks of 32 weights of 8 bits; returns the values of its tensors by name."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(16)
    writer.add_embedding_length(D)
    writer.add_feed_forward_length(N_UNITS)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(4)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<|endoftext|>", "a", "b", "ab"])
    writer.add_token_types([3, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    rng, values = np.random.default_rng(0), {}
    for name, (n, k) in SIZES.items():
        scales = rng.uniform(0.001, 0.01, (n, k // 32, 1)).astype(np.float16)
        levels = rng.integers(-127, 128, (n, k // 32, 32)).astype(np.int8)
        values[name] = (scales.astype(np.float32) * levels).reshape(n, k)
        blocks = np.concatenate([scales.view(np.uint8), levels.view(np.uint8)], axis=2).reshape(n, -1)
        writer.add_tensor(f"{name}.weight", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    for name in NORMS:
        values[name] = rng.normal(size=D).astype(np.float32)
        writer.add_tensor(f"{name}.weight", values[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


def test_weights_and_tokenizer_are_those_of_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for library in ("gguf", "accelerate"):
        pytest.importorskip(library, reason=f"no {library}: pip install -e '.[gguf]'")
    values = write_llama(tmp_path / "small.gguf")
    capfd.readouterr()
    weights._dequantise(tmp_path, "small.gguf", tmp_path / "made")
    assert capfd.readouterr() == ("", "")
    restored = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "made").state_dict()
    assert len(restored) == len(values)
    for name, value in values.items():
        prefix, _, own = name.rpartition(".")
        found = restored[f"{'model.layers.0.' if prefix else ''}{STOCK[own]}.weight"].numpy()
        if own in ("attn_q", "attn_k"):  # llama.cpp rotates neighbours, transformers the halves of a head
            value = value.reshape(N_HEADS, -1, 2, D).swapaxes(1, 2).reshape(D, D)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, value, err_msg=name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")
    assert tokenizer("abba")["input_ids"] == [3, 2, 1]
