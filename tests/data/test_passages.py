"""Passages of text for language models, and the tokens whose likelihood counts."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import same_examples

from nasbench.data.passages import marked_tokens, n_bytes, passages
from nasbench.data.splits import load_task_data
from nasbench.networks.pretrained import load_pretrained
from nasbench.testing.decoders import TINY_DECODERS, TINY_GPT2, TINY_LLAMA
from nasbench.testing.tasks import TINY_TEXT, TINY_ZERO_SHOT

LINES = st.lists(st.text(st.sampled_from("ab é\n🙂 "), max_size=60), max_size=12)


@same_examples
@given(LINES, st.integers(4, 40))
def test_passages_are_the_text_in_order(lines: list[str], most_bytes: int) -> None:
    found = passages(lines, most_bytes)
    whole = "".join(line if line.endswith("\n") else line + "\n" for line in lines)
    assert "".join("".join(found).split()) == "".join(whole.split())
    position = 0
    for passage in found:  # without change, in order
        position = whole.index(passage, position) + len(passage)
    assert all(len(passage.encode()) <= most_bytes and passage.strip() for passage in found)
    assert n_bytes(found).tolist() == [len(passage.encode()) for passage in found]


def test_lines_go_together_while_they_fit_and_long_ones_are_cut_before_a_blank() -> None:
    assert passages(["ab", "cd\n", "efg hij kl", "m"], 7) == ["ab\ncd\n", "efg hij", " kl\nm\n"]


@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2], ids=lambda model: model.name)
def test_every_token_of_a_passage_counts_once(model: Any) -> None:
    tokenizer = load_pretrained(model, TINY_TEXT, seed=0).tokenizer
    data = load_task_data(TINY_TEXT, tokenizer, seed=0)
    split = data.test
    for i in range(len(split)):
        ids = split.tokens[split.offsets[i] : split.offsets[i + 1]]
        assert ids[0] == (tokenizer.bos_token_id if model is TINY_LLAMA else tokenizer.eos_token_id)
        assert split.segments[split.offsets[i] : split.offsets[i + 1]].tolist() == [0] + [1] * (len(ids) - 1)
        if model is TINY_GPT2:  # a token is a byte
            assert split.labels[i] == len(ids) - 1
    assert split.labels.max() < TINY_TEXT.max_length


@pytest.mark.parametrize("model", TINY_DECODERS, ids=lambda model: model.name)
def test_only_the_ending_of_a_choice_counts(model: Any) -> None:
    tokenizer = load_pretrained(model, TINY_ZERO_SHOT, seed=0).tokenizer
    ((ids, n_context),) = marked_tokens(["ba be"], [" bi"], tokenizer)
    whole = tokenizer("ba be bi", add_special_tokens=False)["input_ids"]
    assert ids[1:] == whole
    assert ids[n_context:] == whole[-len(ids[n_context:]) :]
    assert n_context == 1 + len(tokenizer("ba be", add_special_tokens=False)["input_ids"])


def test_long_context_is_cut_on_the_left() -> None:
    task = dataclasses.replace(TINY_ZERO_SHOT, max_length=6)
    tokenizer = load_pretrained(TINY_LLAMA, task, seed=0).tokenizer
    short, whole = (load_task_data(one, tokenizer, seed=0).test for one in (task, TINY_ZERO_SHOT))
    assert short.lengths.max() == 6 < whole.lengths.max()
    for i in range(2 * len(short)):
        kept = whole.tokens[whole.offsets[i] : whole.offsets[i + 1]][-6:]
        np.testing.assert_array_equal(short.tokens[short.offsets[i] : short.offsets[i + 1]], kept)


def test_limits_of_train_and_test() -> None:
    tokenizer = load_pretrained(TINY_LLAMA, TINY_TEXT, seed=0).tokenizer
    task = dataclasses.replace(TINY_TEXT, train_limit=5, test_limit=4)
    one, other = (load_task_data(task, tokenizer, seed=seed) for seed in (0, 1))
    whole = load_task_data(TINY_TEXT, tokenizer, seed=0)
    assert (len(one.train), len(one.test)) == (5, 4)
    assert one.test.ids.tolist() == other.test.ids.tolist()
    assert one.train.ids.tolist() != other.train.ids.tolist()
    assert one.train.ids.tolist() == whole.train.ids.tolist()[:5]
