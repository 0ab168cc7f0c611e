"""The small BERT for the embedded task, for installations without pre-trained weights."""

from __future__ import annotations

from typing import Any

from .entailment import generate

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MAX_POSITIONS = 64


def build() -> tuple[Any, Any]:
    """Configuration and tokenizer: 4 layers of 4 heads and 512 units, width 128, with the grammar's word pieces."""
    from transformers import BertConfig, BertTokenizer

    pieces = vocabulary()
    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, model_max_length=_MAX_POSITIONS)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=_MAX_POSITIONS,
    )
    return config, tokenizer


def vocabulary() -> list[str]:
    """Word pieces: the words of the grammar, with the endings ``s`` and ``es`` as pieces of their own."""
    columns = generate("train")
    words = {word for name in ("premise", "hypothesis") for text in columns[name] for word in str(text).split()}
    pieces = {word for word in words if not _inflected(word, words)}
    return [*_SPECIAL, "##s", "##es", *sorted(pieces)]


def _inflected(word: str, words: set[str]) -> bool:
    return any(word.endswith(ending) and word[: -len(ending)] in words for ending in ("s", "es"))
