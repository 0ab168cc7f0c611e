"""Tokenizers of decoders, made ready for classification.

A decoder's classifier reads the last token of a text. Its tokenizer often has no padding token, puts nothing between
the two texts of a pair and makes no token of an empty text. Here each text ends with a line break: it separates the
texts of a pair, and every sequence has a last token from which the classifier reads.
"""

from __future__ import annotations

from typing import Any

from nasbench.errors import UserError

_LINE_BREAKS = ("\n", "Ċ", "<0x0A>")
"""Spellings of the token of a line break in vocabularies: plain, byte-level, and with bytes as a fallback."""


def set_padding(tokenizer: Any) -> None:
    """Give a fast tokenizer a padding token, in place: the end-of-text token if it has no other.

    Raises:
        UserError: if it has neither, or is not a fast tokenizer.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"{type(tokenizer).__name__} is not a fast tokenizer; save the model with a tokenizer.json")
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise UserError(f"{type(tokenizer).__name__} has neither a padding token nor an end-of-text token; set one")
        tokenizer.pad_token = tokenizer.eos_token


def end_texts(tokenizer: Any) -> None:
    """Give a fast tokenizer a padding token and a line break after each text, in place.

    What it puts before a text, such as ``<s>``, stays. Without a token for a line break, the end-of-text token is used.

    Raises:
        UserError: if there is no token with which a text can end, or none for padding, or the tokenizer is not a fast
            one.
    """
    from tokenizers.processors import TemplateProcessing

    set_padding(tokenizer)
    vocabulary = tokenizer.get_vocab()
    ends = [token for token in (*_LINE_BREAKS, tokenizer.eos_token) if token in vocabulary]
    ends = [token for token in ends if token != tokenizer.pad_token]
    if not ends:
        raise UserError(f"{type(tokenizer).__name__} has no token for a line break, with which a text could end")
    first = tokenizer.bos_token
    starts = [first] if first and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id else []
    end = ends[0]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=[*starts, "$A", end],
        pair=[*starts, "$A", end, "$B", end],
        special_tokens=[(token, vocabulary[token]) for token in {*starts, end}],
    )
