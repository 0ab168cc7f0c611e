"""Tiny decoders with tokenizers, generated from a seed."""

from __future__ import annotations

import dataclasses
from typing import Any

from nasbench.testing.models import TINY_BERT
from nasbench.testing.tasks import WORDS

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}

_LETTERS = {
    token: i
    for i, token in enumerate(["<|endoftext|>", "Ġ", "Ċ", *sorted({letter for word in WORDS for letter in word})])
}
"""The words of tokenizers of bytes: every letter is one token."""

TINY_LLAMA = dataclasses.replace(
    TINY_BERT,
    name="tiny-llama",
    summary="Llama of 3 layers, 4 groups of 2 query heads, and 48 units, random weights",
    architecture="llama",
    generator="nasbench.testing.decoders:tiny_llama",
)
TINY_MISTRAL = dataclasses.replace(
    TINY_LLAMA, name="tiny-mistral", architecture="mistral", generator="nasbench.testing.decoders:tiny_mistral"
)
TINY_QWEN2 = dataclasses.replace(
    TINY_LLAMA, name="tiny-qwen2", architecture="qwen2", generator="nasbench.testing.decoders:tiny_qwen2"
)
TINY_GPT2 = dataclasses.replace(
    TINY_BERT,
    name="tiny-gpt2",
    summary="GPT-2 of 3 layers, 4 heads and 48 units, random weights",
    architecture="gpt2",
    generator="nasbench.testing.decoders:tiny_gpt2",
)
TINY_GPT_NEOX = dataclasses.replace(
    TINY_BERT,
    name="tiny-gpt-neox",
    summary="GPT-NeoX of 3 layers, 4 heads and 48 units, random weights",
    architecture="gpt_neox",
    generator="nasbench.testing.decoders:tiny_gpt_neox",
)
TINY_DECODERS = (TINY_LLAMA, TINY_MISTRAL, TINY_QWEN2, TINY_GPT2, TINY_GPT_NEOX)


def tiny_llama() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_LLAMA`; every word is one token."""
    from transformers import LlamaConfig

    tokenizer = _word_tokenizer()
    return LlamaConfig(**_SIZES, vocab_size=len(tokenizer)), tokenizer


def tiny_mistral() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_MISTRAL`. Tokens attend to the last five tokens."""
    from transformers import MistralConfig

    tokenizer = _word_tokenizer()
    return MistralConfig(**_SIZES, vocab_size=len(tokenizer), sliding_window=5), tokenizer


def tiny_qwen2() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_QWEN2`. The last layer has a window of five tokens; words are tied."""
    from transformers import Qwen2Config, Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer(vocab=_LETTERS, merges=[], model_max_length=64)
    window: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}
    return Qwen2Config(**_SIZES, **window, vocab_size=len(tokenizer), tie_word_embeddings=True), tokenizer


def tiny_gpt2() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_GPT2`; every letter is one token."""
    from transformers import GPT2Config, GPT2Tokenizer

    tokenizer = GPT2Tokenizer(vocab=_LETTERS, merges=[], model_max_length=64)
    sizes: dict[str, Any] = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 48, "n_positions": 64}
    tokens: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "vocab_size": len(tokenizer)}
    return GPT2Config(**sizes, **tokens, initializer_range=0.2), tokenizer


def tiny_gpt_neox() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_GPT_NEOX`; half of each head has rotary positions."""
    from transformers import GPTNeoXConfig

    tokenizer = _word_tokenizer()
    sizes = {name: value for name, value in _SIZES.items() if name != "num_key_value_heads"} | {
        "num_attention_heads": 4
    }
    rotary: dict[str, Any] = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5}
    return GPTNeoXConfig(**sizes, vocab_size=len(tokenizer), rope_parameters=rotary), tokenizer


def _word_tokenizer() -> Any:
    """A tokenizer of words that puts ``<s>`` before a text and has no padding token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(["<s>", "</s>", "<unk>", "\n", *WORDS])}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)]
    )
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", model_max_length=64)
