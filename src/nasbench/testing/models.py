"""Tiny encoders with tokenizers, generated from a seed: real architectures in milliseconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from nasbench.data.hub import quiet
from nasbench.declarations.model import Model, TrainingConfiguration
from nasbench.declarations.task import Task
from nasbench.networks.pretrained import load_pretrained
from nasbench.testing.tasks import WORDS

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    # Large enough that every head and unit changes the logits of an untrained network.
    "initializer_range": 0.2,
}
_FINE_TUNING = TrainingConfiguration(learning_rate=2e-3, batch_size=8, epochs=2)

TINY_BERT = Model(
    name="tiny-bert",
    summary="BERT of 3 layers, 4 heads and 48 units, random weights",
    architecture="bert",
    track="demo",
    generator="nasbench.testing.models:tiny_bert",
    fine_tuning=_FINE_TUNING,
)
TINY_ROBERTA = Model(
    name="tiny-roberta",
    summary="RoBERTa of 3 layers, 4 heads and 48 units, random weights",
    architecture="roberta",
    track="demo",
    generator="nasbench.testing.models:tiny_roberta",
    fine_tuning=_FINE_TUNING,
)
TINY_MODELS = (TINY_BERT, TINY_ROBERTA)
TINY_XLM_ROBERTA = dataclasses.replace(
    TINY_ROBERTA,
    name="tiny-xlm-roberta",
    architecture="xlm-roberta",
    generator="nasbench.testing.models:tiny_xlm_roberta",
)
TINY_CAMEMBERT = dataclasses.replace(
    TINY_ROBERTA,
    name="tiny-camembert",
    architecture="camembert",
    generator="nasbench.testing.models:tiny_camembert",
)
TINY_RELATIVES = (TINY_XLM_ROBERTA, TINY_CAMEMBERT)
"""Networks that share RoBERTa's code."""
TINY_ELECTRA = dataclasses.replace(
    TINY_BERT, name="tiny-electra", architecture="electra", generator="nasbench.testing.models:tiny_electra"
)
TINY_DISTILBERT = dataclasses.replace(
    TINY_BERT, name="tiny-distilbert", architecture="distilbert", generator="nasbench.testing.models:tiny_distilbert"
)
TINY_MPNET = dataclasses.replace(
    TINY_BERT, name="tiny-mpnet", architecture="mpnet", generator="nasbench.testing.models:tiny_mpnet"
)
TINY_MODERNBERT = dataclasses.replace(
    TINY_BERT, name="tiny-modernbert", architecture="modernbert", generator="nasbench.testing.models:tiny_modernbert"
)
TINY_DEBERTA_V2 = dataclasses.replace(
    TINY_BERT, name="tiny-deberta-v2", architecture="deberta-v2", generator="nasbench.testing.models:tiny_deberta_v2"
)
TINY_ENCODERS = (
    *TINY_MODELS, *TINY_RELATIVES, TINY_ELECTRA, TINY_DISTILBERT, TINY_MPNET, TINY_MODERNBERT, TINY_DEBERTA_V2,
)  # fmt: skip
"""A network of each encoder that can be pruned."""


def tiny_bert() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_BERT`; every word is one token."""
    from transformers import BertConfig, BertTokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}, model_max_length=64)
    return BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **_SIZES), tokenizer


def tiny_roberta() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_ROBERTA`; every letter is one token."""
    from transformers import RobertaConfig, RobertaTokenizer

    letters = sorted({letter for word in WORDS for letter in word})
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *letters]
    tokenizer = RobertaTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}, merges=[], model_max_length=64)
    # Positions start after the padding index, so there are two more of them.
    config = RobertaConfig(
        vocab_size=len(vocabulary),
        max_position_embeddings=66,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        **_SIZES,
    )
    return config, tokenizer


def tiny_xlm_roberta() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_XLM_ROBERTA`; pieces of a unigram model, every word is one piece."""
    from transformers import XLMRobertaConfig, XLMRobertaTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in WORDS), "<mask>"]
    tokenizer = XLMRobertaTokenizer(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)], model_max_length=64)
    return XLMRobertaConfig(**_roberta_sizes(len(pieces)), bos_token_id=0, pad_token_id=1, eos_token_id=2), tokenizer


def tiny_camembert() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_CAMEMBERT`; its special tokens have other numbers than RoBERTa's."""
    from transformers import CamembertConfig, CamembertTokenizer

    pieces = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "▁"]
    pieces += [*(f"▁{word}" for word in WORDS), "<mask>"]
    tokenizer = CamembertTokenizer(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)], model_max_length=64)
    return CamembertConfig(**_roberta_sizes(len(pieces)), bos_token_id=5, pad_token_id=1, eos_token_id=6), tokenizer


def tiny_electra() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_ELECTRA`; its embeddings are narrower than its layers."""
    from transformers import ElectraConfig

    tokenizer = tiny_bert()[1]
    sizes = {**_SIZES, "embedding_size": 16, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
    return ElectraConfig(**sizes), tokenizer


def tiny_distilbert() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_DISTILBERT`."""
    from transformers import DistilBertConfig, DistilBertTokenizer

    words = tiny_bert()[1].get_vocab()
    sizes: dict[str, Any] = {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64}
    config = DistilBertConfig(**sizes, vocab_size=len(words), initializer_range=_SIZES["initializer_range"])
    return config, DistilBertTokenizer(vocab=words, model_max_length=64)


def tiny_mpnet() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_MPNET`; every word is one token."""
    from transformers import MPNetConfig, MPNetTokenizer

    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>", *WORDS]
    tokenizer = MPNetTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}, model_max_length=64)
    return MPNetConfig(**_SIZES, vocab_size=len(vocabulary), max_position_embeddings=66), tokenizer


def tiny_modernbert() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_MODERNBERT`. In two layers, tokens see two tokens on either side."""
    from transformers import BertTokenizer, ModernBertConfig

    words = tiny_bert()[1].get_vocab()
    tokenizer = BertTokenizer(vocab=words, model_max_length=64, model_input_names=["input_ids", "attention_mask"])
    marks = {"pad_token_id": 0, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    sizes: dict[str, Any] = {**_SIZES, **marks, "vocab_size": len(words), "max_position_embeddings": 64}
    return ModernBertConfig(**sizes, local_attention=4), tokenizer


def tiny_deberta_v2() -> tuple[Any, Any]:
    """Configuration and tokenizer of :data:`TINY_DEBERTA_V2`, with the options of the published networks.

    Places more than 8 tokens apart share their relative position with others.
    """
    from transformers import DebertaV2Config, DebertaV2Tokenizer

    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "▁", *(f"▁{word}" for word in WORDS), "[MASK]"]
    tokenizer = DebertaV2Tokenizer(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)], model_max_length=64)
    positions: dict[str, Any] = {
        "relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "max_position_embeddings": 64,
    }  # fmt: skip
    return DebertaV2Config(**_SIZES, **positions, vocab_size=len(tokenizer), pad_token_id=0), tokenizer


def _roberta_sizes(n_words: int) -> dict[str, Any]:
    return {**_SIZES, "vocab_size": n_words, "max_position_embeddings": 66, "type_vocab_size": 1}


def save_tiny(model: Model, task: Task, folder: Path, seed: int = 0) -> Model:
    """Save a tiny network and its tokenizer to a folder, as a user would.

    Returns:
        A declaration of the folder as a model.
    """
    network, tokenizer, *_ = load_pretrained(model, task, seed)
    with quiet():
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return dataclasses.replace(model, name=f"saved-{model.name}", generator=None, local_folder=str(folder))
